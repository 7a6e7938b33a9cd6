// Package operator has the actions of the people who administer Countersign. The command
// line, and later other faces, call it. It works on a store that servers may be using, and
// opens the keyset only for actions that read sealed values.
package operator

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Store keeps factors, users and counts of messages; every mfa.Store is one.
type Store interface {
	Update(ctx context.Context, r mfa.Read, fn func(tx *mfa.Tx) error) error
	Factors(ctx context.Context, q mfa.FactorQuery) ([]mfa.Factor, error)
	Counters(ctx context.Context, env mfa.EnvironmentID) ([]delivery.Counter, error)
}

// A Service does what an operator asks for. It is safe for concurrent use.
type Service struct {
	store  Store
	access *access.Service
	opts   Options
}

// Options say how the servers of the store are configured. Zero fields are the defaults of a
// server.
type Options struct {
	Keys  func(context.Context) (*secret.Keyset, error) // opens the keyset; called only by actions that need it
	SMS   delivery.Rules                                // of all environments that SMSOf does not name
	SMSOf map[string]delivery.Rules                     // by the name of an environment, in place of SMS
	// Erase deletes a user's factors and then the personal data in events. It needs the keyset.
	Erase       func(ctx context.Context, by mfa.Caller, user string) error
	Development bool             // the store shows its messages without a key: no production environment may be created
	Now         func() time.Time // default time.Now
}

// NewService returns a Service over a store. environments keeps the environments and API
// keys of the same store.
func NewService(store Store, environments access.Store, opts Options) *Service {
	opts.Now = wallclock.Or(opts.Now)
	if opts.Keys == nil {
		opts.Keys = func(context.Context) (*secret.Keyset, error) { return nil, errors.New("no keyset was given") }
	}
	return &Service{store: store, access: access.NewService(environments, opts.Now), opts: opts}
}

// ErrDevelopment means that a store of 'countersign dev' refuses a production environment.
var ErrDevelopment = errors.New("this is a store of 'countersign dev', which shows all messages without a key")

func (s *Service) now() time.Time { return s.opts.Now().UTC().Truncate(time.Millisecond) }

// By says who acts, and why. Events record both.
type By struct {
	Operator string // the operator's name
	Reason   string // may be empty
}

// in returns b as the caller of an operation in an environment.
func (b By) in(env mfa.Environment) mfa.Caller {
	return mfa.Caller{Environment: env, Operator: b.Operator}
}

const maxReason = 200 // characters

var operatorForm = regexp.MustCompile(`^[\pL\pN][\pL\pN ._@+-]{0,63}$`)

// Check returns an error if an event cannot record b.
func (b By) Check() error {
	if !operatorForm.MatchString(b.Operator) {
		return fmt.Errorf("%q is not the name of an operator: it must have 1 to 64 letters, digits, spaces and . _ @ + -, and start with a letter or a digit", b.Operator)
	}
	control := func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
	for _, r := range b.Reason {
		if control(r) {
			return errors.New("the reason must be one line of text")
		}
	}
	if utf8.RuneCountInString(b.Reason) > maxReason {
		return fmt.Errorf("the reason must have at most %d characters", maxReason)
	}
	return nil
}
