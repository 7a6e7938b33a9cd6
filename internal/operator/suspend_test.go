package operator_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

func TestSuspendAndResumeFactor(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{})
	f := w.enroll("ada", 2)
	for _, step := range []struct {
		do    string
		err   error
		solve error
	}{
		{"resume", mfa.ErrNotSuspended, nil},
		{"suspend", nil, mfa.ErrSuspended},
		{"suspend", mfa.ErrSuspended, mfa.ErrSuspended},
		{"resume", nil, nil},
		{"resume", mfa.ErrNotSuspended, nil},
	} {
		act := o.SuspendFactor
		if step.do == "resume" {
			act = o.ResumeFactor
		}
		if err := act(t.Context(), ada, f); !errors.Is(err, step.err) {
			t.Errorf("%s = %v; want %v", step.do, err, step.err)
		}
		if err := w.solve(f); !errors.Is(err, step.solve) {
			t.Errorf("after %s, the right code = %v; want %v", step.do, err, step.solve)
		}
	}
	var got []mfa.EventType
	for _, e := range storetest.Events(t, w.store) {
		if e.Caller != "operator:ada" || e.Factor != f {
			continue
		}
		got = append(got, e.Type)
		if e.Reason != ada.Reason || e.Kind != mfa.GenericOTP {
			t.Errorf("the event is %+v", e)
		}
	}
	if len(got) != 2 || got[0] != mfa.FactorSuspended || got[1] != mfa.FactorResumed {
		t.Errorf("the events are %v; want one of each act that changed something", got)
	}
}

func TestSuspensionNeedsAFactorAndAReason(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{})
	f := w.enroll("ada", 0)
	for name, act := range map[string]error{
		"suspend": o.SuspendFactor(t.Context(), operator.By{Operator: "ada"}, f),
		"resume":  o.ResumeFactor(t.Context(), operator.By{Operator: "ada", Reason: " "}, f),
	} {
		if !errors.Is(act, operator.ErrNoReason) {
			t.Errorf("%s without a reason = %v; want %v", name, act, operator.ErrNoReason)
		}
	}
	for name, act := range map[string]error{
		"suspend": o.SuspendFactor(t.Context(), ada, mfa.FactorID{0: 1}),
		"resume":  o.ResumeFactor(t.Context(), ada, mfa.FactorID{0: 1}),
	} {
		if !errors.Is(act, mfa.ErrNotFound) {
			t.Errorf("%s of an unknown factor = %v; want %v", name, act, mfa.ErrNotFound)
		}
	}
}

// TestViewsTellOfASuspensionAndABypassCode looks at a user with a suspended factor and one that
// can be used.
func TestViewsTellOfASuspensionAndABypassCode(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Keys: w.keyset})
	suspended := w.enroll("ada", 0)
	w.clock.Advance(time.Second)
	w.enroll("ada", 0)
	c, err := w.server.Challenge(t.Context(), w.by(), suspended, mfa.ChallengeParams{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.SuspendFactor(t.Context(), ada, suspended); err != nil {
		t.Fatal(err)
	}
	look := func() (operator.User, operator.Factor, operator.Challenge) {
		t.Helper()
		u, userErr := o.User(t.Context(), ada, w.env, "ada")
		f, factorErr := o.Factor(t.Context(), ada, suspended)
		c, challengeErr := o.Challenge(t.Context(), ada, c.ID)
		if err := errors.Join(userErr, factorErr, challengeErr); err != nil {
			t.Fatal(err)
		}
		return u, f, c
	}
	u, f, seen := look()
	by := operator.Suspension{By: "ada", Reason: "ticket 4711"}
	for _, v := range []operator.Factor{f, u.Factors[1]} {
		if v.State != mfa.StatusSuspended || !v.SuspendedAt.Equal(w.clock.Now()) || v.Suspension != by {
			t.Errorf("the suspended factor is %+v", v)
		}
	}
	if f.Bypass != nil || u.Bypass != nil || seen.State != operator.ChallengeBlocked {
		t.Errorf("without a bypass code, the user has %+v, the factor %+v, and the challenge is %s", u.Bypass, f.Bypass, seen.State)
	}
	told := []string{
		"The factor is suspended: it cannot be used until an operator resumes it.",
		"At 12:00:01 UTC it was suspended by ada: ticket 4711.",
	}
	same(t, "the explanation of the factor", f.Explanation, told)
	same(t, "the explanation of the challenge", seen.Explanation[1:], told)

	code, b, err := o.CreateBypass(t.Context(), operator.By{Operator: "grace", Reason: "lost phone"}, operator.BypassParams{Environment: w.env, User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	u, f, seen = look()
	if u.Bypass == nil || *u.Bypass != b || f.Bypass == nil || *f.Bypass != b {
		t.Errorf("the user has the bypass code %+v, the factor %+v; want %+v", u.Bypass, f.Bypass, b)
	}
	sentence := "A bypass code can be used until 12:15:01 UTC, in place of the code of any factor that is not suspended. It was issued by grace: lost phone."
	for what, all := range map[string][]string{"user": u.Explanation, "factor": f.Explanation, "challenge": seen.Explanation} {
		if !slices.Contains(all, sentence) || strings.Contains(strings.Join(all, " "), code.Reveal()) {
			t.Errorf("the explanation of the %s is %q", what, all)
		}
	}
	if want := "At 12:00:01 UTC the generic_otp factor " + suspended.String() + " was suspended by ada: ticket 4711."; !slices.Contains(u.Explanation, want) {
		t.Errorf("the explanation of the user is %q", u.Explanation)
	}
	w.clock.Advance(15 * time.Minute)
	if err := o.ResumeFactor(t.Context(), ada, suspended); err != nil {
		t.Fatal(err)
	}
	u, f, _ = look()
	if f.State != mfa.StatusUnverified || f.Suspension != (operator.Suspension{}) || f.Bypass != nil || u.Bypass != nil {
		t.Errorf("later, the factor is %+v and the user has %+v", f, u.Bypass)
	}
}
