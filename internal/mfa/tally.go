package mfa

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// A TallyKey names the messages that a Tally counts. All tallies of an environment are in one
// bucket, so one transaction can read them. A store finds a tally by Environment and Name,
// and does not store Of: six digits of a phone number are personal.
type TallyKey struct {
	Environment EnvironmentID
	Name        string // a keyed hash of Of, in hexadecimal; Of itself in a row of an older release
	Of          string // a prefix, "+491512"; a country, "DE"; "all" or "abroad"
}

// NewTallyKey returns the key of the tally of an environment that counts messages to of.
func NewTallyKey(keys *secret.Keyset, env EnvironmentID, of string) TallyKey {
	name := keys.Index(fmt.Appendf(nil, "tally/%d/%s", env, of))
	return TallyKey{env, hex.EncodeToString(name[:16]), of}
}

func (s *Service) tallyKey(env EnvironmentID, of string) TallyKey {
	return NewTallyKey(s.keys.Load(), env, of)
}

func (k TallyKey) associated() []byte {
	return fmt.Appendf(nil, "tallies.name/%d/%s", k.Environment, k.Name)
}

// Bucket returns the partition of the tally.
func (k TallyKey) Bucket() Bucket { return k.Environment.sendBucket() }

// A Tally counts the messages to a group of numbers, and their verified challenges.
type Tally struct {
	TallyKey
	Sealed      []byte    // Of, sealed; nil in a row of an older release
	Counts      []Count   // oldest first
	PausedUntil time.Time // no messages are sent there before; zero: not paused
	ExpiresAt   time.Time
}

// A Count is the number of messages in one slot of time.
type Count struct {
	At       time.Time // the start of the slot
	Sent     int
	Verified int // of the messages sent in this slot, verified at any time
}

const (
	tallyAll    = "all"
	tallyAbroad = "abroad"

	day        = 24 * time.Hour
	daySlot    = 30 * time.Minute
	prefixSlot = time.Minute
	// settling is the time that a user has to enter a code before it counts as not entered.
	settling = 2 * time.Minute
	// prefixDigits is the length of a prefix. The blocks of numbers that attackers rent share
	// more digits. A prefix of a short number omits its last four digits.
	prefixDigits = 6
)

// tallies returns the keys of the tallies that count a message of a production environment to phone.
func (s *Service) tallies(env Environment, phone Phone) []TallyKey {
	number, country := phone.E164(), s.rulesOf(env).countryOf(phone)
	of := []string{number[:min(1+prefixDigits, len(number)-4)], country, tallyAll}
	if country != s.rulesOf(env).Home {
		of = append(of, tallyAbroad)
	}
	keys := make([]TallyKey, len(of))
	for i := range of {
		keys[i] = s.tallyKey(env.ID, of[i])
	}
	return keys
}

// sealName seals Of, which operators can see.
func (s *Service) sealName(t *Tally) (err error) {
	if t.Sealed, err = s.keys.Load().Seal([]byte(t.Of), t.associated()); err != nil {
		return fmt.Errorf("seal the name of a count: %w", err)
	}
	return nil
}

// Reference returns the name of a prefix in events, which are kept longer than the tally:
// the first digits of its keyed hash.
func (k TallyKey) Reference() string { return "prefix_" + k.Name[:min(12, len(k.Name))] }

// IsPrefix reports whether the tally counts a prefix, which can be paused.
func (k TallyKey) IsPrefix() bool { return strings.HasPrefix(k.Of, "+") }

func (k TallyKey) slot() time.Duration {
	if k.IsPrefix() {
		return prefixSlot
	}
	return daySlot
}

// count counts a message in the tallies of keys, which tx has read, or returns a
// *LimitError. It writes the pause or release of a prefix in both cases.
func (s *Service) count(tx *Tx, keys []TallyKey, d dispatch, events journal) error {
	r := s.rulesOf(d.by.Environment)
	for i, key := range keys {
		if tx.Tallies[i] == nil {
			tx.Tallies[i] = &Tally{TallyKey: key}
			if err := s.sealName(tx.Tallies[i]); err != nil {
				return err
			}
		}
		tx.Tallies[i].forget(key.span(r.Pumping.Window), d.now)
	}
	wait := time.Duration(0)
	for _, t := range tx.Tallies {
		if t.IsPrefix() {
			if d.source.proven() {
				continue // a pause does not apply to a proven number
			}
			if err := r.judge(tx, t, d.now, events); err != nil {
				return err
			}
		} else if most := r.most(t.Of); most > 0 {
			wait = max(wait, t.full(most, d.now))
		}
	}
	if wait > 0 {
		return &LimitError{Kind: ErrDailyLimit, After: wait}
	}
	for _, t := range tx.Tallies {
		if t.IsPrefix() && !d.judged() {
			continue
		}
		t.add(d.now, 1)
		t.ExpiresAt = later(t.ExpiresAt, d.now.Add(t.span(r.Pumping.Window)))
		if sent, _ := t.Sum(); sent == r.most(t.Of) {
			events.append(tx, Event{Type: DailyLimitReached, Reason: t.Of})
		}
		tx.put(PutTally{t})
	}
	return nil
}

// span returns how far back a tally counts: at least the period of its limit, because a slot
// counts as a whole. window is the period over which prefixes are judged.
func (k TallyKey) span(window time.Duration) time.Duration {
	if k.IsPrefix() {
		return window + prefixSlot
	}
	return day + daySlot
}

// most returns the limit of a tally, 0 for a tally without a limit.
func (r *smsRules) most(of string) int {
	switch of {
	case tallyAll:
		return r.Daily
	case tallyAbroad:
		return r.Abroad
	}
	return 0
}

// judge refuses a message to a paused prefix, and pauses a prefix whose codes are rarely
// entered.
func (r *smsRules) judge(tx *Tx, t *Tally, now time.Time, events journal) error {
	if now.Before(t.PausedUntil) {
		return &LimitError{Kind: ErrPrefixPaused, After: t.PausedUntil.Sub(now)}
	}
	if !t.PausedUntil.IsZero() {
		t.PausedUntil, t.Counts = time.Time{}, nil
		tx.put(PutTally{t})
		events.append(tx, Event{Type: PrefixReleased, Reason: t.Reference()})
	}
	sent, verified := t.settled(now)
	if sent < r.Pumping.Sends || float64(verified)/float64(sent) >= r.Pumping.Verified {
		return nil
	}
	t.PausedUntil = now.Add(r.Pumping.Pause)
	t.ExpiresAt = later(t.ExpiresAt, t.PausedUntil.Add(day)) // the first message after the pause appends an event
	tx.put(PutTally{t})
	events.append(tx, Event{Type: PrefixPaused, Reason: t.Reference()})
	return &LimitError{Kind: ErrPrefixPaused, After: r.Pumping.Pause}
}

// settled returns the sums of the slots whose codes users had time to enter.
func (t *Tally) settled(now time.Time) (sent, verified int) {
	for _, c := range t.Counts {
		if now.Sub(c.At) >= settling+prefixSlot {
			sent, verified = sent+c.Sent, verified+c.Verified
		}
	}
	return sent, verified
}

// full returns the wait until another message may be sent, 0 if it may be sent now.
func (t *Tally) full(most int, now time.Time) (wait time.Duration) {
	sent, _ := t.Sum()
	over := sent - most + 1
	for _, c := range t.Counts {
		if over <= 0 {
			break
		}
		over -= c.Sent
		wait = c.At.Add(day + daySlot).Sub(now)
	}
	return wait
}

// add adds n to the messages that were sent at a time.
func (t *Tally) add(at time.Time, n int) {
	slot := at.Truncate(t.slot())
	i, found := t.find(slot)
	if !found {
		t.Counts = slices.Insert(t.Counts, i, Count{At: slot})
	}
	t.Counts[i].Sent += n
}

func (t *Tally) find(slot time.Time) (int, bool) {
	return slices.BinarySearchFunc(t.Counts, slot, func(c Count, at time.Time) int { return c.At.Compare(at) })
}

// uncount removes a message from the tally, and reports whether the message was counted.
// judged says whether the message was counted in the tally of its prefix.
func (t *Tally) uncount(at time.Time, judged bool) bool {
	i, found := t.find(at.Truncate(t.slot()))
	if !found || t.Counts[i].Sent == 0 || t.IsPrefix() && !judged {
		return false
	}
	t.Counts[i].Sent--
	return true
}

// forget removes the counts that are older than span.
func (t *Tally) forget(span time.Duration, now time.Time) {
	t.Counts = slices.DeleteFunc(t.Counts, func(c Count) bool { return now.Sub(c.At) >= span })
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// countVerified counts a verified challenge of a production environment in the tallies of
// its first message. The tally of the prefix counts it only if the factor was not proven
// before.
func (s *Service) countVerified(ctx context.Context, env Environment, phone Phone, c *Challenge, proven bool) {
	r := Read{Bucket: env.ID.sendBucket(), Tallies: s.tallies(env, phone)}
	err := s.store.Update(context.WithoutCancel(ctx), r, func(tx *Tx) error {
		for _, t := range tx.Tallies {
			if t == nil || t.IsPrefix() && proven {
				continue
			}
			if i, found := t.find(c.CreatedAt.Truncate(t.slot())); found {
				t.Counts[i].Verified++
				tx.put(PutTally{t})
			}
		}
		return nil
	})
	if err != nil {
		// The code was right and is spent. The share of verified codes of the prefix is now a little too low.
		s.opts.Logger.Warn("count a verified message", "challenge", c.ID.String(), "error", err)
	}
}

// Open opens the name of the tally, which a store has only sealed.
func (t *Tally) Open(keys *secret.Keyset) error {
	if t.Sealed == nil {
		t.Of = t.Name // in a row of an older release
		return nil
	}
	of, err := keys.Open(t.Sealed, t.associated())
	if err != nil {
		return fmt.Errorf("open the name of a count: %w", err)
	}
	t.Of = string(of)
	return nil
}

// Expire removes the counts that are too old to count at now, and a pause that has ended.
// It reports whether anything is left. window is Pumping.Period of the environment.
func (t *Tally) Expire(window time.Duration, now time.Time) bool {
	t.forget(t.span(window), now)
	if !now.Before(t.PausedUntil) {
		t.PausedUntil = time.Time{}
	}
	return len(t.Counts) > 0 || !t.PausedUntil.IsZero()
}

// Release ends the pause of a prefix and removes its counts. It reports whether the prefix
// was paused at now.
func (t *Tally) Release(now time.Time) bool {
	if !now.Before(t.PausedUntil) {
		return false
	}
	t.PausedUntil, t.Counts = time.Time{}, nil
	return true
}

// SealTallies seals the names of all tallies under the newest key, and reports whether an
// older release left some unsealed. Call it before messages are sent: the limits do not
// count unsealed tallies. A node of that release may still be counting.
func (s *Service) SealTallies(ctx context.Context) (plain bool, err error) {
	if s.opts.Environments == nil {
		return false, nil
	}
	environments, err := s.opts.Environments(ctx)
	if err != nil {
		return false, err
	}
	for _, env := range environments {
		all, err := s.store.Tallies(ctx, env)
		if err != nil {
			return plain, err
		}
		for i := range all {
			t := &all[i]
			if t.Sealed != nil && !s.keys.Load().Stale(t.Sealed) {
				continue
			}
			plain = plain || t.Sealed == nil
			if err := t.Open(s.keys.Load()); err != nil {
				return plain, err
			}
			if err := s.sealTally(ctx, t.TallyKey); err != nil {
				return plain, err
			}
		}
	}
	return plain, nil
}

// sealTally seals the name of a tally again, or renames a tally with a plain name to its
// keyed hash.
func (s *Service) sealTally(ctx context.Context, stored TallyKey) error {
	key := s.tallyKey(stored.Environment, stored.Of)
	old := TallyKey{Environment: stored.Environment, Name: stored.Name}
	r := Read{Bucket: key.Bucket(), Tallies: []TallyKey{key}}
	if old.Name != key.Name {
		r.Tallies = append(r.Tallies, old)
	}
	return s.store.Update(ctx, r, func(tx *Tx) error {
		t := tx.Tallies[0]
		if len(tx.Tallies) == 2 && tx.Tallies[1] != nil {
			if t == nil {
				t = &Tally{TallyKey: key}
			}
			t.merge(tx.Tallies[1])
			tx.put(DeleteTally{old})
		}
		if t == nil {
			return nil // it has expired, or another node sealed it first
		}
		if err := s.sealName(t); err != nil {
			return err
		}
		tx.put(PutTally{t})
		return nil
	})
}

// merge adds the counts of another tally of the same group.
func (t *Tally) merge(other *Tally) {
	for _, c := range other.Counts {
		t.add(c.At, c.Sent)
		i, _ := t.find(c.At.Truncate(t.slot()))
		t.Counts[i].Verified += c.Verified
	}
	t.PausedUntil, t.ExpiresAt = later(t.PausedUntil, other.PausedUntil), later(t.ExpiresAt, other.ExpiresAt)
}

// Sum adds up all counts.
func (t *Tally) Sum() (sent, verified int) {
	for _, c := range t.Counts {
		sent, verified = sent+c.Sent, verified+c.Verified
	}
	return sent, verified
}
