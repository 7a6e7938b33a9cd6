package mfa_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

// TestFailuresFollowRacingEnrollment deletes the last factor of a user on one node while
// another node enrolls the next one. The wrong codes still count, in both orders.
func TestFailuresFollowRacingEnrollment(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	w := newFixture(t, mfa.Options{})
	limits := mfa.Options{Limits: mfa.Limits{UserFailures: 1}}
	open := func() *mfa.Service {
		s, err := postgres.Open(t.Context(), url, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return w.serviceOver(s, limits)
	}
	a, b := open(), open()
	user := mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}
	first, err := a.Enroll(t.Context(), sandbox, user, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Challenge(t.Context(), sandbox, first.ID, mfa.ChallengeParams{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := a.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: "wrong"}, nil); err != nil || v.Valid {
		t.Fatalf("Verify = %v, %v", v.Valid, err)
	}
	for range 200 {
		var next mfa.Enrollment
		var deleted, enrolled error
		var both sync.WaitGroup
		both.Go(func() { deleted = a.DeleteFactor(t.Context(), sandbox, first.ID) })
		both.Go(func() { next, enrolled = b.Enroll(t.Context(), sandbox, user, nil) })
		both.Wait()
		if err := errors.Join(deleted, enrolled); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Challenge(t.Context(), sandbox, next.ID, mfa.ChallengeParams{}, nil); !errors.Is(err, mfa.ErrTooManyAttempts) {
			t.Fatalf("Challenge of the new factor = %v; want %v", err, mfa.ErrTooManyAttempts)
		}
		first = next
	}
}
