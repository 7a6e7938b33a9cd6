// Package operator has the actions of the people who administer Countersign. The command
// line, and later other faces, call it. It works on a store that servers may be using, and
// opens the keyset only for actions that read sealed values.
package operator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/stats"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Store keeps factors, users, counts of messages and events; both stores are one.
type Store interface {
	events.Log
	Update(ctx context.Context, r mfa.Read, fn func(tx *mfa.Tx) error) error
	View(ctx context.Context, r mfa.Read) (mfa.Rows, error)
	Factors(ctx context.Context, q mfa.FactorQuery) ([]mfa.Factor, error)
	FactorsAfter(ctx context.Context, after mfa.FactorID, limit int) ([]mfa.Factor, error)
	FactorsByPhone(ctx context.Context, phone mfa.PhoneHash, limit int) ([]mfa.Factor, error)
	Counters(ctx context.Context, env mfa.EnvironmentID) ([]delivery.Counter, error)
}

// A Service does what an operator asks for. It is safe for concurrent use.
type Service struct {
	store  Store
	access *access.Service
	opts   Options
	views  views
}

// Options say how the servers of the store are configured. Zero fields are the defaults of a
// server.
type Options struct {
	Keys  func(context.Context) (*secret.Keyset, error) // opens the keyset; called only by actions that need it
	SMS   delivery.Rules                                // of all environments that SMSOf does not name
	SMSOf map[string]delivery.Rules                     // by the name of an environment, in place of SMS
	// Limits must be equal to the limits of the servers: views say how many more codes and messages are allowed.
	Limits mfa.Limits
	// Remover returns a Remover for the same store. It opens the keyset.
	Remover     func(context.Context) (Remover, error)
	Tester      func(context.Context) (Tester, error) // returns a Tester for the same store and the providers of the servers
	Statistics  *stats.Reader                         // answers Stats, SMSStats and Coverage, which fail without it
	Development bool                                  // the store shows its messages without a key: no production environment may be created
	Now         func() time.Time                      // default time.Now
	Rand        io.Reader                             // safe for concurrent use; default crypto/rand.Reader
}

// NewService returns a Service over a store. environments keeps the environments and API
// keys of the same store.
func NewService(store Store, environments access.Store, opts Options) *Service {
	opts.Now = wallclock.Or(opts.Now)
	if opts.Keys == nil {
		opts.Keys = func(context.Context) (*secret.Keyset, error) { return nil, errors.New("no keyset was given") }
	}
	if opts.Remover == nil {
		opts.Remover = func(context.Context) (Remover, error) {
			return nil, errors.New("no Remover was given")
		}
	}
	if opts.Tester == nil {
		opts.Tester = func(context.Context) (Tester, error) {
			return nil, errors.New("no Tester was given")
		}
	}
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	return &Service{store: store, access: access.NewService(environments, opts.Now), opts: opts}
}

// ErrDevelopment means that a store of 'countersign dev' refuses a production environment.
var ErrDevelopment = errors.New("this is a store of 'countersign dev', which shows all messages without a key")

func (s *Service) now() time.Time { return s.opts.Now().UTC().Truncate(time.Millisecond) }

// By says who acts, and why. Events record both.
type By struct {
	Operator string // the operator's name; "" if Key is set
	Reason   string // may be empty
	Key      string // the id of the operator key of a program; or ""
	Request  string // the id of the request; or ""

	KeyExpires time.Time // when Key ends; zero: never

	// Only is the only environment whose factors and challenges exist for who acts; 0 means all.
	Only mfa.EnvironmentID
}

// sees reports whether the things of an environment exist for b.
func (b By) sees(env mfa.EnvironmentID) bool { return b.Only == 0 || b.Only == env }

// in returns b as the caller of an operation in an environment.
func (b By) in(env mfa.Environment) mfa.Caller {
	return mfa.Caller{Environment: env, Key: b.Key, Operator: b.Operator, Request: b.Request, Reason: b.Reason}
}

// ErrNoReason means that an action needs a reason.
var ErrNoReason = errors.New("a reason is required, such as the number of a ticket")

// checkReason is Check for an action that needs a reason.
func (b By) checkReason() error {
	if strings.TrimSpace(b.Reason) == "" {
		return ErrNoReason
	}
	return b.Check()
}

const maxReason = 200 // characters

var operatorForm = regexp.MustCompile(`^[\pL\pN][\pL\pN ._@+-]{0,63}$`)

// Check returns an error if an event cannot record b.
func (b By) Check() error {
	if (b.Key == "" || b.Operator != "") && !operatorForm.MatchString(b.Operator) {
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
