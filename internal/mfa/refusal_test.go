package mfa_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// writing is a Store that counts the transactions that wrote something.
type writing struct {
	mfa.Store
	commits int
}

func (s *writing) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	wrote := false
	err := s.Store.Update(ctx, r, func(tx *mfa.Tx) error {
		err := fn(tx)
		wrote = len(tx.Writes) > 0
		return err
	})
	if err == nil && wrote {
		s.commits++
	}
	return err
}

func TestEndlessRefusalsLeaveFewEvents(t *testing.T) {
	for _, tc := range []struct {
		name   string
		spoil  func(w *fixture, c mfa.IssuedChallenge)
		want   error
		reason string
	}{
		{"expired", func(w *fixture, _ mfa.IssuedChallenge) { w.clock.Advance(10 * time.Minute) }, mfa.ErrExpired, "expired"},
		{"verified", func(w *fixture, c mfa.IssuedChallenge) { w.mustVerify(c.ID, c.Code.Reveal(), true) }, mfa.ErrAlreadyVerified, "previously_verified"},
		{"tried too often", func(w *fixture, c mfa.IssuedChallenge) {
			for range 5 {
				w.mustVerify(c.ID, wrong, false)
			}
		}, mfa.ErrTooManyAttempts, "too_many_attempts"},
		{"locked factor", func(w *fixture, c mfa.IssuedChallenge) {
			for range 6 {
				w.fail(c.Factor)
			}
		}, mfa.ErrTooManyAttempts, "too_many_attempts"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			c := w.challenge(w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID)
			tc.spoil(w, c)
			store := &writing{Store: w.store}
			s := w.serviceOver(store, mfa.Options{})
			tries := w.attempts(c.ID)
			left := func() (refused []mfa.Event) {
				for _, e := range w.events(c.ID.Bucket()) {
					if e.Type == mfa.ChallengeRefused {
						refused = append(refused, e)
					}
				}
				return refused
			}
			for n := range 2000 {
				if _, err := s.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: wrong}, nil); !errors.Is(err, tc.want) {
					t.Fatalf("Verify = %v; want %v", err, tc.want)
				}
				if n == 0 && len(left()) != 1 {
					t.Fatalf("the first refusal left %d events; want 1", len(left()))
				}
			}
			// About 11 events: each doubles the number of refusals.
			if n := len(left()); n < 5 || n > 30 || n != store.commits {
				t.Errorf("2,000 refusals left %d events in %d commits", n, store.commits)
			}
			for _, e := range left() {
				if e.Reason != tc.reason || e.Challenge != c.ID {
					t.Errorf("event is %+v", e)
				}
			}
			if got := w.attempts(c.ID); got != tries {
				t.Errorf("%d codes count as tried; want %d", got, tries)
			}
		})
	}
}
