package mfa_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
	"github.com/countersign-mfa/countersign/internal/totp"
)

var (
	sandbox    = mfa.Caller{Environment: mfa.Environment{ID: 1, Name: "Acme Test"}, Key: "key_sandbox"}
	production = mfa.Caller{Environment: mfa.Environment{ID: 2, Name: "Acme", Production: true}, Key: "key_production"}
)

const (
	adasPhone   = "+16073517112"
	gracesPhone = "+4915123456789"

	// wrong is not a valid code: it has five digits.
	wrong = "12345"
)

// A fixture is a Service over a real store, with a fake clock and a
// carrier that keeps its messages.
type fixture struct {
	*mfa.Service
	t       testing.TB
	store   *sqlite.Store
	path    string
	keys    *secret.Keyset
	clock   *mfatest.Clock
	carrier *mfatest.Carrier
	sms     delivery.Rules
}

// newFixture returns a fixture on an empty store. Clock and keys are its own.
func newFixture(t testing.TB, opts mfa.Options) *fixture {
	t.Helper()
	w := &fixture{
		t:       t,
		path:    sqlitetest.Path(t),
		clock:   mfatest.NewClock(mfatest.Start),
		carrier: &mfatest.Carrier{},
	}
	var err error
	if w.keys, err = secret.NewKeyset(); err != nil {
		t.Fatal(err)
	}
	if w.store, err = sqlite.Open(w.path, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	w.sms = opts.SMS
	w.Service = w.serviceOver(w.store, opts)
	return w
}

// serviceOver returns one more Service of the fixture, as on another node.
func (w *fixture) serviceOver(store mfa.Store, opts mfa.Options) *mfa.Service {
	w.t.Helper()
	if opts.SMS.Countries == nil {
		opts.SMS.Countries = []string{"US", "DE"}
	}
	opts.Sandbox = w.carrier
	opts.Now = w.clock.Now
	s, err := mfa.NewService(store, w.keys, w.carrier, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// operator returns the actions of an operator on the store of the fixture.
func (w *fixture) operator() *operator.Service { return w.operatorOn(w.store) }

func (w *fixture) operatorOn(store operator.Store) *operator.Service {
	return operator.NewService(store, w.store, operator.Options{
		Keys: func(context.Context) (*secret.Keyset, error) { return w.Keyset(), nil },
		SMS:  w.sms,
		Now:  w.clock.Now,
	})
}

var ada = operator.By{Operator: "ada"}

func (w *fixture) unlockFactor(id mfa.FactorID) error {
	return w.operator().UnlockFactor(w.t.Context(), ada, id)
}

func (w *fixture) unlockUser(env mfa.Caller, user string) error {
	return w.operator().UnlockUser(w.t.Context(), ada, env.Environment, user)
}

func (w *fixture) releasePrefix(env mfa.Caller, prefix string) (bool, error) {
	return w.operator().ReleasePrefix(w.t.Context(), ada, env.Environment, prefix)
}

// messageCounts lists the counts of messages of production.
func (w *fixture) messageCounts() []operator.MessageCount {
	w.t.Helper()
	all, err := w.operator().MessageCounts(w.t.Context(), production.Environment)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func (w *fixture) enroll(p mfa.EnrollParams) mfa.Enrollment {
	w.t.Helper()
	e, err := w.Enroll(w.t.Context(), sandbox, p, nil)
	if err != nil {
		w.t.Fatalf("Enroll(%s) = %v", p.Type, err)
	}
	return e
}

func (w *fixture) challenge(id mfa.FactorID) mfa.IssuedChallenge {
	w.t.Helper()
	c, err := w.Challenge(w.t.Context(), sandbox, id, mfa.ChallengeParams{}, nil)
	if err != nil {
		w.t.Fatalf("Challenge = %v", err)
	}
	return c
}

// phone enrolls an sms factor.
func (w *fixture) phone(env mfa.Caller, number string) mfa.FactorID {
	w.t.Helper()
	e, err := w.Enroll(w.t.Context(), env, mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: number}, nil)
	if err != nil {
		w.t.Fatalf("Enroll(%s) = %v", number, err)
	}
	return e.ID
}

// sendIn challenges a factor of an environment.
func (w *fixture) sendIn(env mfa.Caller, id mfa.FactorID) (mfa.IssuedChallenge, error) {
	return w.Challenge(w.t.Context(), env, id, mfa.ChallengeParams{}, nil)
}

func (w *fixture) resend(id mfa.ChallengeID) (mfa.IssuedChallenge, error) {
	return w.Resend(w.t.Context(), sandbox, id, nil)
}

func (w *fixture) receive(provider, id string, state delivery.State, reason string) {
	w.t.Helper()
	if err := w.Receive(w.t.Context(), delivery.Receipt{Provider: provider, ID: id, State: state, Reason: reason}); err != nil {
		w.t.Errorf("Receive(%s of %s) = %v", id, provider, err)
	}
}

func (w *fixture) verify(id mfa.ChallengeID, code string) (mfa.Verification, error) {
	return w.Verify(w.t.Context(), sandbox, id, mfa.VerifyParams{Code: code}, nil)
}

// mustVerify tries a code. It fails the test if the code is not checked, or if its result
// is not valid.
func (w *fixture) mustVerify(id mfa.ChallengeID, code string, valid bool) mfa.Verification {
	w.t.Helper()
	v, err := w.verify(id, code)
	if err != nil || v.Valid != valid {
		w.t.Fatalf("Verify = %v, %v; want %v, nil", v.Valid, err, valid)
	}
	return v
}

// fail tries one wrong code against a new challenge of a factor.
func (w *fixture) fail(id mfa.FactorID) {
	w.t.Helper()
	w.mustVerify(w.challenge(id).ID, wrong, false)
}

func (w *fixture) rows(r mfa.Read) mfa.Rows {
	w.t.Helper()
	rows, err := w.store.View(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// stored returns a factor as the store has it, nil if it is gone.
func (w *fixture) stored(id mfa.FactorID) *mfa.Factor {
	w.t.Helper()
	return w.rows(mfa.Read{Bucket: id.Bucket(), Factor: id}).Factor
}

// kept returns a challenge as the store has it, nil if it is gone.
func (w *fixture) kept(id mfa.ChallengeID) *mfa.Challenge {
	w.t.Helper()
	return w.rows(mfa.Read{Bucket: id.Bucket(), Challenge: id}).Challenge
}

// delivery sums up the messages of a challenge.
func (w *fixture) delivery(id mfa.ChallengeID) delivery.Record {
	w.t.Helper()
	d, ok := w.kept(id).Delivery(w.clock.Now())
	if !ok {
		w.t.Fatal("nothing was sent")
	}
	return d
}

func (w *fixture) attempts(id mfa.ChallengeID) int {
	w.t.Helper()
	return w.kept(id).Attempts
}

// events returns what happened in a bucket, oldest first.
func (w *fixture) events(b mfa.Bucket) (found []mfa.Event) {
	w.t.Helper()
	all := storetest.Events(w.t, w.store)
	for _, e := range all {
		if e.ID.Bucket() == b {
			found = append(found, e)
		}
	}
	return found
}

// app is the authenticator app of a totp factor: its code, steps away from now.
func (w *fixture) app(e mfa.Enrollment, steps int64) string {
	w.t.Helper()
	key, err := totp.ParseSecret(e.Secret.Reveal())
	if err != nil {
		w.t.Fatal(err)
	}
	return totp.Code(key, totp.Step(w.clock.Now())+steps)
}

// waitIn returns how long the caller is told to wait, and fails the test for an
// error that is not of the kind.
func waitIn(t testing.TB, err, kind error) time.Duration {
	t.Helper()
	limit, ok := errors.AsType[*mfa.LimitError](err)
	if !ok || !errors.Is(err, kind) {
		t.Fatalf("error is %v; want a LimitError of %v", err, kind)
	}
	return limit.After
}

// often are limits of a phone number that do not matter to a test.
var often = mfa.Limits{SendSpacing: time.Millisecond, Sends: []delivery.Window{{Count: 1, Span: time.Millisecond}}}
