package mfa

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Service decides what happens to factors and challenges. It is safe for
// concurrent use, by any number of processes over one Store.
type Service struct {
	store  Store
	keys   atomic.Pointer[secret.Keyset]
	opts   Options
	policy *delivery.Policy // of messages
	ids    *ids.Source
	slow   *slowHashes // of recovery codes

	unsealed atomic.Bool // whether the store may have values that an older release did not seal
}

// Options change how a Service behaves; zero fields take their defaults.
type Options struct {
	Limits             Limits
	ChallengeTTL       time.Duration                                  // how long a challenge may be verified; default and maximum 10 min
	TOTPWindow         *int                                           // time steps accepted on either side of now; 0 to 2; default 1
	Models             *passkey.Models                                // of authenticators, for webauthn_attestation; or nil
	PublicURL          string                                         // of the API, without a path; receipts name it; "": the environment must have an issuer
	Issuer             string                                         // of totp factors enrolled without one; default the environment's name
	ChallengeRetention time.Duration                                  // how long a challenge is kept; default 24 h
	EventRetention     time.Duration                                  // how long an event is kept; default 400 days
	Resealed           func(context.Context, *secret.Keyset) error    // called when all factors are sealed under the newest key
	Unsealed           bool                                           // the store may have values that an older release did not seal: Reseal looks for them
	Environments       func(context.Context) ([]EnvironmentID, error) // lists all environments, whose counters Reseal seals; needed with Unsealed
	AllSealed          func(context.Context) error                    // called when no such value is left
	SMS                delivery.Rules                                 // of all environments that SMSOf does not name
	SMSOf              map[string]delivery.Rules                      // by the name of an environment, in place of SMS
	Sandbox            delivery.Sender                                // gets the messages of sandboxes and does not deliver them; nil: sandboxes send only to test numbers
	SendTimeout        time.Duration                                  // for handing over one message; default 12 s
	RecoveryIterations int                                            // of the slow hash of new recovery codes; default 600,000
	SlowHash           SlowHash                                       // of recovery codes; default PBKDF2-HMAC-SHA-256
	Observe            func(EventType)                                // called for each event of the Service once it is stored; must not wait
	Failed             func(task string)                              // called after a failed round of Maintain with "sweep", "expire" or "reseal"; must not wait
	Logger             *slog.Logger                                   // default slog.Default()
	Now                func() time.Time
	Rand               io.Reader // safe for concurrent use; default crypto/rand.Reader
}

// maxChallengeTTL is the longest lifetime of an out-of-band code (NIST SP 800-63B,
// section 3.1.3.2).
const maxChallengeTTL = 10 * time.Minute

// NewService returns a Service that keeps its rows in store, sealed under keys.
// Without a sender, the sms factors of production environments can be enrolled but
// not challenged.
func NewService(store Store, keys *secret.Keyset, sender delivery.Sender, opts Options) (*Service, error) {
	var err error
	if opts.Limits, err = opts.Limits.WithDefaults(); err != nil {
		return nil, err
	}
	def := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	def(&opts.ChallengeTTL, maxChallengeTTL)
	def(&opts.ChallengeRetention, 24*time.Hour)
	def(&opts.EventRetention, 400*24*time.Hour)
	policy, err := delivery.NewPolicy(delivery.Options{
		Limits: delivery.Limits{Spacing: opts.Limits.SendSpacing, Windows: opts.Limits.Sends},
		Rules:  opts.SMS, RulesOf: opts.SMSOf, Sender: sender, Sandbox: opts.Sandbox, Timeout: opts.SendTimeout,
	})
	if err != nil {
		return nil, err
	}
	if opts.TOTPWindow == nil {
		one := 1
		opts.TOTPWindow = &one
	}
	opts.Now = wallclock.Or(opts.Now)
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	switch {
	case opts.ChallengeTTL < time.Millisecond || opts.ChallengeTTL > maxChallengeTTL:
		return nil, fmt.Errorf("challenge TTL is %v; it must be from 1 ms to %v", opts.ChallengeTTL, maxChallengeTTL)
	case opts.ChallengeRetention < opts.ChallengeTTL:
		return nil, fmt.Errorf("challenge retention is %v, less than their TTL of %v", opts.ChallengeRetention, opts.ChallengeTTL)
	case len(opts.Issuer) > maxIssuer || strings.Contains(opts.Issuer, ":") || !isPlainText(opts.Issuer):
		return nil, fmt.Errorf("TOTP issuer is %q; it must have at most %d bytes, no colon and no control characters", opts.Issuer, maxIssuer)
	case opts.Unsealed && opts.Environments == nil:
		return nil, errors.New("Unsealed is set, but Environments is nil: sealing the rows of an older release needs the list of environments")
	case opts.EventRetention < 0:
		return nil, errors.New("event retention must be positive")
	case *opts.TOTPWindow < 0 || *opts.TOTPWindow > 2:
		return nil, fmt.Errorf("TOTP window is %d steps; it must be from 0 to 2", *opts.TOTPWindow)
	}
	if opts.Failed == nil {
		opts.Failed = func(string) {}
	}
	if opts.Observe != nil {
		store = observed{store, opts.Observe}
	}
	if opts.RecoveryIterations == 0 {
		opts.RecoveryIterations = recoveryIterations
	}
	s := &Service{store: store, opts: opts, policy: policy, ids: ids.NewSource(opts.Rand), slow: newSlowHashes(opts.SlowHash)}
	s.keys.Store(keys)
	s.unsealed.Store(opts.Unsealed)
	return s, nil
}

// SetKeys makes keys the keyset from now on. It must still hold every key that
// stored rows are sealed under.
func (s *Service) SetKeys(keys *secret.Keyset) { s.keys.Store(keys) }

// Keys returns the keyset in use.
func (s *Service) Keys() *secret.Keyset { return s.keys.Load() }

// now returns the time of one operation: UTC, whole milliseconds, as the store keeps times.
func (s *Service) now() time.Time { return s.opts.Now().UTC().Truncate(time.Millisecond) }

// A journal appends the events of one operation. The store gives them their ids.
type journal struct {
	by      Caller
	at      time.Time
	bucket  Bucket
	context *EventContext // of each event; or nil
}

// append adds an event to tx.
func (j journal) append(tx *Tx, e Event) {
	w := j.by.Append(e, j.at, j.bucket)
	w.Context = j.context
	tx.put(w)
}
