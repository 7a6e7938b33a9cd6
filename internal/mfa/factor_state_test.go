package mfa_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

// configured returns the caller of the sandbox with a setting.
func configured(t *testing.T, name, text string) mfa.Caller {
	t.Helper()
	by := sandbox
	by.Settings = with(t, mfa.Settings{}, map[string]string{name: text})
	return by
}

func TestAFactorSaysItsStatusAndLastUse(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"})
	check := func(status mfa.FactorStatus, used time.Time) {
		t.Helper()
		d, err := w.Factor(t.Context(), sandbox, e.ID)
		if err != nil || d.Status != status || !d.LastUse().Equal(used) {
			t.Errorf("the factor is %s, used at %v, %v; want %s, %v", d.Status, d.LastUse(), err, status, used)
		}
		page, err := w.Factors(t.Context(), sandbox, mfa.ListParams{User: "ada"})
		if err != nil || len(page.Factors) != 1 || page.Factors[0].Status != status {
			t.Errorf("the list has %+v, %v; want %s", page.Factors, err, status)
		}
	}
	if e.Status != mfa.StatusUnverified {
		t.Errorf("a new factor is %s", e.Status)
	}
	check(mfa.StatusUnverified, time.Time{})
	c := w.challenge(e.ID)
	w.mustVerify(c.ID, c.Code.Reveal(), true)
	used := w.clock.Now().Truncate(time.Millisecond)
	check(mfa.StatusVerified, used)
	for range 6 {
		w.fail(e.ID)
	}
	check(mfa.StatusLocked, used)
}

func wantInvalid(t *testing.T, err error, field, code string) {
	t.Helper()
	if e, ok := errors.AsType[*mfa.InvalidError](err); !ok || len(e.Fields) != 1 || e.Fields[0].Field != field || e.Fields[0].Code != code {
		t.Errorf("the error is %v; want %s %s", err, field, code)
	}
}

func TestAUserCanHaveOnlySoManyFactors(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	three := configured(t, "max_factors_per_user", "3")
	p := mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}
	var last mfa.Enrollment
	for range 3 {
		var err error
		if last, err = w.Enroll(t.Context(), three, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		_, err := w.Enroll(t.Context(), three, p, nil)
		wantInvalid(t, err, "user_id", "too_many_factors")
	}
	for _, other := range []mfa.EnrollParams{{Type: mfa.GenericOTP, User: "grace"}, {Type: mfa.GenericOTP}} {
		if _, err := w.Enroll(t.Context(), three, other, nil); err != nil {
			t.Errorf("a factor of %q: %v", other.User, err)
		}
	}
	if err := w.DeleteFactor(t.Context(), three, last.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Enroll(t.Context(), three, p, nil); err != nil {
		t.Errorf("after a deletion: %v", err)
	}
	for n := range 18 { // the default is 20
		_, err := w.Enroll(t.Context(), sandbox, p, nil)
		if n < 17 && err != nil {
			t.Fatal(err)
		}
		if n == 17 {
			wantInvalid(t, err, "user_id", "too_many_factors")
		}
	}
}

// TestRacingEnrollmentsKeepTheLimit enrolls factors of one user on two nodes at once.
func TestRacingEnrollmentsKeepTheLimit(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	w := newFixture(t, mfa.Options{})
	nodes := []*mfa.Service{w.Service}
	for range 2 {
		s, err := postgres.Open(t.Context(), url, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		nodes = append(nodes, w.serviceOver(s, mfa.Options{}))
	}
	by := configured(t, "max_factors_per_user", "2")
	for name, on := range map[string][]*mfa.Service{"SQLite": nodes[:1], "PostgreSQL": nodes[1:]} {
		for round := range 10 {
			p := mfa.EnrollParams{Type: mfa.GenericOTP, User: fmt.Sprint("user ", round)}
			var stored atomic.Int32
			var all sync.WaitGroup
			for i := range 12 {
				all.Go(func() {
					switch _, err := on[i%len(on)].Enroll(t.Context(), by, p, nil); {
					case err == nil:
						stored.Add(1)
					case !errors.Is(err, mfa.ErrInvalid):
						t.Errorf("%s: Enroll = %v", name, err)
					}
				})
			}
			all.Wait()
			page, err := on[0].Factors(t.Context(), by, mfa.ListParams{User: p.User})
			if err != nil || stored.Load() != 2 || len(page.Factors) != 2 {
				t.Errorf("%s: %d of 12 racing enrollments succeeded, and %d factors are stored, %v; want 2", name, stored.Load(), len(page.Factors), err)
			}
		}
	}
}

func TestADeletionCanRequireAnotherFactor(t *testing.T) {
	w := newFixture(t, quickHash)
	strict := configured(t, "delete_requires_challenge", "10m")
	factor := func(user string) (mfa.FactorID, mfa.ChallengeID) {
		e := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: user})
		c := w.challenge(e.ID)
		w.mustVerify(c.ID, c.Code.Reveal(), true)
		return e.ID, c.ID
	}
	first, ofFirst := factor("ada")
	second, ofSecond := factor("ada")
	third, _ := factor("ada")
	_, ofGrace := factor("grace")
	_, ofNobody := factor("")
	open := w.challenge(second)
	remove := func(id mfa.FactorID, proof mfa.ChallengeID) error {
		return w.DeleteFactorWith(t.Context(), strict, id, proof)
	}
	wantInvalid(t, remove(first, mfa.ChallengeID{}), "authentication_challenge_id", "required")
	for name, proof := range map[string]mfa.ChallengeID{
		"of the factor itself": ofFirst, "of another user": ofGrace, "of a factor without a user": ofNobody, "that is open": open.ID, "that never existed": {7},
	} {
		t.Log(name)
		wantInvalid(t, remove(first, proof), "authentication_challenge_id", "not_acceptable")
	}
	if err := w.DeleteFactorWith(t.Context(), production, first, ofSecond); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("a deletion by another environment = %v", err)
	}
	w.clock.Advance(10*time.Minute + time.Millisecond)
	wantInvalid(t, remove(first, ofSecond), "authentication_challenge_id", "not_acceptable")
	w.clock.Advance(-time.Millisecond)

	// Of racing deletions with the same proof, one succeeds.
	var deleted atomic.Int32
	var both sync.WaitGroup
	for _, id := range []mfa.FactorID{first, third, first, third} {
		both.Go(func() {
			if remove(id, ofSecond) == nil {
				deleted.Add(1)
			}
		})
	}
	both.Wait()
	if n := deleted.Load(); n != 1 {
		t.Errorf("one challenge allowed %d deletions", n)
	}

	// Recovery codes protect their user before one of them was used.
	set, _ := w.recoveryCodes("ada")
	fresh := w.challenge(second)
	w.mustVerify(fresh.ID, fresh.Code.Reveal(), true)
	wantInvalid(t, remove(set.ID, mfa.ChallengeID{}), "authentication_challenge_id", "required")
	wantInvalid(t, w.DeleteRecoveryCodes(t.Context(), strict, "ada", mfa.ChallengeID{}), "authentication_challenge_id", "required")
	wantInvalid(t, w.DeleteRecoveryCodes(t.Context(), strict, "ada", ofGrace), "authentication_challenge_id", "not_acceptable")
	if err := w.DeleteRecoveryCodes(t.Context(), strict, "ada", fresh.ID); err != nil {
		t.Errorf("DeleteRecoveryCodes with a proof = %v", err)
	}

	unverified := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
	if err := remove(unverified, mfa.ChallengeID{}); err != nil {
		t.Errorf("deleting an unverified factor = %v", err)
	}
	if err := w.DeleteFactor(t.Context(), strict, second); err != nil { // as an operator does
		t.Error(err)
	}
}
