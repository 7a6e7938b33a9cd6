package operator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

var ada = operator.By{Operator: "ada", Reason: "ticket 4711"}

// A fixture is a server's service and an operator on one store.
type fixture struct {
	t       *testing.T
	server  *mfa.Service
	store   *sqlite.Store
	keys    *secret.Keyset
	clock   *mfatest.Clock
	carrier *mfatest.Carrier
	env     mfa.Environment // production
}

func newFixture(t *testing.T, opts mfa.Options) *fixture {
	t.Helper()
	w := &fixture{t: t, clock: mfatest.NewClock(mfatest.Start), carrier: &mfatest.Carrier{}}
	var err error
	if w.keys, err = secret.NewKeyset(); err != nil {
		t.Fatal(err)
	}
	if w.store, err = sqlite.Open(sqlitetest.Path(t), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	if w.env, err = w.operator(operator.Options{}).CreateEnvironment(t.Context(), ada, "Acme", true); err != nil {
		t.Fatal(err)
	}
	opts.Now = w.clock.Now
	if w.server, err = mfa.NewService(w.store, w.keys, w.carrier, opts); err != nil {
		t.Fatal(err)
	}
	return w
}

// operator returns an operator. It has no keyset unless opts.Keys is set.
func (w *fixture) operator(opts operator.Options) *operator.Service {
	opts.Now = w.clock.Now
	return operator.NewService(w.store, w.store, opts)
}

// by is an application that calls the server.
func (w *fixture) by() mfa.Caller { return mfa.Caller{Environment: w.env} }

func (w *fixture) keyset(context.Context) (*secret.Keyset, error) { return w.keys, nil }

// enroll returns a factor of a user with the given number of wrong codes.
func (w *fixture) enroll(user string, wrong int) mfa.FactorID {
	w.t.Helper()
	f, err := w.server.Enroll(w.t.Context(), w.by(), mfa.EnrollParams{Type: mfa.GenericOTP, User: user}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for range wrong {
		c, err := w.server.Challenge(w.t.Context(), w.by(), f.ID, mfa.ChallengeParams{}, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.server.Verify(w.t.Context(), w.by(), c.ID, mfa.VerifyParams{Code: "12345"}, nil); err != nil {
			w.t.Fatal(err)
		}
	}
	return f.ID
}

// solve tries the right code of a factor.
func (w *fixture) solve(id mfa.FactorID) error {
	w.t.Helper()
	c, err := w.server.Challenge(w.t.Context(), w.by(), id, mfa.ChallengeParams{}, nil)
	if err != nil {
		return err
	}
	v, err := w.server.Verify(w.t.Context(), w.by(), c.ID, mfa.VerifyParams{Code: c.Code.Reveal()}, nil)
	if err == nil && !v.Valid {
		err = errors.New("the right code is not valid")
	}
	return err
}

func TestUnlockFactor(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{FactorFailures: 3}})
	o := w.operator(operator.Options{})
	f := w.enroll("ada", 3)
	if err := w.solve(f); !errors.Is(err, mfa.ErrTooManyAttempts) {
		t.Fatalf("the right code of a locked factor = %v", err)
	}
	if err := o.UnlockFactor(t.Context(), ada, f); err != nil {
		t.Fatalf("UnlockFactor = %v", err)
	}
	if err := w.solve(f); err != nil {
		t.Errorf("the right code of an unlocked factor = %v", err)
	}
	if err := o.UnlockFactor(t.Context(), ada, f); !errors.Is(err, mfa.ErrNotLocked) {
		t.Errorf("UnlockFactor of a factor without wrong codes = %v; want %v", err, mfa.ErrNotLocked)
	}
	if err := o.UnlockFactor(t.Context(), ada, mfa.FactorID{0: 1}); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("UnlockFactor of an unknown factor = %v; want %v", err, mfa.ErrNotFound)
	}
}

func TestUnlockUser(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{UserFailures: 3}})
	without := w.operator(operator.Options{})
	f := w.enroll("ada", 3)
	if err := without.UnlockUser(t.Context(), ada, w.env, "ada"); err != nil {
		t.Fatalf("UnlockUser = %v", err)
	}
	if err := w.solve(f); err != nil {
		t.Errorf("the right code of an unlocked user = %v", err)
	}
	if err := without.UnlockUser(t.Context(), ada, w.env, "ada"); !errors.Is(err, mfa.ErrNotLocked) {
		t.Errorf("UnlockUser of a user without wrong codes = %v; want %v", err, mfa.ErrNotLocked)
	}
	if err := without.UnlockUser(t.Context(), ada, w.env, "grace"); !errors.Is(err, operator.ErrKeyset) {
		t.Errorf("UnlockUser of an unknown user, without the keyset = %v; want %v", err, operator.ErrKeyset)
	}
	with := w.operator(operator.Options{Keys: w.keyset})
	if err := with.UnlockUser(t.Context(), ada, w.env, "grace"); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("UnlockUser of an unknown user = %v; want %v", err, mfa.ErrNotFound)
	}
}

// TestTheEventOfAnUnlockedUserNamesTheUser unlocks users with and without a factor.
func TestTheEventOfAnUnlockedUserNamesTheUser(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{UserFailures: 3}})
	w.enroll("ada", 3)
	if err := w.server.DeleteFactor(t.Context(), w.by(), w.enroll("grace", 3)); err != nil {
		t.Fatal(err)
	}
	o := w.operator(operator.Options{Keys: w.keyset})
	for _, user := range []string{"ada", "grace"} {
		if err := o.UnlockUser(t.Context(), ada, w.env, user); err != nil {
			t.Fatal(err)
		}
	}
	reader := events.NewService(w.store, events.Options{Keys: func() *secret.Keyset { return w.keys }})
	page, err := reader.List(t.Context(), events.Query{Environment: w.env.ID, Types: []mfa.EventType{mfa.UserUnlocked}})
	if err != nil || len(page.Events) != 2 || page.Events[0].User != "ada" || page.Events[1].User != "grace" || page.Events[0].Caller != "operator:ada" {
		t.Errorf("the events are %+v, %v; want those of ada and grace, by ada", page.Events, err)
	}
}

// TestUnlockUserWithoutFactors locks a user and deletes the factor: the lock outlives it.
func TestUnlockUserWithoutFactors(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{UserFailures: 3}})
	if err := w.server.DeleteFactor(t.Context(), w.by(), w.enroll("ada", 3)); err != nil {
		t.Fatal(err)
	}
	o := w.operator(operator.Options{Keys: w.keyset})
	if err := o.UnlockUser(t.Context(), ada, w.env, "ada"); err != nil {
		t.Fatalf("UnlockUser = %v", err)
	}
	if err := o.UnlockUser(t.Context(), ada, w.env, "ada"); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("UnlockUser of a user without factors and wrong codes = %v; want %v", err, mfa.ErrNotFound)
	}
	if err := w.solve(w.enroll("ada", 0)); err != nil {
		t.Errorf("the right code of a new factor = %v", err)
	}
}

// TestMessageCountsFollowTheRules counts with the window of the server's configuration.
func TestMessageCountsFollowTheRules(t *testing.T) {
	rules := map[string]delivery.Rules{"Acme": {Countries: []string{"DE"}, Pumping: delivery.Pumping{Window: 24 * time.Hour}}}
	w := newFixture(t, mfa.Options{SMSOf: rules})
	f, err := w.server.Enroll(t.Context(), w.by(), mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: "+4915123456789"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.server.Challenge(t.Context(), w.by(), f.ID, mfa.ChallengeParams{}, nil); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(5 * time.Hour)
	counts, err := w.operator(operator.Options{Keys: w.keyset, SMSOf: rules}).MessageCounts(t.Context(), w.env)
	if err != nil || len(counts) == 0 {
		t.Fatalf("MessageCounts = %v, %v", counts, err)
	}
	first := counts[0]
	if first.Of != "+491512" || first.Period != 24*time.Hour || first.Sent != 1 || !strings.HasPrefix(first.Reference, "prefix_") {
		t.Errorf("the count of the prefix is %+v", first)
	}
	if _, err := w.operator(operator.Options{}).MessageCounts(t.Context(), w.env); err == nil {
		t.Error("MessageCounts without a keyset succeeded")
	}
}

func TestEveryActionNamesItsOperator(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Keys: w.keyset})
	for _, by := range []operator.By{
		{},
		{Operator: "-ada"},
		{Operator: "ada\n"},
		{Operator: strings.Repeat("a", 65)},
		{Operator: "ada", Reason: "two\nlines"},
		{Operator: "ada", Reason: "\xff"},
		{Operator: "ada", Reason: strings.Repeat("ä", 201)},
	} {
		_, created := o.CreateEnvironment(t.Context(), by, "new", false)
		_, _, key := o.CreateKey(t.Context(), by, w.env, access.KeyParams{})
		_, released := o.ReleasePrefix(t.Context(), by, w.env, "+491512")
		_, _, bypass := o.CreateBypass(t.Context(), by, operator.BypassParams{Environment: w.env, User: "ada"})
		for action, err := range map[string]error{
			"CreateBypass":      bypass,
			"RevokeBypass":      o.RevokeBypass(t.Context(), by, operator.BypassParams{Environment: w.env, User: "ada"}),
			"DeleteFactor":      o.DeleteFactor(t.Context(), by, mfa.FactorID{0: 1}),
			"CreateEnvironment": created, "CreateKey": key, "ReleasePrefix": released,
			"RevokeKey":    o.RevokeKey(t.Context(), by, "key_1"),
			"UnlockFactor": o.UnlockFactor(t.Context(), by, mfa.FactorID{0: 1}),
			"UnlockUser":   o.UnlockUser(t.Context(), by, w.env, "ada"),
			"Suspend":      o.SuspendFactor(t.Context(), by, mfa.FactorID{0: 1}),
			"Resume":       o.ResumeFactor(t.Context(), by, mfa.FactorID{0: 1}),
		} {
			if err == nil || errors.Is(err, mfa.ErrNotFound) || errors.Is(err, access.ErrNotFound) {
				t.Errorf("%s by %+v = %v; want an error that names the fault", action, by, err)
			}
		}
	}
	for _, by := range []operator.By{ada, {Operator: "Ada Lovelace"}, {Operator: "ada@example.com", Reason: strings.Repeat("ä", 200)}} {
		if err := by.Check(); err != nil {
			t.Errorf("%+v: %v", by, err)
		}
	}
}

func TestDevelopmentStoreHasNoProduction(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Development: true})
	if _, err := o.CreateEnvironment(t.Context(), ada, "live", true); !errors.Is(err, operator.ErrDevelopment) {
		t.Errorf("CreateEnvironment = %v; want %v", err, operator.ErrDevelopment)
	}
	if _, err := o.CreateEnvironment(t.Context(), ada, "test", false); err != nil {
		t.Errorf("CreateEnvironment of a sandbox = %v", err)
	}
}
