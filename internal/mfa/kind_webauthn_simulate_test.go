package mfa_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
)

// simulate returns the answer of the software authenticator to a new challenge.
func (w *fixture) simulate(id mfa.FactorID, p mfa.PasskeyParams) (mfa.IssuedChallenge, string) {
	w.t.Helper()
	c, err := w.Challenge(w.t.Context(), sandbox, id, mfa.ChallengeParams{Passkey: p}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	response, err := w.Simulate(w.t.Context(), sandbox, c.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return c, string(response)
}

func TestSimulatedAuthenticatorRegistersAndSignsIn(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	id := w.pending("user_42").ID
	for i, tc := range []struct {
		verification string
		verified     bool
	}{{"", true}, {"required", true}, {"preferred", true}, {"discouraged", false}, {"", true}} {
		c, response := w.simulate(id, mfa.PasskeyParams{Origin: page, UserVerification: tc.verification})
		v := w.mustVerify(c.ID, response, true)
		if v.Passkey.UserVerified != tc.verified || v.Passkey.BackupEligible || v.Passkey.SignCount != 0 {
			t.Errorf("use %d with user verification %q is %+v", i, tc.verification, v.Passkey)
		}
	}
	c, response := w.simulate(id, mfa.PasskeyParams{})
	if !strings.Contains(response, `"rawId"`) {
		t.Errorf("the response is %s", response)
	}
	again, err := w.Simulate(t.Context(), sandbox, c.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.mustVerify(c.ID, string(again), true)
}

func TestSimulatedAuthenticatorIsTheSameOnEveryNodeAndAfterARotation(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	id := w.pending("user_42").ID
	c, response := w.simulate(id, mfa.PasskeyParams{})
	w.mustVerify(c.ID, response, true)
	for range 2 {
		var err error
		if w.keys, err = w.keys.Rotate(); err != nil {
			t.Fatal(err)
		}
		w.SetKeys(w.keys)
		other := w.serviceOver(w.store, mfa.Options{})
		c := w.challenge(id)
		response, err := other.Simulate(t.Context(), sandbox, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		w.mustVerify(c.ID, string(response), true)
	}
}

func TestSimulatedAuthenticatorHasAKeyForEachFactor(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	one, two := w.pending("user_42").ID, w.pending("user_42").ID
	for _, id := range []mfa.FactorID{one, two} {
		c, response := w.simulate(id, mfa.PasskeyParams{})
		w.mustVerify(c.ID, response, true)
	}
	_, ofOne := w.simulate(one, mfa.PasskeyParams{})
	c, _ := w.simulate(two, mfa.PasskeyParams{})
	w.mustVerify(c.ID, ofOne, false)
}

func TestSimulatedAuthenticatorAnswersOnlyForItself(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	own := w.passkey("user_42")
	c := w.challenge(own.factor)
	if got, err := w.Simulate(t.Context(), sandbox, c.ID); !errors.Is(err, mfa.ErrNotSimulated) {
		t.Errorf("a real passkey is answered %s, %v", got, err)
	}
	w.mustVerify(c.ID, own.answer(c), true)

	// Another challenge asked for a passkey before the real one was registered.
	id := w.pending("user_42").ID
	early, late := w.challenge(id), w.challenge(id)
	key, response := passkeytest.Create(t, []byte(late.Code.Reveal()), page)
	w.mustVerify(late.ID, string(response), true)
	if got, err := w.Simulate(t.Context(), sandbox, early.ID); !errors.Is(err, mfa.ErrNotSimulated) {
		t.Errorf("a factor with the passkey %x is answered %s, %v", key.ID, got, err)
	}
}

func TestChallengesThatAreNotSimulated(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c, response := w.simulate(w.pending("user_42").ID, mfa.PasskeyParams{})
	stranger := sandbox
	stranger.ID++
	for name, tc := range map[string]struct {
		by   mfa.Caller
		want error
	}{
		"production":          {production, mfa.ErrSandboxOnly},
		"another environment": {stranger, mfa.ErrNotFound},
	} {
		if got, err := w.Simulate(t.Context(), tc.by, c.ID); !errors.Is(err, tc.want) {
			t.Errorf("%s: %s, %v; want %v", name, got, err, tc.want)
		}
	}
	generic := w.challenge(w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID)
	if got, err := w.Simulate(t.Context(), sandbox, generic.ID); !errors.Is(err, mfa.ErrInvalid) {
		t.Errorf("a challenge of another kind: %s, %v", got, err)
	}
	w.mustVerify(c.ID, response, true)
	if got, err := w.Simulate(t.Context(), sandbox, c.ID); !errors.Is(err, mfa.ErrAlreadyVerified) {
		t.Errorf("a verified challenge: %s, %v", got, err)
	}
	c, _ = w.simulate(c.Factor, mfa.PasskeyParams{})
	w.clock.Advance(10 * time.Minute)
	if got, err := w.Simulate(t.Context(), sandbox, c.ID); !errors.Is(err, mfa.ErrExpired) {
		t.Errorf("an expired challenge: %s, %v", got, err)
	}
}
