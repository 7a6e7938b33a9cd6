package mfa_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

var adaWhy = operator.By{Operator: "ada", Reason: "ticket 4711"}

func (w *fixture) suspend(id mfa.FactorID) {
	w.t.Helper()
	if err := w.operator().SuspendFactor(w.t.Context(), adaWhy, id); err != nil {
		w.t.Fatalf("SuspendFactor = %v", err)
	}
}

func (w *fixture) resume(id mfa.FactorID) {
	w.t.Helper()
	if err := w.operator().ResumeFactor(w.t.Context(), adaWhy, id); err != nil {
		w.t.Fatalf("ResumeFactor = %v", err)
	}
}

// right returns the right code of a challenge.
func (w *fixture) right(e mfa.Enrollment, c mfa.IssuedChallenge) string {
	w.t.Helper()
	switch e.Type {
	case mfa.TOTP:
		return w.app(e, 0)
	case mfa.SMS:
		return w.carrier.Last().Code.Reveal()
	}
	return c.Code.Reveal()
}

func TestASuspendedFactorIsNotUsed(t *testing.T) {
	for _, kind := range []mfa.FactorType{mfa.TOTP, mfa.SMS, mfa.GenericOTP} {
		t.Run(string(kind), func(t *testing.T) {
			w := newFixture(t, mfa.Options{Limits: often})
			p := mfa.EnrollParams{Type: kind, User: "ada"}
			if kind == mfa.SMS {
				p.PhoneNumber = adasPhone
			}
			e := w.enroll(p)
			c := w.challenge(e.ID)
			code := w.right(e, c)
			w.suspend(e.ID)
			w.clock.Advance(time.Second)
			before := w.carrier.Sent()
			if _, err := w.sendIn(sandbox, e.ID); !errors.Is(err, mfa.ErrSuspended) {
				t.Errorf("Challenge = %v; want %v", err, mfa.ErrSuspended)
			}
			for _, code := range []string{code, wrong} {
				if _, err := w.verify(c.ID, code); !errors.Is(err, mfa.ErrSuspended) {
					t.Errorf("Verify(%s) = %v; want %v", code, err, mfa.ErrSuspended)
				}
			}
			if _, err := w.resend(c.ID); kind == mfa.SMS && !errors.Is(err, mfa.ErrSuspended) {
				t.Errorf("Resend = %v; want %v", err, mfa.ErrSuspended)
			}
			if n := w.carrier.Sent(); n != before {
				t.Errorf("%d messages were sent", n-before)
			}
			f := w.stored(e.ID)
			if n := w.attempts(c.ID); n != 0 || f.Failures != 0 || !f.LastUse().IsZero() {
				t.Errorf("%d attempts and %d failures are counted, last use %v; want none", n, f.Failures, f.LastUse())
			}
			page, err := w.Factors(t.Context(), sandbox, mfa.ListParams{User: "ada"})
			if err != nil || len(page.Factors) != 1 {
				t.Fatalf("Factors = %v, %v", page, err)
			}
			if got := page.Factors[0].Status; got != mfa.StatusSuspended {
				t.Errorf("the list shows it as %s", got)
			}
			w.resume(e.ID)
			w.mustVerify(c.ID, code, true)
		})
	}
}

// TestStatusOfAFactor takes a factor through its states.
func TestStatusOfAFactor(t *testing.T) {
	limits := mfa.Limits{FreeFailures: 1, FactorFailures: 3}
	w := newFixture(t, mfa.Options{Limits: limits})
	e := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"})
	status := func(when string, want mfa.FactorStatus) {
		t.Helper()
		if got := w.stored(e.ID).Status(limits, w.clock.Now()); got != want {
			t.Errorf("%s: %s; want %s", when, got, want)
		}
	}
	solve := func() {
		t.Helper()
		c := w.challenge(e.ID)
		w.mustVerify(c.ID, c.Code.Reveal(), true)
	}
	status("enrolled", mfa.StatusUnverified)
	w.fail(e.ID)
	status("one wrong code", mfa.StatusUnverified)
	solve()
	status("a right code", mfa.StatusVerified)
	w.fail(e.ID)
	w.fail(e.ID)
	status("two wrong codes", mfa.StatusLocked)
	w.clock.Advance(time.Minute)
	status("after the wait", mfa.StatusVerified)
	w.fail(e.ID)
	w.clock.Advance(24 * time.Hour)
	status("locked until an operator unlocks it", mfa.StatusLocked)
	w.suspend(e.ID)
	status("suspended", mfa.StatusSuspended)
	w.resume(e.ID)
	status("resumed", mfa.StatusLocked)
	if err := w.unlockFactor(e.ID); err != nil {
		t.Fatal(err)
	}
	status("unlocked", mfa.StatusVerified)
}

// TestStatusOfAFactorOfAnOlderRelease has the columns that older releases filled.
func TestStatusOfAFactorOfAnOlderRelease(t *testing.T) {
	at := time.Date(2026, 3, 29, 8, 30, 0, 0, time.UTC)
	f := mfa.Factor{FactorState: mfa.FactorState{LastStep: at.Unix() / 30}}
	if got := f.Status(mfa.Limits{}, at); got != mfa.StatusVerified || !f.LastUse().Equal(at) {
		t.Errorf("with a last step: %s, last use %v; want %s, %v", got, f.LastUse(), mfa.StatusVerified, at)
	}
	if got := (&mfa.Factor{}).Status(mfa.Limits{}, at); got != mfa.StatusUnverified {
		t.Errorf("without a last step: %s; want %s", got, mfa.StatusUnverified)
	}
	f.Failures = 50
	if got := f.Status(mfa.Limits{}, at); got != mfa.StatusLocked {
		t.Errorf("with 50 failures and default limits: %s; want %s", got, mfa.StatusLocked)
	}
}

// TestLastUse verifies codes of each kind and reads the recorded time.
func TestLastUse(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: often})
	app := w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
	phone := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone})
	other := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP})
	solve := func(e mfa.Enrollment, want time.Time) {
		t.Helper()
		c := w.challenge(e.ID)
		w.mustVerify(c.ID, w.right(e, c), true)
		if got := w.stored(e.ID).LastUse(); !got.Equal(want) {
			t.Errorf("last use of %s is %v; want %v", e.Type, got, want)
		}
	}
	first := w.clock.Now()
	for _, e := range []mfa.Enrollment{app, phone, other} {
		solve(e, first)
	}
	w.clock.Advance(time.Hour)
	solve(app, w.clock.Now())
	solve(phone, w.clock.Now())
	solve(other, first)
	w.clock.Advance(7*24*time.Hour - time.Hour)
	solve(other, w.clock.Now())
	w.fail(other.ID)
	w.clock.Advance(time.Minute)
	solve(other, w.clock.Now()) // the factor is stored anyway, for its failures
}

// TestNoCodeIsRightAfterASuspension suspends a factor on one node while another verifies its
// challenges.
func TestNoCodeIsRightAfterASuspension(t *testing.T) {
	for name, open := range map[string]func(*testing.T, *fixture) func() mfa.Store{
		"SQLite": func(t *testing.T, w *fixture) func() mfa.Store {
			return func() mfa.Store {
				s, err := sqlite.Open(w.path, nil)
				return closing(t, s, err)
			}
		},
		"PostgreSQL": func(t *testing.T, _ *fixture) func() mfa.Store {
			url := pgtest.Start(t).Database(t)
			if err := postgres.Migrate(t.Context(), url); err != nil {
				t.Fatal(err)
			}
			return func() mfa.Store {
				s, err := postgres.Open(t.Context(), url, postgres.Options{})
				return closing(t, s, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			node := open(t, w)
			here, there := node(), node()
			service, o := w.serviceOver(here, mfa.Options{}), w.operatorOn(there.(operator.Store))
			for range 5 {
				suspendDuringVerifies(t, service, o)
			}
		})
	}
}

// closing closes a store at the end of a test.
func closing(t *testing.T, s interface {
	mfa.Store
	Close() error
}, err error,
) mfa.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func suspendDuringVerifies(t *testing.T, s *mfa.Service, o *operator.Service) {
	const workers, each = 16, 12
	f, err := s.Enroll(t.Context(), sandbox, mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	challenges := make(chan mfa.IssuedChallenge, workers*each)
	for range workers * each {
		c, err := s.Challenge(t.Context(), sandbox, f.ID, mfa.ChallengeParams{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		challenges <- c
	}
	close(challenges)
	var suspended atomic.Bool
	var valid, refused atomic.Int32
	var all sync.WaitGroup
	some := make(chan struct{})
	for range workers {
		all.Go(func() {
			for c := range challenges {
				late := suspended.Load()
				v, err := s.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: c.Code.Reveal()}, nil)
				switch {
				case errors.Is(err, mfa.ErrSuspended):
					refused.Add(1)
				case err != nil || !v.Valid:
					t.Errorf("Verify = %v, %v", v.Valid, err)
				case late:
					t.Error("a code is right after the suspension")
				default:
					if valid.Add(1) == workers {
						close(some)
					}
				}
			}
		})
	}
	<-some
	if err := o.SuspendFactor(t.Context(), adaWhy, f.ID); err != nil {
		t.Error(err)
	}
	suspended.Store(true)
	all.Wait()
	t.Logf("%d right, %d refused", valid.Load(), refused.Load())
	if refused.Load() == 0 {
		t.Log("the suspension came after the last code")
	}
	c, err := s.Challenge(t.Context(), sandbox, f.ID, mfa.ChallengeParams{}, nil)
	if !errors.Is(err, mfa.ErrSuspended) {
		t.Errorf("Challenge = %v, %v; want %v", c.ID, err, mfa.ErrSuspended)
	}
}
