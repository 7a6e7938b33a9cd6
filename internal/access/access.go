// Package access decides who may call: environments, their API keys, and the
// authentication of a caller.
package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// The kinds of refusal.
var (
	ErrUnauthorized = errors.New("unauthorized")
	ErrNotFound     = errors.New("not found")
	ErrExists       = errors.New("exists already")
	ErrInvalidName  = errors.New("a name has 1 to 64 letters, digits, spaces, dots, hyphens and underscores, and starts with a letter or a digit")
)

// A Store keeps environments and the hashes of API keys. Each change happens at the time of
// its event, which the store appends in the same transaction: it sets the environment and
// the id of the event. storetest.RunAccess states its promises.
type Store interface {
	// InsertEnvironment stores e under the next free number and returns it with
	// that; ErrExists if its name is taken.
	InsertEnvironment(ctx context.Context, e mfa.Environment, created mfa.Event) (mfa.Environment, error)
	// Environments lists all environments by number.
	Environments(ctx context.Context) ([]mfa.Environment, error)
	// UpdateEnvironment reads all environments, calls change with one of them and stores its Settings
	// with the event that change returns, in one transaction. No other UpdateEnvironment decides at
	// the same time. If change returns no event or an error, nothing is stored. change may run more
	// than once. ErrNotFound if there is no such environment.
	UpdateEnvironment(ctx context.Context, id mfa.EnvironmentID, change func(e *mfa.Environment, all []mfa.Environment) (*mfa.Event, error)) (mfa.Environment, error)
	// InsertKey stores a key. Its environment must exist, or be zero: then the key opens all.
	InsertKey(ctx context.Context, k Key, h Hash, created mfa.Event) error
	// KeyByHash returns a key, revoked or not, or ErrNotFound.
	KeyByHash(ctx context.Context, h Hash) (Key, error)
	// Keys lists all keys, oldest first.
	Keys(ctx context.Context) ([]Key, error)
	// RevokeKey marks a key as revoked; ErrNotFound if there is no such key. One
	// that is revoked already stays as it is, without an event.
	RevokeKey(ctx context.Context, id KeyID, revoked mfa.Event) error
	// RenameKey gives a key another name; ErrNotFound if there is no such key. A key that has
	// the name stays as it is, without an event.
	RenameKey(ctx context.Context, id KeyID, name string, renamed mfa.Event) error
	// TouchKeys stores when keys were last used. An earlier time than the stored one, and an
	// unknown key, change nothing.
	TouchKeys(ctx context.Context, used []Use) error
}

// A Hash is the SHA-256 of an API key, all that is kept of it.
type Hash [sha256.Size]byte

// A KeyID names an API key without giving it away.
type KeyID string

// A Key is an API key of an application, or the key of a program that administers
// Countersign, as far as it is remembered.
type Key struct {
	ID          KeyID
	Environment mfa.Environment // zero for an operator key that opens all environments
	Name        string          // for people; may be empty
	Scopes      Scopes
	Hint        string    // its last four characters
	CreatedAt   time.Time // UTC, whole milliseconds
	ExpiresAt   time.Time // zero if it does not expire
	RevokedAt   time.Time // zero while it is good
	LastUsedAt  time.Time // to a minute; zero if it was never used
}

// IsOperator reports whether k administers Countersign. Such a key does not open the API of
// applications.
func (k *Key) IsOperator() bool { return k.Scopes&operatorScopes != 0 }

// valid reports whether k opens anything at a time.
func (k *Key) valid(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// A Service manages environments and keys and authenticates callers. It is safe
// for concurrent use.
type Service struct {
	store Store
	now   func() time.Time
	cache cache
	reads reads
	uses  uses
	pages pages
}

// NewService returns a Service over store; a nil now means time.Now.
func NewService(store Store, now func() time.Time) *Service {
	now = wallclock.Or(now)
	return &Service{store: store, now: now, pages: pages{turn: make(chan struct{}, 1)}}
}

var nameForm = regexp.MustCompile(`^[\pL\pN][\pL\pN ._-]{0,63}$`)

// CheckName returns ErrInvalidName for a name that no environment can have.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return ErrInvalidName
	}
	return nil
}

// CreateEnvironment makes a new environment. The environment of by is not used. Errors:
// ErrInvalidName, ErrExists.
func (s *Service) CreateEnvironment(ctx context.Context, by mfa.Caller, name string, production bool) (mfa.Environment, error) {
	if err := CheckName(name); err != nil {
		return mfa.Environment{}, err
	}
	e, err := s.store.InsertEnvironment(ctx, mfa.Environment{Name: name, Production: production}, s.event(by, mfa.EnvironmentCreated, ""))
	if err != nil {
		return e, fmt.Errorf("create environment %q: %w", name, err)
	}
	return e, nil
}

// Environments lists all environments, oldest first.
func (s *Service) Environments(ctx context.Context) ([]mfa.Environment, error) {
	return s.store.Environments(ctx)
}

// Environment returns the environment of that name, or ErrNotFound.
func (s *Service) Environment(ctx context.Context, name string) (mfa.Environment, error) {
	all, err := s.store.Environments(ctx)
	if err != nil {
		return mfa.Environment{}, err
	}
	for _, e := range all {
		if e.Name == name {
			return e, nil
		}
	}
	return mfa.Environment{}, fmt.Errorf("environment %q: %w", name, ErrNotFound)
}

// ChangeSettings changes settings of the environment of by, and returns it with all of them. changes
// has texts by the names of settings; "" sets one back to its default. Every node uses the new
// settings within 5 s. Errors: ErrNotFound, and the errors of mfa.Settings.With and
// mfa.Environment.CheckIssuer.
func (s *Service) ChangeSettings(ctx context.Context, by mfa.Caller, changes map[string]string) (mfa.Environment, error) {
	e, err := s.store.UpdateEnvironment(ctx, by.ID, func(e *mfa.Environment, all []mfa.Environment) (*mfa.Event, error) {
		before := e.Settings
		var err error
		if e.Settings, err = before.With(changes); err != nil || e.Settings == before {
			return nil, err
		}
		if changes["receipt_issuer"] != "" {
			if err := e.CheckIssuer(all); err != nil {
				return nil, err
			}
		}
		updated := by.Append(mfa.Event{Type: mfa.EnvironmentUpdated, Reason: strings.Join(e.Settings.ChangedFrom(before), " ")}, s.instant(), 0).Event
		return &updated, nil
	})
	if err != nil {
		return mfa.Environment{}, fmt.Errorf("change the settings of an environment: %w", err)
	}
	return e, nil
}

// event returns an event of this moment. The event of a key names it as its reason.
func (s *Service) event(by mfa.Caller, typ mfa.EventType, key KeyID) mfa.Event {
	reason := string(key)
	if key != "" && by.Reason != "" {
		reason += ":" + by.Reason
	}
	return by.Append(mfa.Event{Type: typ, Reason: reason}, s.instant(), 0).Event
}

func (s *Service) instant() time.Time { return s.now().UTC().Truncate(time.Millisecond) }
