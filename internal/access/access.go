// Package access decides who may call: environments, their API keys, and the
// authentication of a caller.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
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
	// InsertKey stores a key; its environment must exist.
	InsertKey(ctx context.Context, k Key, h Hash, created mfa.Event) error
	// KeyByHash returns a key, revoked or not, or ErrNotFound.
	KeyByHash(ctx context.Context, h Hash) (Key, error)
	// Keys lists all keys, oldest first.
	Keys(ctx context.Context) ([]Key, error)
	// RevokeKey marks a key as revoked; ErrNotFound if there is no such key. One
	// that is revoked already stays as it is, without an event.
	RevokeKey(ctx context.Context, id KeyID, revoked mfa.Event) error
}

// A Hash is the SHA-256 of an API key, all that is kept of it.
type Hash [sha256.Size]byte

// A KeyID names an API key without giving it away.
type KeyID string

// A Key is an API key, as far as it is remembered.
type Key struct {
	ID          KeyID
	Environment mfa.Environment
	Hint        string    // its last four characters
	CreatedAt   time.Time // UTC, whole milliseconds
	RevokedAt   time.Time // zero while it is good
}

// A Service manages environments and keys and authenticates callers. It is safe
// for concurrent use.
type Service struct {
	store Store
	now   func() time.Time
	cache cache
	reads reads
}

// NewService returns a Service over store; a nil now means time.Now.
func NewService(store Store, now func() time.Time) *Service {
	now = wallclock.Or(now)
	return &Service{store: store, now: now}
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

// Prefixes of API keys, by what environment they open.
const (
	sandboxPrefix    = "sk_test_"
	productionPrefix = "sk_live_"
)

// CreateKey makes an API key of the environment of by. The key itself is returned this once.
func (s *Service) CreateKey(ctx context.Context, by mfa.Caller) (secret.String, Key, error) {
	text := sandboxPrefix + rand.Text() // 26 characters of base32, 130 bits
	if by.Production {
		text = productionPrefix + rand.Text()
	}
	k := s.keyOf(text, by.Environment)
	if err := s.store.InsertKey(ctx, k, hash(text), s.event(by, mfa.KeyCreated, k.ID)); err != nil {
		return secret.String{}, Key{}, fmt.Errorf("create key: %w", err)
	}
	return secret.NewString(text), k, nil
}

// keyOf describes the key text of env. Its id is derived from its hash, so the
// holder of the key can find it in a log.
func (s *Service) keyOf(text string, env mfa.Environment) Key {
	h := hash(text)
	return Key{
		ID:          KeyID("key_" + hex.EncodeToString(h[:8])),
		Environment: env,
		Hint:        text[len(text)-4:],
		CreatedAt:   s.instant(),
	}
}

// Keys lists all keys, oldest first, revoked ones as well.
func (s *Service) Keys(ctx context.Context) ([]Key, error) { return s.store.Keys(ctx) }

// Revoke revokes a key. The environment of by is not used. Every node refuses the key within
// 5 s. Error: ErrNotFound.
func (s *Service) Revoke(ctx context.Context, by mfa.Caller, id KeyID) error {
	if err := s.store.RevokeKey(ctx, id, s.event(by, mfa.KeyRevoked, id)); err != nil {
		return fmt.Errorf("revoke %s: %w", id, err)
	}
	return nil
}

// event returns an event of this moment. The event of a key names it as its reason.
func (s *Service) event(by mfa.Caller, typ mfa.EventType, key KeyID) mfa.Event {
	return by.Append(mfa.Event{Type: typ, Reason: string(key)}, s.instant(), 0).Event
}

func (s *Service) instant() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

func hash(key string) Hash {
	var b [64]byte // longer than any valid key; append allocates for longer input
	return sha256.Sum256(append(b[:0], key...))
}
