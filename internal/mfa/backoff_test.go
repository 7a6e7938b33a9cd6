package mfa_test

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// backoffAfter is the wait that each of 49 consecutive failures brings; the
// fiftieth locks for good.
func backoffAfter(failures int) time.Duration {
	table := map[int]time.Duration{
		1: 0, 2: 0, 3: 0, 4: 0, 5: 0,
		6: 30 * time.Second, 7: time.Minute, 8: 2 * time.Minute, 9: 4 * time.Minute,
		10: 8 * time.Minute, 11: 15 * time.Minute, 12: 30 * time.Minute, 13: time.Hour,
	}
	if wait, ok := table[failures]; ok {
		return wait
	}
	return time.Hour
}

func TestBackoff(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	for n := 1; n < 50; n++ {
		w.fail(f)
		wait := backoffAfter(n)
		if wait == 0 {
			continue
		}
		c := w.challenge(f)
		_, err := w.verify(c.ID, c.Code.Reveal())
		if got := waitIn(t, err, mfa.ErrTooManyAttempts); got != wait {
			t.Fatalf("after %d failures the wait is %v; want %v", n, got, wait)
		}
		w.clock.Advance(wait - time.Millisecond)
		c = w.challenge(f)
		_, err = w.verify(c.ID, c.Code.Reveal())
		if got := waitIn(t, err, mfa.ErrTooManyAttempts); got != time.Millisecond {
			t.Fatalf("after %d failures, in the last millisecond, the wait is %v", n, got)
		}
		w.clock.Advance(time.Millisecond)
	}
	c, last := w.challenge(f), w.challenge(f)
	w.mustVerify(c.ID, wrong, false)

	t.Run("the fiftieth failure locks for good", func(t *testing.T) {
		_, err := w.verify(last.ID, last.Code.Reveal())
		if wait := waitIn(t, err, mfa.ErrTooManyAttempts); wait != 0 {
			t.Errorf("wait is %v; want 0, as waiting does not help", wait)
		}
		w.clock.Advance(100 * 24 * time.Hour)
		_, err = w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil)
		if wait := waitIn(t, err, mfa.ErrTooManyAttempts); wait != 0 {
			t.Errorf("Challenge: wait is %v; want 0", wait)
		}
	})
	t.Run("an operator lifts it", func(t *testing.T) {
		if err := w.unlockFactor(f); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			w.fail(f)
		}
		c := w.challenge(f)
		w.mustVerify(c.ID, c.Code.Reveal(), true)
	})
}

func TestUnlockFactorEndsAWait(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	for range 6 {
		w.fail(f)
	}
	if err := w.unlockFactor(f); err != nil {
		t.Fatal(err)
	}
	c := w.challenge(f)
	w.mustVerify(c.ID, c.Code.Reveal(), true)

	if err := w.unlockFactor(f); !errors.Is(err, mfa.ErrNotLocked) {
		t.Errorf("UnlockFactor of a factor that is not locked = %v; want %v", err, mfa.ErrNotLocked)
	}
	if err := w.unlockFactor(mfa.FactorID{0: 1}); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("UnlockFactor of an unknown factor = %v; want %v", err, mfa.ErrNotFound)
	}
}

func TestUserStop(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	enroll := func(user string) mfa.FactorID {
		return w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: user}).ID
	}
	factors := []mfa.FactorID{enroll("ada"), enroll("ada"), enroll("ada")}
	graces := enroll("grace")
	for n := range 100 {
		w.fail(factors[n%3])
		w.clock.Advance(time.Hour)
	}
	refused := func(f mfa.FactorID) bool {
		_, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil)
		return err != nil && waitIn(t, err, mfa.ErrTooManyAttempts) == 0
	}
	for i, f := range append(factors, enroll("ada")) {
		if !refused(f) {
			t.Errorf("factor %d can be challenged after the user's 100 failures", i)
		}
	}
	if refused(graces) {
		t.Error("another user is locked as well")
	}
	elsewhere, err := w.Enroll(t.Context(), production, mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Challenge(t.Context(), production, elsewhere.ID, mfa.ChallengeParams{}, nil); err != nil {
		t.Errorf("Challenge of the same user id in another environment = %v", err)
	}

	if err := w.unlockUser(sandbox, "ada"); err != nil {
		t.Fatal(err)
	}
	if err := w.unlockUser(sandbox, "ada"); !errors.Is(err, mfa.ErrNotLocked) {
		t.Errorf("UnlockUser of a user that is not locked = %v; want %v", err, mfa.ErrNotLocked)
	}
	if err := w.unlockUser(sandbox, "adaa"); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("UnlockUser of an unknown user = %v; want %v", err, mfa.ErrNotFound)
	}
	c := w.challenge(factors[0])
	w.mustVerify(c.ID, c.Code.Reveal(), true)
	if w.stored(factors[1]).Failures != 33 {
		t.Errorf("unlocking the user left factor 1 with %d failures; want its own 33", w.stored(factors[1]).Failures)
	}
}

func TestSuccessResetsFactorAndUser(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"})
	other := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"})
	for range 3 {
		w.fail(f.ID)
		w.fail(other.ID)
	}
	failures := func() (factor, user int) {
		rows := w.rows(mfa.Read{Bucket: f.ID.Bucket(), Factor: f.ID})
		if rows.User != nil {
			user = rows.User.Failures
		}
		return rows.Factor.Failures, user
	}

	c := w.challenge(f.ID)
	if factor, user := failures(); factor != 3 || user != 6 {
		t.Errorf("after a new challenge the counts are %d, %d; want 3, 6: it resets nothing", factor, user)
	}
	w.mustVerify(c.ID, c.Code.Reveal(), true)
	if factor, user := failures(); factor != 0 || user != 0 {
		t.Errorf("after a success the counts are %d, %d; want 0, 0", factor, user)
	}
	if n := w.stored(other.ID).Failures; n != 3 {
		t.Errorf("the other factor has %d failures; want its own 3", n)
	}
}

func TestRefusedAttemptsCountNothing(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
	for range 6 {
		w.fail(f)
	}
	c := w.challenge(f)
	seen := len(w.events(f.Bucket()))
	for range 10 {
		if _, err := w.verify(c.ID, wrong); !errors.Is(err, mfa.ErrTooManyAttempts) {
			t.Fatalf("Verify = %v; want %v", err, mfa.ErrTooManyAttempts)
		}
	}
	rows := w.rows(mfa.Read{Bucket: f.Bucket(), Challenge: c.ID})
	if rows.Challenge.Attempts != 0 || rows.Factor.Failures != 6 || rows.User.Failures != 6 {
		t.Errorf("refusals were counted: %d attempts, %d and %d failures; want 0, 6 and 6",
			rows.Challenge.Attempts, rows.Factor.Failures, rows.User.Failures)
	}
	events := w.events(f.Bucket())[seen:]
	if len(events) < 2 || len(events) > 10 {
		t.Fatalf("10 refusals left %d events; want the first two, and some of the others", len(events))
	}
	for _, e := range events {
		if e.Type != mfa.ChallengeRefused || e.Reason != "too_many_attempts" || e.Challenge != c.ID {
			t.Errorf("event is %+v", e)
		}
	}
}

func TestOtherFactorsStayUsableWhileOneIsLocked(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	guessed := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
	app := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	for n := range 50 {
		w.fail(guessed)
		w.clock.Advance(backoffAfter(n + 1))
	}
	w.mustVerify(w.challenge(app.ID).ID, w.app(app, 0), true)
	if f := w.stored(guessed); f.Failures != 50 {
		t.Errorf("the guessed factor has %d failures; want 50: another's success does not unlock it", f.Failures)
	}
}
