package mfa

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Client is the device of an end user, as the caller describes it. Events keep it sealed.
type Client struct {
	IPAddress string // "203.0.113.7" or "2001:db8::7"; or ""
	UserAgent string // or ""
}

// maxUserAgent is the length to which a user agent is cut, in bytes.
const maxUserAgent = 512

// check returns c as events record it, and its faults: with its address in the usual form,
// and with the beginning of a long user agent. The browser of the end user chooses the user
// agent, so a long one must not prevent a sign-in.
func (c Client) check() (Client, []FieldError) {
	wrong := checkText("user_agent", c.UserAgent, math.MaxInt)
	if end := maxUserAgent; len(c.UserAgent) > end && wrong == nil { // invalid UTF-8 may have no first byte
		for !utf8.RuneStart(c.UserAgent[end]) {
			end--
		}
		c.UserAgent = c.UserAgent[:end]
	}
	if c.IPAddress == "" {
		return c, wrong
	}
	addr, err := netip.ParseAddr(c.IPAddress)
	if err != nil || addr.Zone() != "" {
		return c, append([]FieldError{{"ip_address", "invalid", "ip_address must be an IPv4 or IPv6 address, such as 203.0.113.7"}}, wrong...)
	}
	c.IPAddress = addr.Unmap().String()
	return c, wrong
}

// A PersonKey is the keyed hash of a user, or of a factor without a user. The personal data
// of events is stored under it, so it can be erased together.
type PersonKey [16]byte

// An EventContext is the row of the personal data of an event.
type EventContext struct {
	Event  EventID
	Person PersonKey
	Sealed []byte
}

// A DeletedFactor is the row that keeps the user of a deleted factor, for its events.
type DeletedFactor struct {
	ID        FactorID
	Person    PersonKey
	Sealed    []byte    // the user
	ExpiresAt time.Time // when the last event of the factor has expired
}

// An Erasure is the row of a person whose personal data is due to be erased.
type Erasure struct {
	Bucket Bucket
	Person PersonKey
	DueAt  time.Time
}

// PersonalData is what identifies a person in an event.
type PersonalData struct {
	User string // of an event without a factor; or ""
	Client
}

// PersonOf returns the key of a user.
func PersonOf(keys *secret.Keyset, u UserKey) PersonKey {
	hash := keys.Index(fmt.Appendf(nil, "person/%d/%s", u.Environment, u.ID))
	return PersonKey(hash[:16])
}

// person returns the key of the owner of f.
func (f *Factor) person(keys *secret.Keyset) PersonKey {
	if f.User != "" {
		return PersonOf(keys, f.UserKey())
	}
	hash := keys.Index(fmt.Appendf(nil, "person/%s", f.ID))
	return PersonKey(hash[:16])
}

// Seal returns the row of d for an event about a person. The store sets the id of its event.
func (d PersonalData) Seal(keys *secret.Keyset, person PersonKey) (*EventContext, error) {
	// The parts have no control characters.
	plain := strings.Join([]string{d.User, d.IPAddress, d.UserAgent}, "\x00")
	sealed, err := keys.Seal([]byte(plain), associate("event_contexts.sealed", person))
	if err != nil {
		return nil, fmt.Errorf("seal the context of an event: %w", err)
	}
	return &EventContext{Person: person, Sealed: sealed}, nil
}

// SealUser returns the row that names the user of an event without a factor. The transaction
// must also schedule the erasure; see EraseLater.
func SealUser(keys *secret.Keyset, u UserKey) (*EventContext, error) {
	return PersonalData{User: u.ID}.Seal(keys, PersonOf(keys, u))
}

// Open opens the personal data of an event.
func (c *EventContext) Open(keys *secret.Keyset) (d PersonalData, err error) {
	plain, err := keys.Open(c.Sealed, associate("event_contexts.sealed", c.Person))
	if err != nil {
		return d, fmt.Errorf("open the context of %s: %w", c.Event, err)
	}
	parts := strings.Split(string(plain), "\x00")
	if len(parts) != 3 {
		return d, fmt.Errorf("open the context of %s: it has %d parts", c.Event, len(parts))
	}
	return PersonalData{parts[0], Client{parts[1], parts[2]}}, nil
}

// sealClient returns the row of the client of an event about f, or nil if the caller passed
// no client.
func (s *Service) sealClient(c Client, f *Factor) (*EventContext, error) {
	if c == (Client{}) {
		return nil, nil
	}
	keys := s.keys.Load()
	return PersonalData{Client: c}.Seal(keys, f.person(keys))
}

// User opens the user of a deleted factor.
func (d *DeletedFactor) User(keys *secret.Keyset) (string, error) {
	plain, err := keys.Open(d.Sealed, associate("deleted_factors.sealed", d.ID))
	if err != nil {
		return "", fmt.Errorf("open the user of %s: %w", d.ID, err)
	}
	return string(plain), nil
}

// seal seals the user of a deleted factor.
func (d *DeletedFactor) seal(keys *secret.Keyset, user string) (err error) {
	if d.Sealed, err = keys.Seal([]byte(user), associate("deleted_factors.sealed", d.ID)); err != nil {
		return fmt.Errorf("seal the user of %s: %w", d.ID, err)
	}
	return nil
}

// eraseAfter is the time between the deletion of the last factor of a person and the erasure
// of the person's data in events. Readers of events learn in this time whose factor it was.
const eraseAfter = time.Hour

// forget keeps the user of a deleted factor for the readers of its events, and schedules the
// erasure of the person, which takes place if the person has no other factor.
func (s *Service) forget(tx *Tx, f *Factor, now time.Time) error {
	keys := s.keys.Load()
	person := f.person(keys)
	if f.User != "" {
		d := &DeletedFactor{ID: f.ID, Person: person, ExpiresAt: now.Add(s.opts.EventRetention)}
		if err := d.seal(keys, f.User); err != nil {
			return err
		}
		tx.put(InsertDeletedFactor{d})
	}
	w := EraseLater(f.UserKey(), person, now)
	w.Bucket = f.ID.Bucket()
	tx.put(w)
	return nil
}

// EraseLater returns the write that schedules the erasure of a person who has no factor.
func EraseLater(u UserKey, person PersonKey, now time.Time) ScheduleErasure {
	return ScheduleErasure{&Erasure{u.Bucket(), person, now.Add(eraseAfter)}, u}
}

// EraseUser deletes all factors of a user of an environment, and then at once everything in
// events that identifies the user. The events stay. It is not an error if the user is unknown.
func (s *Service) EraseUser(ctx context.Context, by Caller, user string) error {
	key := UserKey{by.ID, user}
	for {
		factors, err := s.store.Factors(ctx, FactorQuery{User: key, Limit: maxPage})
		if err != nil {
			return err
		}
		if len(factors) == 0 {
			break
		}
		for i := range factors {
			if err := s.DeleteFactor(ctx, by, factors[i].ID); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
	}
	person := PersonOf(s.keys.Load(), key)
	return s.store.Update(ctx, Read{Bucket: key.Bucket()}, func(tx *Tx) error {
		tx.put(ErasePerson{key.Bucket(), person})
		tx.put(DeleteBypass{key.Bucket(), key.BypassKey()})
		return nil
	})
}

// resealPersons seals the personal data of events under the newest key.
func (s *Service) resealPersons(ctx context.Context, keys *secret.Keyset) error {
	var errs []error
	reseal := func(b Bucket, w Write) error {
		return s.store.Update(ctx, Read{Bucket: b}, func(tx *Tx) error {
			tx.put(w)
			return nil
		})
	}
	for after := (EventID{}); ; {
		contexts, err := s.store.Contexts(ctx, after, batch)
		if err != nil {
			return err
		}
		if len(contexts) == 0 {
			break
		}
		for i := range contexts {
			c := &contexts[i]
			if after = c.Event; !keys.Stale(c.Sealed) {
				continue
			}
			data, err := c.Open(keys)
			if err == nil {
				var fresh *EventContext
				if fresh, err = data.Seal(keys, c.Person); err == nil {
					err = reseal(c.Event.Bucket(), SealContext{c.Event, fresh.Sealed})
				}
			}
			errs = append(errs, err)
		}
	}
	for after := (FactorID{}); ; {
		factors, err := s.store.DeletedFactors(ctx, after, batch)
		if err != nil {
			return err
		}
		if len(factors) == 0 {
			return errors.Join(errs...)
		}
		for i := range factors {
			d := &factors[i]
			if after = d.ID; !keys.Stale(d.Sealed) {
				continue
			}
			user, err := d.User(keys)
			if err == nil {
				if err = d.seal(keys, user); err == nil {
					err = reseal(d.ID.Bucket(), SealDeletedFactor{d.ID, d.Sealed})
				}
			}
			errs = append(errs, err)
		}
	}
}
