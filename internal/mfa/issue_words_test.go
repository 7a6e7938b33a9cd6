package mfa_test

import (
	"errors"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestUnknownVerificationOfTheUserIsRefusedForEveryKind(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	for _, typ := range []mfa.FactorType{mfa.GenericOTP, mfa.TOTP, mfa.WebAuthn} {
		f := w.enroll(mfa.EnrollParams{Type: typ, User: "ada"})
		for word, want := range map[string]bool{"always": false, "": true, "preferred": true} {
			_, err := w.Challenge(t.Context(), sandbox, f.ID, mfa.ChallengeParams{Passkey: mfa.PasskeyParams{UserVerification: word}}, nil)
			if want && err != nil || !want && !errors.Is(err, mfa.ErrInvalid) {
				t.Errorf("%s with %q: %v", typ, word, err)
			}
		}
	}
}
