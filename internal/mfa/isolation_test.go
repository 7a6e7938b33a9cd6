package mfa_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// Rows of another environment get the same answers as rows that never existed.
func TestEnvironmentsDoNotSeeEachOther(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	for _, typ := range []mfa.FactorType{mfa.TOTP, mfa.SMS, mfa.GenericOTP} {
		f := w.enroll(mfa.EnrollParams{Type: typ, User: "ada", PhoneNumber: adasPhone}).ID
		c := w.challenge(f)
		before := w.events(f.Bucket())
		sent := w.carrier.Sent()

		ops := map[string]func(context.Context, mfa.Caller, mfa.FactorID, mfa.ChallengeID) error{
			"Factor": func(ctx context.Context, env mfa.Caller, f mfa.FactorID, _ mfa.ChallengeID) error {
				_, err := w.Factor(ctx, env, f)
				return err
			},
			"DeleteFactor": func(ctx context.Context, env mfa.Caller, f mfa.FactorID, _ mfa.ChallengeID) error {
				return w.DeleteFactor(ctx, env, f)
			},
			"Challenge": func(ctx context.Context, env mfa.Caller, f mfa.FactorID, _ mfa.ChallengeID) error {
				_, err := w.Challenge(ctx, env, f, mfa.ChallengeParams{}, nil)
				return err
			},
			"Verify": func(ctx context.Context, env mfa.Caller, _ mfa.FactorID, c mfa.ChallengeID) error {
				_, err := w.Verify(ctx, env, c, mfa.VerifyParams{Code: c.String()}, nil)
				return err
			},
		}
		for name, op := range ops {
			t.Run(string(typ)+" "+name, func(t *testing.T) {
				noFactor, noChallenge := mfa.FactorID{0: 1, 15: 7}, mfa.ChallengeID{0: 1, 15: 7}
				want := func(f mfa.FactorID, c mfa.ChallengeID) error {
					if name == "Verify" {
						return &mfa.NotFoundError{Entity: mfa.EntityChallenge, ID: c.String()}
					}
					return &mfa.NotFoundError{Entity: mfa.EntityFactor, ID: f.String()}
				}
				if err := op(t.Context(), sandbox, noFactor, noChallenge); !reflect.DeepEqual(err, want(noFactor, noChallenge)) {
					t.Errorf("of what never was: %#v; want %#v", err, want(noFactor, noChallenge))
				}
				if err := op(t.Context(), production, f, c.ID); !reflect.DeepEqual(err, want(f, c.ID)) {
					t.Errorf("of another environment: %#v; want %#v", err, want(f, c.ID))
				}
			})
		}
		if after := w.events(f.Bucket()); len(after) != len(before) {
			t.Errorf("a foreign environment left %+v", after[len(before):])
		}
		if w.attempts(c.ID) != 0 || w.stored(f).Failures != 0 || w.carrier.Sent() != sent {
			t.Error("a foreign environment was counted, or sent a message")
		}
	}
}

func TestListOfAnotherEnvironmentIsEmpty(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	page, err := w.Factors(t.Context(), production, mfa.ListParams{User: "ada"})
	if err != nil || len(page.Factors) != 0 {
		t.Errorf("Factors = %+v, %v; want none", page, err)
	}
	page, err = w.Factors(t.Context(), sandbox, mfa.ListParams{User: "ada"})
	if err != nil || len(page.Factors) != 1 || page.Factors[0].ID != f.ID {
		t.Errorf("Factors = %+v, %v; want the user's own", page, err)
	}
}

func TestFailuresOfOneEnvironmentAreNotThoseOfAnother(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	for _, env := range []mfa.Caller{sandbox, production} {
		f, err := w.Enroll(t.Context(), env, mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := w.Challenge(t.Context(), env, f.ID, mfa.ChallengeParams{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := w.Verify(t.Context(), env, c.ID, mfa.VerifyParams{Code: wrong}, nil); err != nil {
				t.Fatal(err)
			}
		}
		key := mfa.UserKey{Environment: env.ID, ID: "ada"}
		if u := w.rows(mfa.Read{Bucket: key.Bucket(), User: key}).User; u == nil || u.Failures != 3 {
			t.Errorf("failures in %s are %+v; want 3", env.Name, u)
		}
	}
}
