package mfa

import (
	"fmt"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A kind has the rules of one FactorType. Each kind is one file, kind_<type>.go, and
// one line of kinds; no other file of this package compares a FactorType.
// The methods run inside a transaction, except validate and enroll. Such a method may
// run more than once and must not use randomness that its caller can see.
type kind interface {
	// validate returns every field of p that is wrong for the kind in an environment.
	validate(env Environment, p EnrollParams) []FieldError

	// enroll fills a new factor from p, which validate has accepted. It seals the values
	// that the store must not see.
	enroll(s *Service, env Environment, p EnrollParams, e *Enrollment) error

	// issue completes a new challenge of f: c.sent is a new code, and issue stores in c the
	// values that check needs.
	issue(s *Service, env Environment, f *Factor, c *IssuedChallenge) error

	// check checks a response. It may change the state of its factor, except the counters of
	// wrong codes, and nothing in its challenge.
	check(s *Service, a attempt) (result, error)

	// methods returns how a right response has proven f; r is the result of its check.
	methods(f *Factor, r *result) methods

	// describe returns a factor with the sealed values that its owner may see again. l is its
	// label.
	describe(keys *secret.Keyset, f *Factor, l label) (Details, error)
}

// An attempt is one response to a challenge, with the values that a check may need.
type attempt struct {
	env       Environment
	challenge *Challenge
	factor    *Factor
	code      string    // the response as the code that a person typed; see typedCode
	sent      string    // the response as the caller sent it
	owned     []*Factor // all factors of the user; nil unless check asked for them with a *needsOwned
	now       time.Time
	wants     *receipt.Request // the receipt that a right response gets, or nil
}

// A result is the result of a check.
type result struct {
	wrong       string        // "" if the response is right, otherwise the reason for the event
	clockOffset int           // see Event.ClockOffset
	code        secret.String // the code that the reply shows; if empty and the challenge keeps one, it is opened
	events      []Event       // further events; the caller of check sets their factor, challenge and kind

	Extras

	// replyOnly means that the reply has values that no row has: a repeated request gets the
	// recorded answer, and not one that is made from the challenge.
	replyOnly bool

	// told is the reason that the answer to a wrong code shows, or "". It must not
	// help a guesser. skew is shown with TellClockSkew.
	told string
	skew time.Duration
}

// Extras are the values that only the replies of some kinds have.
type Extras struct {
	Passkey *PasskeyUse        // webauthn: of a right response
	Unknown *UnknownCredential // webauthn: of a response of a credential that does not exist here
}

// needsOwned is the error of a kind that must know all factors of a user before it can issue a
// challenge or check a response. The operation starts again with a transaction that reads them.
type needsOwned struct{ user UserKey }

func (e *needsOwned) Error() string { return "the factors of the user must be read first" }

// A shower is a kind whose replies show a challenge in its own way. The shown values are public,
// so GET shows it too. For other kinds, the value that Challenge.SealedCode seals is the code,
// which only the reply to its request shows.
type shower interface {
	// show sets what replies show of a challenge from the value that SealedCode seals.
	show(c *IssuedChallenge, plain []byte) error
}

// A messenger is a kind whose codes Countersign sends.
type messenger interface {
	// recipient returns the phone number of a factor.
	recipient(keys *secret.Keyset, f *Factor) (delivery.Phone, error)
}

// An importing is a kind whose secret a caller can choose, and so choose twice for one user.
type importing interface {
	// isImported reports whether the caller chose the secret of p.
	isImported(p EnrollParams) bool

	// isDuplicate reports whether another factor of the user has the secret of e. owned are
	// all factors of the user.
	isDuplicate(keys *secret.Keyset, e *Enrollment, owned []*Factor) (bool, error)

	// refuseDuplicate returns the error of a duplicate that is refused.
	refuseDuplicate() error
}

// kinds has all kinds, in the order in which error texts list them.
var kinds = []struct {
	name FactorType
	kind kind
}{
	{TOTP, totpKind{}},
	{SMS, smsKind{}},
	{GenericOTP, genericKind{}},
	{WebAuthn, webauthnKind{}},
	{RecoveryCodes, recoveryKind{}},
}

// findKind returns the rules of a type; ok is false for an unknown type.
func findKind(t FactorType) (k kind, ok bool) {
	for i := range kinds {
		if kinds[i].name == t {
			return kinds[i].kind, true
		}
	}
	return nil, false
}

// kind returns the rules of a stored factor. An error means that a newer release
// stored it.
func (f *Factor) kind() (kind, error) {
	k, ok := findKind(f.Type)
	if !ok {
		return nil, fmt.Errorf("%s has the type %q, which this release does not support", f.ID, f.Type)
	}
	return k, nil
}

// messenger returns the rules of a factor whose codes Countersign sends; ok is false
// for other factors.
func (f *Factor) messenger() (m messenger, ok bool) {
	k, _ := findKind(f.Type)
	m, ok = k.(messenger)
	return m, ok
}

// typeNames lists all types that can be enrolled, for an error text: "totp, sms or generic_otp".
func typeNames() string {
	var names []string
	for _, k := range kinds {
		if _, hidden := k.kind.(unlisted); !hidden {
			names = append(names, string(k.name))
		}
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// A phishingResistant is a kind whose responses are of no use to a site that only looks like
// the right one.
type phishingResistant interface {
	phishingResistant() bool
}

// A recoverer is a kind whose codes replace a factor that the user cannot use.
type recoverer interface {
	recovers() bool
}

// IsRecovery reports whether factors of type t only replace other factors for a time, and are
// not a factor that the user signs in with. The kind decides.
func (t FactorType) IsRecovery() bool {
	k, _ := findKind(t)
	r, ok := k.(recoverer)
	return ok && r.recovers()
}

// IsPhishingResistant reports whether factors of type t resist phishing (NIST SP 800-63B,
// 3.2.5). The kind decides.
func (t FactorType) IsPhishingResistant() bool {
	k, _ := findKind(t)
	r, ok := k.(phishingResistant)
	return ok && r.phishingResistant()
}
