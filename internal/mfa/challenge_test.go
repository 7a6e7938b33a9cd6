package mfa_test

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestAttempt(t *testing.T) {
	const limit = 5
	expiry := time.Date(2026, 3, 27, 12, 10, 0, 0, time.UTC)
	before := expiry.Add(-time.Minute)
	for _, tc := range []struct {
		name string
		c    mfa.Challenge
		at   time.Time
		want error
	}{
		{"fresh", mfa.Challenge{}, before, nil},
		{"last instant", mfa.Challenge{}, expiry.Add(-1), nil},
		{"at expiry", mfa.Challenge{}, expiry, mfa.ErrExpired},
		{"long after", mfa.Challenge{}, expiry.Add(time.Hour), mfa.ErrExpired},
		{"last attempt", mfa.Challenge{ChallengeState: mfa.ChallengeState{Attempts: limit - 1}}, before, nil},
		{"one more", mfa.Challenge{ChallengeState: mfa.ChallengeState{Attempts: limit}}, before, mfa.ErrTooManyAttempts},
		{"more than allowed, after the limit was lowered", mfa.Challenge{ChallengeState: mfa.ChallengeState{Attempts: limit + 3}}, before, mfa.ErrTooManyAttempts},
		{"verified", mfa.Challenge{ChallengeState: mfa.ChallengeState{VerifiedAt: before}}, before, mfa.ErrAlreadyVerified},
		{"verified and expired", mfa.Challenge{ChallengeState: mfa.ChallengeState{VerifiedAt: before}}, expiry, mfa.ErrAlreadyVerified},
		{"verified at the last attempt", mfa.Challenge{ChallengeState: mfa.ChallengeState{Attempts: limit, VerifiedAt: before}}, before, mfa.ErrAlreadyVerified},
		{"expired and used up", mfa.Challenge{ChallengeState: mfa.ChallengeState{Attempts: limit}}, expiry, mfa.ErrExpired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, right := range []bool{true, false} {
				c := tc.c
				c.ExpiresAt, c.SealedCode = expiry, []byte("sealed")
				if err := c.Attempt(right, limit, tc.at); !errors.Is(err, tc.want) {
					t.Fatalf("Attempt(%v) = %v; want %v", right, err, tc.want)
				}
				switch {
				case tc.want != nil:
					if c.Attempts != tc.c.Attempts || c.VerifiedAt != tc.c.VerifiedAt || c.SealedCode == nil || !c.UpdatedAt.IsZero() {
						t.Errorf("a refused attempt changed the challenge to %+v", c)
					}
				case c.Attempts != tc.c.Attempts+1 || c.UpdatedAt != tc.at:
					t.Errorf("attempts are %d, updated at %v; want %d, %v", c.Attempts, c.UpdatedAt, tc.c.Attempts+1, tc.at)
				case right != !c.VerifiedAt.IsZero():
					t.Errorf("Attempt(%v): verified at %v", right, c.VerifiedAt)
				}
			}
		})
	}
}

func TestCodeIsForgottenWhenItCanBeUsedNoMore(t *testing.T) {
	now := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name     string
		right    bool
		attempts int
		kept     bool
	}{
		{"wrong, with attempts left", false, 0, true},
		{"wrong, the last attempt", false, 4, false},
		{"right", true, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := mfa.Challenge{ExpiresAt: now.Add(1), ChallengeState: mfa.ChallengeState{Attempts: tc.attempts, SealedCode: []byte("sealed")}}
			if err := c.Attempt(tc.right, 5, now); err != nil {
				t.Fatal(err)
			}
			if kept := c.SealedCode != nil; kept != tc.kept {
				t.Errorf("code kept: %v; want %v", kept, tc.kept)
			}
		})
	}
}

func TestRefusalTellsWhichChallenge(t *testing.T) {
	c := mfa.Challenge{ID: mfa.ChallengeID{1: 7}}
	err := c.Attempt(true, 5, time.Unix(1, 0))
	refused, ok := errors.AsType[*mfa.ChallengeError](err)
	if !ok || refused.ID != c.ID {
		t.Errorf("Attempt = %#v; want a ChallengeError with the id", err)
	}
}

// If there are several reasons for a refusal, the caller gets the most important one. Each
// case adds a reason that is more important than the previous ones.
func TestOrderOfRefusals(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{UserFailures: 20}})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"})
	other := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"})
	for range 13 {
		w.fail(other.ID)
		w.clock.Advance(time.Hour)
	}
	used, spare, open := w.challenge(f.ID), w.challenge(f.ID), w.challenge(f.ID)
	for range 5 {
		w.mustVerify(used.ID, wrong, false)
	}
	w.fail(f.ID) // the sixth failure locks f; the user has 19

	t.Run("factor locked", func(t *testing.T) {
		_, err := w.verify(open.ID, open.Code.Reveal())
		if wait := waitIn(t, err, mfa.ErrTooManyAttempts); wait != 30*time.Second {
			t.Errorf("wait is %v; want 30s", wait)
		}
	})
	t.Run("user locked", func(t *testing.T) {
		w.clock.Advance(30 * time.Second)
		w.mustVerify(spare.ID, wrong, false) // the twentieth
		w.clock.Advance(time.Minute)
		_, err := w.verify(open.ID, open.Code.Reveal())
		if wait := waitIn(t, err, mfa.ErrTooManyAttempts); wait != 0 {
			t.Errorf("wait is %v; want 0, as waiting does not help", wait)
		}
	})
	t.Run("attempts used up", func(t *testing.T) {
		if err := w.unlockUser(sandbox, "ada"); err != nil {
			t.Fatal(err)
		}
		w.fail(f.ID) // locks f again
		_, err := w.verify(used.ID, used.Code.Reveal())
		if wait := waitIn(t, err, mfa.ErrTooManyAttempts); wait != 0 {
			t.Errorf("wait is %v; want 0: the challenge is lost, whatever the factor's lock", wait)
		}
	})
	t.Run("expired", func(t *testing.T) {
		w.clock.Advance(10 * time.Minute)
		if _, err := w.verify(used.ID, used.Code.Reveal()); !errors.Is(err, mfa.ErrExpired) {
			t.Errorf("Verify = %v; want %v", err, mfa.ErrExpired)
		}
	})
	t.Run("verified", func(t *testing.T) {
		c := w.challenge(f.ID)
		w.mustVerify(c.ID, c.Code.Reveal(), true)
		w.clock.Advance(time.Hour)
		if _, err := w.verify(c.ID, c.Code.Reveal()); !errors.Is(err, mfa.ErrAlreadyVerified) {
			t.Errorf("Verify = %v; want %v", err, mfa.ErrAlreadyVerified)
		}
	})
}
