package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Service creates and changes endpoints. It is safe for concurrent use, by any number of
// processes over one Store.
type Service struct {
	store Store
	keys  atomic.Pointer[secret.Keyset]
	ids   *ids.Source
	opts  Options

	creating chan struct{} // has an element while an endpoint is created
}

// Options change how a Service behaves; zero fields take their defaults.
type Options struct {
	Allow     Allow            // addresses that may be the host of a URL although they are not public
	PlainHTTP bool             // production environments may have http URLs; sandboxes always may
	Changed   func(EndpointID) // called after each change of an endpoint; must not wait
	Now       func() time.Time // default time.Now
	Rand      io.Reader        // safe for concurrent use; default crypto/rand.Reader
}

// maxEndpoints is the number of endpoints that an environment may have. Requests that race on
// several nodes may exceed it by one for each node.
const maxEndpoints = 32

// NewService returns a Service that seals the secrets of endpoints under keys. With nil keys
// it can list, disable and delete endpoints, and returns them without secrets.
func NewService(store Store, keys *secret.Keyset, opts Options) *Service {
	opts.Now = wallclock.Or(opts.Now)
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	if opts.Changed == nil {
		opts.Changed = func(EndpointID) {}
	}
	s := &Service{store: store, opts: opts, ids: ids.NewSource(opts.Rand), creating: make(chan struct{}, 1)}
	s.keys.Store(keys)
	return s
}

// SetKeys makes keys the keyset from now on.
func (s *Service) SetKeys(keys *secret.Keyset) { s.keys.Store(keys) }

func (s *Service) now() time.Time { return s.opts.Now().UTC().Truncate(time.Millisecond) }

// Details are an endpoint with its secrets.
type Details struct {
	Endpoint
	Secrets
	Replayed bool // the endpoint existed: an earlier request with the same idempotency key created it
}

func (s *Service) details(e *Endpoint) (d Details, err error) {
	now := s.now()
	if keys := s.keys.Load(); keys != nil {
		if d.Secrets, err = e.secrets(keys, now); err != nil {
			return d, err
		}
	}
	d.Endpoint = *e
	d.settleSecret(now)
	return d, nil
}

// Params describe a new endpoint.
type Params struct {
	URL      string
	Events   []string // types of events, at least one
	Creation [32]byte // the hash of the idempotency key and body of the request; zero without a key
}

// Create creates an endpoint that receives the events after its creation. It returns a
// *URLError, a *mfa.InvalidError, ErrDuplicate or ErrTooMany for an endpoint that cannot be
// created.
func (s *Service) Create(ctx context.Context, by mfa.Caller, p Params) (Details, error) {
	url, err := checkURL(p.URL, s.opts.Allow, s.opts.PlainHTTP || !by.Production)
	if p.URL == "" {
		err = invalid("endpoint_url", "required", "endpoint_url is required")
	}
	if err != nil {
		return Details{}, err
	}
	types, err := parseTypes(p.Events)
	if err != nil {
		return Details{}, err
	}
	// One at a time: racing requests would all count before the first one is stored.
	select {
	case s.creating <- struct{}{}:
		defer func() { <-s.creating }()
	case <-ctx.Done():
		return Details{}, ctx.Err()
	}
	all, err := s.store.Endpoints(ctx, by.ID)
	if err != nil {
		return Details{}, err
	}
	switch e := p.created(all); {
	case e != nil:
		return s.replayed(e)
	case slices.ContainsFunc(all, func(e Endpoint) bool { return e.URL == url }):
		return Details{}, ErrDuplicate
	case len(all) >= maxEndpoints:
		return Details{}, ErrTooMany
	}
	now := s.now()
	id, err := s.ids.Next(now, BucketOf(by.ID))
	if err != nil {
		return Details{}, err
	}
	e := Endpoint{
		ID: id, Environment: by.ID, Sandbox: !by.Production, URL: url, Status: Enabled, Events: types,
		CreatedAt: now, UpdatedAt: now, Creation: p.Creation,
	}
	if e.Sealed, err = s.drawSecret(&e); err != nil {
		return Details{}, err
	}
	if err := s.store.UpdateEndpoint(ctx, e.ID, func(tx *Tx) error {
		stored := e
		tx.Endpoint = &stored
		tx.record(by, now, e.ID, mfa.EndpointCreated, "")
		return nil
	}); err != nil {
		if errors.Is(err, ErrDuplicate) { // a request with the same key may have been faster
			if all, listErr := s.store.Endpoints(ctx, by.ID); listErr == nil && p.created(all) != nil {
				return s.replayed(p.created(all))
			}
		}
		return Details{}, err
	}
	s.opts.Changed(e.ID)
	return s.details(&e)
}

// created returns the endpoint that an earlier request with the same idempotency key created,
// which may have another URL by now; or nil.
func (p *Params) created(all []Endpoint) *Endpoint {
	i := slices.IndexFunc(all, func(e Endpoint) bool { return e.Creation == p.Creation })
	if i < 0 || p.Creation == [32]byte{} {
		return nil
	}
	return &all[i]
}

func (s *Service) replayed(e *Endpoint) (Details, error) {
	d, err := s.details(e)
	d.Replayed = true
	return d, err
}

// drawSecret returns a new secret for an endpoint, sealed.
func (s *Service) drawSecret(e *Endpoint) ([]byte, error) {
	text, err := newSecret(s.opts.Rand)
	if err != nil {
		return nil, err
	}
	keys := s.keys.Load()
	if keys == nil {
		return nil, errors.New("a new secret cannot be sealed without a keyset")
	}
	return keys.Seal([]byte(text.Reveal()), e.associated())
}

// record appends an event about an endpoint. Its reason is the id of the endpoint, and after
// a colon why it was disabled, and the reason of the caller.
func (tx *Tx) record(by mfa.Caller, now time.Time, id EndpointID, typ mfa.EventType, why string) {
	if why != "" && by.Reason != "" {
		why += ": "
	}
	reason := id.String()
	if why += by.Reason; why != "" {
		reason += ":" + why
	}
	tx.Events = append(tx.Events, newEvent(by, now, id.Bucket(), typ, reason))
}

func invalid(field, code, message string) error {
	return &mfa.InvalidError{Fields: []mfa.FieldError{{Field: field, Code: code, Message: message}}}
}

// parseTypes returns the types of a subscription, sorted and each once.
func parseTypes(names []string) ([]mfa.EventType, error) {
	if len(names) == 0 {
		return nil, invalid("events", "required", "events must have at least one type of event")
	}
	types := make([]mfa.EventType, 0, len(names))
	for i, name := range names {
		typ := mfa.EventType(name)
		if !slices.Contains(mfa.EventTypes, typ) {
			return nil, invalid("events", "unknown_type", fmt.Sprintf("events[%d] is not a type of event", i))
		}
		types = append(types, typ)
	}
	slices.Sort(types)
	return slices.Compact(types), nil
}

// List lists all endpoints of an environment, oldest first.
func (s *Service) List(ctx context.Context, env mfa.EnvironmentID) ([]Details, error) {
	all, err := s.store.Endpoints(ctx, env)
	if err != nil {
		return nil, err
	}
	found := make([]Details, len(all))
	for i := range all {
		if found[i], err = s.details(&all[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Endpoint returns an endpoint of an environment, or mfa.ErrNotFound.
func (s *Service) Endpoint(ctx context.Context, env mfa.EnvironmentID, id EndpointID) (Details, error) {
	e, err := s.find(ctx, env, id)
	if err != nil {
		return Details{}, err
	}
	return s.details(e)
}

func (s *Service) find(ctx context.Context, env mfa.EnvironmentID, id EndpointID) (*Endpoint, error) {
	e, err := s.store.Endpoint(ctx, id)
	if err == nil && (e == nil || e.Environment != env) {
		err = notFound(id.String())
	}
	return e, err
}

// change runs fn on an endpoint of the caller's environment. If fn returns false, nothing is
// stored.
func (s *Service) change(ctx context.Context, by mfa.Caller, id EndpointID, fn func(tx *Tx, e *Endpoint, now time.Time) (bool, error)) (Details, error) {
	now := s.now()
	var changed Endpoint
	err := s.store.UpdateEndpoint(ctx, id, func(tx *Tx) error {
		e := tx.Endpoint
		if e == nil || e.Environment != by.ID {
			return notFound(id.String())
		}
		e.settleSecret(now)
		stored := *e
		ok, err := fn(tx, e, now)
		if err != nil {
			return err
		}
		if !ok {
			*e = stored
		} else {
			e.UpdatedAt = now
		}
		changed = *e
		return nil
	})
	if err != nil {
		return Details{}, err
	}
	s.opts.Changed(id)
	return s.details(&changed)
}

// A Change is a change of an endpoint. Nil fields stay as they are.
type Change struct {
	URL    *string
	Status *Status
	Events []string
}

// Update changes an endpoint. An endpoint that is enabled again receives the events since it
// was disabled. It returns the errors of Create and mfa.ErrNotFound.
func (s *Service) Update(ctx context.Context, by mfa.Caller, id EndpointID, c Change) (Details, error) {
	var url string
	var types []mfa.EventType
	var err error
	if c.URL != nil {
		if url, err = checkURL(*c.URL, s.opts.Allow, s.opts.PlainHTTP || !by.Production); err != nil {
			return Details{}, err
		}
	}
	if c.Events != nil {
		if types, err = parseTypes(c.Events); err != nil {
			return Details{}, err
		}
	}
	if c.Status != nil && *c.Status != Enabled && *c.Status != Disabled {
		return Details{}, invalid("status", "unknown", "status must be enabled or disabled")
	}
	return s.change(ctx, by, id, func(tx *Tx, e *Endpoint, now time.Time) (bool, error) {
		updated, switched := false, false
		if url != "" && url != e.URL {
			if e.URL, updated = url, true; e.Status == Enabled { // the old URL failed, not this one
				e.enable()
				tx.Reschedule = &Reschedule{From: Waiting, To: Waiting, NextAt: now}
			}
		}
		if types != nil && !slices.Equal(types, e.Events) {
			e.Events, updated = types, true
		}
		if c.Status != nil && *c.Status != e.Status {
			if switched = *c.Status == Disabled; switched {
				e.disable(Requested)
				tx.Reschedule = &Reschedule{From: Waiting, To: Paused, NextAt: now}
			} else {
				e.enable()
				updated = true
				tx.Reschedule = &Reschedule{From: Paused, To: Waiting, NextAt: now}
			}
		}
		if updated {
			tx.record(by, now, id, mfa.EndpointUpdated, "")
		}
		if switched {
			tx.record(by, now, id, mfa.EndpointDisabled, Requested)
		}
		return updated || switched, nil
	})
}

// Delete removes an endpoint and its deliveries. It returns mfa.ErrNotFound for an unknown
// one.
func (s *Service) Delete(ctx context.Context, by mfa.Caller, id EndpointID) error {
	now := s.now()
	err := s.store.UpdateEndpoint(ctx, id, func(tx *Tx) error {
		if tx.Endpoint == nil || tx.Endpoint.Environment != by.ID {
			return notFound(id.String())
		}
		tx.Endpoint = nil
		tx.record(by, now, id, mfa.EndpointDeleted, "")
		return nil
	})
	if err == nil {
		s.opts.Changed(id)
	}
	return err
}

// The overlap of a rotation: how long both secrets sign.
const (
	DefaultOverlap = 24 * time.Hour
	MaxOverlap     = 7 * 24 * time.Hour
)

// RotateSecret gives an endpoint a new secret. Until the overlap ends, both secrets sign in
// the form of Standard Webhooks, and the old one in that of WorkOS, which has room for one.
// During an overlap, RotateSecret draws no other secret and only changes when the overlap
// ends: an overlap of zero ends it now.
func (s *Service) RotateSecret(ctx context.Context, by mfa.Caller, id EndpointID, overlap time.Duration) (Details, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Details{}, invalid("overlap_seconds", "out_of_range", fmt.Sprintf("overlap_seconds must be from 0 to %d", MaxOverlap/time.Second))
	}
	sealed, err := s.drawSecret(&Endpoint{ID: id})
	if err != nil {
		return Details{}, err
	}
	return s.change(ctx, by, id, func(tx *Tx, e *Endpoint, now time.Time) (bool, error) {
		if e.NextSealed == nil {
			e.NextSealed = sealed
		}
		e.SwitchAt = now.Add(overlap)
		e.settleSecret(now)
		tx.record(by, now, id, mfa.EndpointSecretRotated, "")
		return true, nil
	})
}
