package mfa_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
)

func TestTOTPWindow(t *testing.T) {
	none, two := 0, 2
	for _, tc := range []struct {
		name   string
		window *int
		steps  map[int64]bool
	}{
		{"default", nil, map[int64]bool{-3: false, -2: false, -1: true, 0: true, 1: true, 2: false, 3: false}},
		{"none", &none, map[int64]bool{-1: false, 0: true, 1: false}},
		{"two", &two, map[int64]bool{-3: false, -2: true, -1: true, 0: true, 1: true, 2: true, 3: false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{TOTPWindow: tc.window})
			for steps, valid := range tc.steps {
				e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
				v, err := w.verify(w.challenge(e.ID).ID, w.app(e, steps))
				if err != nil || v.Valid != valid {
					t.Errorf("a code %d steps away: %v, %v; want %v", steps, v.Valid, err, valid)
				}
			}
		})
	}
}

func TestTOTPCodeLivesAsLongAsItsWindow(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	w.clock.Advance(w.clock.Now().Truncate(30 * time.Second).Add(30 * time.Second).Sub(w.clock.Now()))
	for _, tc := range []struct {
		name  string
		after time.Duration // since the step began
		valid bool
	}{
		{"at its step", 0, true},
		{"in the last millisecond of the next", time.Minute - time.Millisecond, true},
		{"after the next", time.Minute, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
			code := w.app(e, 0)
			w.clock.Advance(tc.after)
			w.mustVerify(w.challenge(e.ID).ID, code, tc.valid)
			w.clock.Advance(time.Minute - tc.after)
		})
	}
}

func TestTOTPStepIsSpentOnce(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
	early, open := w.challenge(e.ID), w.challenge(e.ID)
	previous, current, next := w.app(e, -1), w.app(e, 0), w.app(e, 1)
	w.mustVerify(early.ID, current, true)

	w.mustVerify(open.ID, current, false)  // the same code, of a challenge that was open all along
	w.mustVerify(open.ID, previous, false) // an older step
	for _, ev := range w.events(e.ID.Bucket())[4:] {
		if ev.Type != mfa.ChallengeFailed || ev.Reason != "spent_code" {
			t.Errorf("event of a spent code is %+v", ev)
		}
	}
	w.mustVerify(open.ID, next, true)
	w.clock.Advance(30 * time.Second)
	w.mustVerify(w.challenge(e.ID).ID, next, false) // its time has come, but it is spent
	w.mustVerify(w.challenge(e.ID).ID, w.app(e, 1), true)
}

func TestTOTPStepIsSpentOnceByRacers(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	code := w.app(e, 0)
	var challenges []mfa.ChallengeID
	for range 64 {
		challenges = append(challenges, w.challenge(e.ID).ID)
	}
	var valid atomic.Int32
	mfatest.Together(64, func(i int) {
		v, err := w.verify(challenges[i], code)
		if err != nil && !errors.Is(err, mfa.ErrTooManyAttempts) {
			t.Errorf("Verify = %v", err)
		}
		if v.Valid {
			valid.Add(1)
		}
	})
	if valid.Load() != 1 {
		t.Errorf("one code was valid %d times", valid.Load())
	}
}

func TestRacersWithTheRightCode(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c := w.challenge(w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID)
	nodes := []*mfa.Service{w.Service, w.serviceOver(w.store, mfa.Options{})}
	var valid, late atomic.Int32
	mfatest.Together(64, func(i int) {
		v, err := nodes[i%2].Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: c.Code.Reveal()}, nil)
		switch {
		case err == nil && v.Valid:
			valid.Add(1)
		case errors.Is(err, mfa.ErrAlreadyVerified):
			late.Add(1)
		default:
			t.Errorf("Verify = %v, %v", v.Valid, err)
		}
	})
	if valid.Load() != 1 || late.Load() != 63 {
		t.Errorf("%d of 64 racers won and %d were late; want 1 and 63", valid.Load(), late.Load())
	}
}

func TestRacersWithWrongCodes(t *testing.T) {
	for _, tc := range []struct {
		name       string
		challenges int
		want       int32 // how many are looked at
	}{
		{"on one challenge", 1, 5},
		{"on many challenges of one factor", 64, 6}, // the sixth brings a wait
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
			var challenges []mfa.ChallengeID
			for range tc.challenges {
				challenges = append(challenges, w.challenge(f).ID)
			}
			var looked atomic.Int32
			mfatest.Together(64, func(i int) {
				switch v, err := w.verify(challenges[i%tc.challenges], wrong); {
				case err == nil && !v.Valid:
					looked.Add(1)
				case !errors.Is(err, mfa.ErrTooManyAttempts):
					t.Errorf("Verify = %v, %v", v.Valid, err)
				}
			})
			if looked.Load() != tc.want {
				t.Errorf("%d guesses were looked at; want %d", looked.Load(), tc.want)
			}
			if n := w.stored(f).Failures; n != int(tc.want) {
				t.Errorf("%d failures were counted; want %d", n, tc.want)
			}
		})
	}
}

func TestRacersNeverPassTheUsersLimit(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{UserFailures: 10}})
	var challenges []mfa.ChallengeID
	for range 16 {
		f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
		challenges = append(challenges, w.challenge(f).ID)
	}
	var looked atomic.Int32
	mfatest.Together(64, func(i int) {
		if _, err := w.verify(challenges[i%16], wrong); err == nil {
			looked.Add(1)
		}
	})
	if looked.Load() != 10 {
		t.Errorf("%d guesses were looked at over 16 factors; want 10", looked.Load())
	}
}

func TestVerifyTheUnknown(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	deleted := w.challenge(e.ID).ID
	if err := w.DeleteFactor(t.Context(), sandbox, e.ID); err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]mfa.ChallengeID{
		"never made": {0: 1}, "zero": {}, "its factor deleted": deleted,
	} {
		if _, err := w.verify(id, w.app(e, 0)); !errors.Is(err, mfa.ErrNotFound) || !strings.Contains(err.Error(), "Challenge") {
			t.Errorf("Verify of a challenge %s = %v; want %v", name, err, mfa.ErrNotFound)
		}
	}
	if err := w.DeleteFactor(t.Context(), sandbox, e.ID); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("DeleteFactor for the second time = %v; want %v", err, mfa.ErrNotFound)
	}
}

func TestVerificationTellsTheChallengeAsItIsNow(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c := w.challenge(w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID)
	w.clock.Advance(time.Second)
	v := w.mustVerify(c.ID, wrong, false)
	if got := v.Challenge.Challenge; got.Attempts != 1 || got.UpdatedAt != w.clock.Now() || got.CreatedAt != c.CreatedAt || !got.VerifiedAt.IsZero() {
		t.Errorf("challenge is %+v", got)
	}
	w.clock.Advance(time.Second)
	v = w.mustVerify(c.ID, c.Code.Reveal(), true)
	if got := v.Challenge.Challenge; got.Attempts != 2 || got.VerifiedAt != w.clock.Now() {
		t.Errorf("challenge is %+v", got)
	}
}
