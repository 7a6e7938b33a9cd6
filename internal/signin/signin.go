package signin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// The kinds of refusal. ErrRefused has few words on purpose: its event has the reason.
var (
	ErrRefused     = errors.New("sign-in was refused")
	ErrExpired     = errors.New("this took too long, or was used before; start again")
	ErrLink        = errors.New("this link was used, has expired, or was replaced by a newer one; ask for a new one")
	ErrSignedOut   = errors.New("not signed in")
	ErrStale       = errors.New("the last use of a passkey was too long ago")
	ErrNotFound    = errors.New("there is no such operator, passkey or session")
	ErrExternal    = errors.New("the groups of the identity provider decide the role of this operator, who signs in there")
	ErrNoRole      = errors.New("no group of the identity provider gives a role in this console")
	ErrNameTaken   = errors.New("another operator already has this name")
	ErrLastPasskey = errors.New("this is the only passkey of the operator; add another one first")
	ErrTooMany     = errors.New("the operator has too many passkeys; remove one first")
	ErrDisabled    = errors.New("the operator is disabled; enable the operator first")
	ErrExpiringKey = errors.New("an operator key that expires gives no operator access that lasts longer")
)

// A BlockedError means that too many attempts failed, from one address or in all.
type BlockedError struct{ Until time.Time }

// Is reports whether target is a BlockedError, with any time.
func (e *BlockedError) Is(target error) bool { _, ok := target.(*BlockedError); return ok }

func (e *BlockedError) Error() string {
	return "too many attempts to sign in; try again at " + e.Until.UTC().Format("15:04 UTC")
}

// An Operator is a person who may use the console.
type Operator struct {
	Name       string // unique; never changes; events have it
	Role       access.Role
	Handle     []byte // of the passkeys; random, so it says nothing about the person
	Subject    string // who this is for the identity provider: issuer and subject; "" for operators with passkeys only
	CreatedAt  time.Time
	DisabledAt time.Time // zero while the operator may sign in
}

// IsExternal reports whether the operator signs in at the identity provider.
func (o Operator) IsExternal() bool { return o.Subject != "" }

// A Passkey is a passkey of an operator.
type Passkey struct {
	passkey.Credential
	Operator  string
	Name      string // given by the operator
	CreatedAt time.Time
	UsedAt    time.Time // zero before the first use after its creation
}

// A Hash is the SHA-256 of a secret: all that is stored of it.
type Hash [sha256.Size]byte

func hashOf(token string) Hash { return sha256.Sum256([]byte(token)) }

// A Kind is the kind of a ticket.
type Kind string

// The kinds of ticket.
const (
	KindLink     Kind = "link"     // a one-time link
	KindCeremony Kind = "ceremony" // a challenge that waits for its answer
	KindSession  Kind = "session"
	KindAttempts Kind = "attempts" // counts attempts; its hash is of an address
)

// A Ticket is a short-lived row that is found by the hash of a secret.
type Ticket struct {
	Hash      Hash
	Kind      Kind
	Operator  string // "" while it is unknown
	Count     int
	CreatedAt time.Time
	SeenAt    time.Time
	ExpiresAt time.Time
	Data      []byte // JSON, whose form depends on the kind; nil if it is empty
}

// A Client is the browser that sends a request.
type Client struct {
	Network string // whose attempts are counted: its address, or the network of an IPv6 address
	Request string // the id of the request, for events
	Browser string // its User-Agent, for the list of sessions
	Session secret.String
}

// A Service signs operators in. It is safe for concurrent use.
type Service struct {
	store Store
	site  *passkey.RelyingParty
	opts  Options
}

// Options change how a Service works; zero fields take their defaults.
type Options struct {
	Idle     time.Duration    // how long a session lasts without requests; default 30 minutes
	Absolute time.Duration    // how long a session lasts at most; default 8 hours
	Fresh    time.Duration    // how long after the use of a passkey actions on people are allowed; default 5 minutes
	Now      func() time.Time // default time.Now
	Rand     io.Reader        // default crypto/rand.Reader
}

// The lives of tickets.
const (
	linkLife     = 15 * time.Minute
	ceremonyLife = 5 * time.Minute
)

// NewService returns a Service over a store. Only ceremonies with passkeys need site.
func NewService(store Store, site *passkey.RelyingParty, opts Options) *Service {
	if opts.Idle <= 0 {
		opts.Idle = 30 * time.Minute
	}
	if opts.Absolute <= 0 {
		opts.Absolute = 8 * time.Hour
	}
	if opts.Fresh <= 0 {
		opts.Fresh = 5 * time.Minute
	}
	opts.Now = wallclock.Or(opts.Now)
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	return &Service{store: store, site: site, opts: opts}
}

func (s *Service) now() time.Time { return s.opts.Now().UTC().Truncate(time.Millisecond) }

// token draws a secret of 256 bits.
func (s *Service) token() (string, error) {
	b, err := s.random(32)
	return base64.RawURLEncoding.EncodeToString(b), err
}

func (s *Service) random(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(s.opts.Rand, b); err != nil {
		return nil, fmt.Errorf("draw a secret: %w", err)
	}
	return b, nil
}

// ID returns a name for a ticket that does not reveal its secret.
func (t Ticket) ID() string { return hex.EncodeToString(t.Hash[:8]) }

// encode returns the data of a ticket.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("signin: " + err.Error()) // the data has only texts, numbers and times
	}
	return b
}

// decode reads the data of a ticket that encode has made.
func decode[T any](t *Ticket) (v T, err error) {
	if err := json.Unmarshal(t.Data, &v); err != nil {
		return v, fmt.Errorf("read a stored %s: %w", t.Kind, err)
	}
	return v, nil
}

// find returns the ticket of a secret, or nil unless it has this kind and has not expired.
func find(r Reader, kind Kind, token string, now time.Time) (*Ticket, error) {
	if token == "" {
		return nil, nil
	}
	t, err := r.Ticket(hashOf(token))
	if err != nil || t == nil || t.Kind != kind || !now.Before(t.ExpiresAt) {
		return nil, err
	}
	return t, nil
}

// happened appends an event about an operator, caused by the operator.
func (s *Service) happened(tx Tx, c Client, typ mfa.EventType, operator, reason string) error {
	caller := mfa.Caller{Operator: operator, Request: c.Request}
	return tx.Append(caller.Append(mfa.Event{Type: typ, Reason: reason}, s.now(), 0).Event)
}

// update runs fn in a transaction in which an attempt may fail. Then fn returns the error as
// outcome, and its writes stay.
func (s *Service) update(ctx context.Context, fn func(tx Tx) (outcome, err error)) error {
	var outcome error
	err := s.store.UpdateSignIn(ctx, func(tx Tx) (err error) {
		outcome, err = fn(tx)
		return err
	})
	if err != nil {
		return err
	}
	return outcome
}
