package mfa_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
)

const page = "http://localhost:3000"

// A keyring is a factor and the passkey that a browser registered for it.
type keyring struct {
	w      *fixture
	factor mfa.FactorID
	key    *passkeytest.Passkey
}

// pending enrolls a webauthn factor without a passkey.
func (w *fixture) pending(user string) mfa.Enrollment {
	w.t.Helper()
	return w.enroll(mfa.EnrollParams{Type: mfa.WebAuthn, User: user, PasskeyUser: "ada@example.com"})
}

// passkey enrolls a webauthn factor and registers a passkey for it.
func (w *fixture) passkey(user string, change ...func(*passkeytest.Answer)) *keyring {
	w.t.Helper()
	e := w.pending(user)
	c := w.challenge(e.ID)
	key, response := passkeytest.Create(w.t, []byte(c.Code.Reveal()), page, change...)
	w.mustVerify(c.ID, string(response), true)
	return &keyring{w, e.ID, key}
}

// answer returns the response of the passkey to a challenge.
func (k *keyring) answer(c mfa.IssuedChallenge, change ...func(*passkeytest.Answer)) string {
	return string(k.key.Get(k.w.t, []byte(c.Code.Reveal()), change...))
}

// try answers a new challenge.
func (k *keyring) try(valid bool, change ...func(*passkeytest.Answer)) mfa.Verification {
	k.w.t.Helper()
	c := k.w.challenge(k.factor)
	return k.w.mustVerify(c.ID, k.answer(c, change...), valid)
}

// reason returns the reason of the newest failure of a factor.
func (w *fixture) reason(id mfa.FactorID) string {
	w.t.Helper()
	all := w.events(id.Bucket())
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Type == mfa.ChallengeFailed && all[i].Factor == id {
			return all[i].Reason
		}
	}
	return ""
}

func (w *fixture) suspicions(id mfa.FactorID) (n int) {
	w.t.Helper()
	for _, e := range w.events(id.Bucket()) {
		if e.Type == mfa.FactorCloneSuspected && e.Factor == id {
			n++
		}
	}
	return n
}

func TestPasskeyIsRegisteredAndUsed(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.pending("user_42")
	if e.Passkey.Site != "localhost" || e.Passkey.User != "ada@example.com" || e.Passkey.Credential != nil {
		t.Errorf("the new factor is %+v", e.Passkey)
	}
	c := w.challenge(e.ID)
	if c.Ceremony != mfa.CeremonyCreate {
		t.Fatalf("the first ceremony is %q", c.Ceremony)
	}
	key, response := passkeytest.Create(t, []byte(c.Code.Reveal()), page)
	v := w.mustVerify(c.ID, string(response), true)
	if v.Passkey == nil || !v.Passkey.UserVerified || v.Passkey.SignCount != 1 || v.Passkey.BackupEligible {
		t.Errorf("the registration is %+v", v.Passkey)
	}
	if v.Challenge.Code.Reveal() != "" {
		t.Error("the reply to the right response repeats the options")
	}
	k := &keyring{w, e.ID, key}
	next := w.challenge(e.ID)
	if next.Ceremony != mfa.CeremonyGet {
		t.Errorf("the second ceremony is %q", next.Ceremony)
	}
	v = w.mustVerify(next.ID, k.answer(next), true)
	if v.Passkey.SignCount != 2 {
		t.Errorf("the use is %+v", v.Passkey)
	}
	f, err := w.Factor(t.Context(), sandbox, e.ID)
	if err != nil || f.Passkey.Credential == nil || f.Passkey.Credential.SignCount != 2 || !f.IsVerified() {
		t.Errorf("Factor = %+v, %v", f.Passkey, err)
	}
	if !mfa.WebAuthn.IsPhishingResistant() || mfa.TOTP.IsPhishingResistant() {
		t.Error("only webauthn factors resist phishing")
	}
}

func TestOptionsOfAChallenge(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	first, other := w.passkey("user_42"), w.passkey("user_42")
	stranger := w.passkey("user_43")
	e := w.pending("user_42")
	type options struct {
		RP               struct{ ID string }
		RPID             string
		User             struct{ ID, Name string }
		Challenge        string
		UserVerification string
		Exclude          []struct{ ID string }                          `json:"excludeCredentials"`
		Allow            []struct{ ID string }                          `json:"allowCredentials"`
		Selection        struct{ ResidentKey, UserVerification string } `json:"authenticatorSelection"`
	}
	read := func(c mfa.IssuedChallenge) (o options) {
		if err := json.Unmarshal([]byte(c.Code.Reveal()), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := read(w.challenge(e.ID))
	if o.RP.ID != "localhost" || o.User.Name != "ada@example.com" || len(o.User.ID) != 43 || len(o.Challenge) != 43 ||
		o.Selection.ResidentKey != "discouraged" || o.Selection.UserVerification != "preferred" || len(o.Exclude) != 2 {
		t.Errorf("the options are %+v", o)
	}
	if again := read(w.challenge(e.ID)); again.Challenge == o.Challenge || again.User.ID != o.User.ID {
		t.Errorf("two challenges have the values %q and %q for the users %q and %q", o.Challenge, again.Challenge, o.User.ID, again.User.ID)
	}
	if string(stranger.key.UserHandle) == string(first.key.UserHandle) || string(other.key.UserHandle) != string(first.key.UserHandle) {
		t.Error("the user handle is not that of the user")
	}
	if o := read(w.challenge(first.factor)); o.RPID != "localhost" || len(o.Allow) != 1 || o.UserVerification != "preferred" {
		t.Errorf("the options are %+v", o)
	}
	c, err := w.Challenge(t.Context(), sandbox, first.factor, mfa.ChallengeParams{Passkey: mfa.PasskeyParams{UserVerification: "required", Origin: page}}, nil)
	if err != nil || read(c).UserVerification != "required" {
		t.Fatalf("Challenge = %v, %v", c.Code.Reveal(), err)
	}
	for _, p := range []mfa.PasskeyParams{{UserVerification: "always"}, {Origin: "https://evil.example"}, {Origin: "http://localhost.evil.example"}} {
		if _, err := w.Challenge(t.Context(), sandbox, first.factor, mfa.ChallengeParams{Passkey: p}, nil); !errors.Is(err, mfa.ErrInvalid) {
			t.Errorf("Challenge(%+v) = %v", p, err)
		}
	}
}

func TestChallengeAndItsRepetitionsShowTheSameOptions(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	k := w.passkey("user_42")
	for _, factor := range []mfa.FactorID{k.factor, w.pending("user_42").ID} {
		c, err := w.Challenge(t.Context(), sandbox, factor, mfa.ChallengeParams{}, onceKey[mfa.IssuedChallenge](factor.String(), "the request"))
		if err != nil {
			t.Fatal(err)
		}
		w.passkey("user_42") // would be excluded now
		found, err := w.FindChallenge(t.Context(), sandbox, c.ID)
		if err != nil || found.Code.Reveal() != c.Code.Reveal() || found.Ceremony != c.Ceremony {
			t.Errorf("FindChallenge = %q, %v; want %q", found.Code.Reveal(), err, c.Code.Reveal())
		}
		again, err := w.Challenge(t.Context(), sandbox, factor, mfa.ChallengeParams{}, onceKey[mfa.IssuedChallenge](factor.String(), "the request"))
		if err != nil || again.Replayed == nil {
			t.Fatalf("the repeated request = %+v, %v", again, err)
		}
	}
	c := w.challenge(k.factor)
	w.clock.Advance(10 * time.Minute)
	if found, err := w.FindChallenge(t.Context(), sandbox, c.ID); err != nil || found.Code.Reveal() != "" {
		t.Errorf("an expired challenge shows %q, %v", found.Code.Reveal(), err)
	}
}

func TestWrongResponsesOfPasskeysAreCountedAndExplained(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	k, second, eve := w.passkey("user_42"), w.passkey("user_42"), w.passkey("eve")
	for _, tc := range []struct {
		reason string
		change func(*passkeytest.Answer)
	}{
		{"wrong_ceremony", func(a *passkeytest.Answer) { a.ClientData["type"] = "webauthn.create" }},
		{"wrong_challenge", func(a *passkeytest.Answer) { a.ClientData["challenge"] = strings.Repeat("A", 43) }},
		{"wrong_origin", func(a *passkeytest.Answer) { a.ClientData["origin"] = "https://evil.example" }},
		{"wrong_origin", func(a *passkeytest.Answer) { a.ClientData["origin"] = "http://localhost:3000.evil.example" }},
		{"cross_origin", func(a *passkeytest.Answer) { a.ClientData["crossOrigin"] = true }},
		{"wrong_rp_id", func(a *passkeytest.Answer) { a.RPID = "evil.example" }},
		{"user_not_present", func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserPresent }},
		{"backup_eligibility_changed", func(a *passkeytest.Answer) { a.Flags |= passkeytest.BackupEligible }},
		{"backup_eligibility_changed", func(a *passkeytest.Answer) { a.Flags |= passkeytest.BackedUp }},
		{"wrong_user", func(a *passkeytest.Answer) { a.UserHandle = eve.key.UserHandle }},
		{"wrong_signature", func(a *passkeytest.Answer) { a.Signature = func(s []byte) []byte { s[len(s)-1] ^= 1; return s } }},
		{"unknown_credential", func(a *passkeytest.Answer) { a.ID = []byte("another one 1234") }},
	} {
		w.clock.Advance(time.Hour)
		c := w.challenge(k.factor)
		v := w.mustVerify(c.ID, k.answer(c, tc.change), false)
		if got := w.reason(k.factor); got != tc.reason || v.Passkey != nil || w.attempts(c.ID) != 1 {
			t.Errorf("the reason is %q after %d attempts; want %q", got, w.attempts(c.ID), tc.reason)
		}
		w.clock.Advance(time.Hour)
		k.try(true) // forgets the wrong response
	}
	for name, text := range map[string]string{
		"empty": "", "a code": "123456", "half of it": `{"id":`, "an array": "[]", "another object": `{"id":"AA"}`, "deep": strings.Repeat("[", 2000),
		"large": `{"id":"` + strings.Repeat("A", 70_000) + `"}`,
	} {
		for _, factor := range []mfa.FactorID{k.factor, w.pending("user_42").ID} {
			w.clock.Advance(time.Hour)
			w.mustVerify(w.challenge(factor).ID, text, false)
			if got := w.reason(factor); got != "unreadable_response" {
				t.Errorf("%s: the reason is %q", name, got)
			}
		}
		w.clock.Advance(time.Hour)
		k.try(true)
	}
	for _, other := range []*keyring{second, eve} {
		w.clock.Advance(time.Hour)
		c := w.challenge(k.factor)
		v := w.mustVerify(c.ID, other.answer(c), false)
		if v.Unknown != nil || w.reason(k.factor) != "unknown_credential" {
			t.Errorf("a credential of another factor: %+v, %q", v.Unknown, w.reason(k.factor))
		}
		w.clock.Advance(time.Hour)
		k.try(true)
	}
	v := k.try(false, func(a *passkeytest.Answer) { a.ID = []byte("a deleted credential") })
	if v.Unknown == nil || v.Unknown.Site != "localhost" || string(v.Unknown.ID) != "a deleted credential" {
		t.Errorf("the signal is %+v", v.Unknown)
	}
	if w.suspicions(k.factor) != 0 {
		t.Error("a clone is suspected")
	}
}

func TestUserMustBeVerifiedIfTheChallengeSaysSo(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	k := w.passkey("user_42")
	unverified := func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserVerified }
	if v := k.try(true, unverified); v.Passkey.UserVerified {
		t.Error("the user counts as verified")
	}
	for _, factor := range []mfa.FactorID{k.factor, w.pending("user_42").ID} {
		c, err := w.Challenge(t.Context(), sandbox, factor, mfa.ChallengeParams{Passkey: mfa.PasskeyParams{UserVerification: "required"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var response []byte
		if c.Ceremony == mfa.CeremonyCreate {
			_, response = passkeytest.Create(t, []byte(c.Code.Reveal()), page, unverified)
		} else {
			response = k.key.Get(t, []byte(c.Code.Reveal()), unverified)
		}
		w.mustVerify(c.ID, string(response), false)
		if got := w.reason(factor); got != "user_not_verified" {
			t.Errorf("the reason is %q", got)
		}
	}
}

func TestOnlyTheOriginOfTheChallengeIsAccepted(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	k := w.passkey("user_42")
	for origin, valid := range map[string]bool{page: true, "http://localhost:3001": false} {
		c, err := w.Challenge(t.Context(), sandbox, k.factor, mfa.ChallengeParams{Passkey: mfa.PasskeyParams{Origin: page}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.mustVerify(c.ID, k.answer(c, func(a *passkeytest.Answer) { a.ClientData["origin"] = origin }), valid)
	}
}

func TestFallingCounterOfAPasskey(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	fallen := func(a *passkeytest.Answer) { a.Counter = 1 }
	bound := w.passkey("user_42")
	bound.try(true)
	if v := bound.try(false, fallen); v.Passkey != nil || w.reason(bound.factor) != "clone_suspected" || w.suspicions(bound.factor) != 1 {
		t.Errorf("device-bound: %+v, %q, %d events", v.Passkey, w.reason(bound.factor), w.suspicions(bound.factor))
	}
	synced := w.passkey("user_42", func(a *passkeytest.Answer) { a.Flags |= passkeytest.BackupEligible })
	synced.key.Flags |= passkeytest.BackupEligible
	synced.try(true)
	if v := synced.try(true, fallen); v.Passkey.SignCount != 2 || w.suspicions(synced.factor) != 1 {
		t.Errorf("synced: %+v, %d events", v.Passkey, w.suspicions(synced.factor))
	}
	if v := synced.try(true, func(a *passkeytest.Answer) { a.Flags |= passkeytest.BackedUp }); !v.Passkey.BackedUp {
		t.Error("the backup state is not stored")
	}
}

func TestCredentialIsRegisteredOncePerUser(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	k := w.passkey("user_42")
	sameID := func(a *passkeytest.Answer) { a.ID, a.KeyID = k.key.ID, k.key.ID }
	for user, valid := range map[string]bool{"user_42": false, "user_43": true, "": true} {
		e := w.pending(user)
		c := w.challenge(e.ID)
		_, response := passkeytest.Create(t, []byte(c.Code.Reveal()), page, sameID)
		w.mustVerify(c.ID, string(response), valid)
		if got := w.reason(e.ID); !valid && got != "credential_already_registered" {
			t.Errorf("the reason is %q", got)
		}
	}
}

func TestFactorHasOneCredential(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.pending("user_42")
	first, second := w.challenge(e.ID), w.challenge(e.ID)
	_, response := passkeytest.Create(t, []byte(first.Code.Reveal()), page)
	w.mustVerify(first.ID, string(response), true)
	_, response = passkeytest.Create(t, []byte(second.Code.Reveal()), page)
	w.mustVerify(second.ID, string(response), false)
	if got := w.reason(e.ID); got != "already_registered" {
		t.Errorf("the reason is %q", got)
	}
}

func TestVerificationWithAPasskeyIsRepeatedByteForByte(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	k := w.passkey("user_42")
	c := w.challenge(k.factor)
	p := mfa.VerifyParams{Code: k.answer(c)}
	v, err := w.Verify(t.Context(), sandbox, c.ID, p, onceKey[mfa.Verification]("the key", "the request"))
	if err != nil || !v.Valid {
		t.Fatalf("Verify = %+v, %v", v, err)
	}
	k.try(true) // changes the counter
	again, err := w.Verify(t.Context(), sandbox, c.ID, p, onceKey[mfa.Verification]("the key", "the request"))
	if err != nil || again.Replayed == nil {
		t.Errorf("the repeated request = %+v, %v", again, err)
	}
	if _, err := w.verify(c.ID, p.Code); !errors.Is(err, mfa.ErrAlreadyVerified) {
		t.Errorf("the response once more = %v", err)
	}
}

func TestOneOfManyEqualResponsesWins(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	k := w.passkey("user_42")
	other := w.serviceOver(w.store, mfa.Options{})
	c := w.challenge(k.factor)
	response := k.answer(c)
	var wins, group = make(chan bool, 16), sync.WaitGroup{}
	for i := range 16 {
		group.Go(func() {
			node := w.Service
			if i%2 == 0 {
				node = other
			}
			v, err := node.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: response}, nil)
			if err != nil && !errors.Is(err, mfa.ErrAlreadyVerified) {
				t.Errorf("Verify = %v", err)
			}
			wins <- v.Valid
		})
	}
	group.Wait()
	close(wins)
	n := 0
	for won := range wins {
		if won {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d of 16 equal responses were valid", n)
	}
}

func TestProductionNeedsARelyingParty(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	_, err := w.Enroll(t.Context(), production, mfa.EnrollParams{Type: mfa.WebAuthn, User: "user_42"}, nil)
	invalid, ok := errors.AsType[*mfa.InvalidError](err)
	if !ok || invalid.Fields[0].Code != "webauthn_not_configured" || !strings.Contains(invalid.Fields[0].Message, "webauthn_rp_id") {
		t.Errorf("Enroll = %v", err)
	}
}

func TestSettingsOfPasskeys(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	env := production
	set := func(changes map[string]string) {
		t.Helper()
		var err error
		if env.Settings, err = env.Settings.With(changes); err != nil {
			t.Fatal(err)
		}
	}
	challenge := func(id mfa.FactorID, p mfa.PasskeyParams) (mfa.IssuedChallenge, error) {
		return w.Challenge(t.Context(), env, id, mfa.ChallengeParams{Passkey: p}, nil)
	}
	verify := func(c mfa.IssuedChallenge, response []byte, valid bool) {
		t.Helper()
		v, err := w.Verify(t.Context(), env, c.ID, mfa.VerifyParams{Code: string(response)}, nil)
		if err != nil || v.Valid != valid {
			t.Errorf("Verify = %v, %v; want %v, %q", v.Valid, err, valid, w.reason(c.Factor))
		}
	}
	set(map[string]string{"webauthn_rp_id": "example.com"})
	e, err := w.Enroll(t.Context(), env, mfa.EnrollParams{Type: mfa.WebAuthn, User: "user_42"}, nil)
	if err != nil || e.Passkey.Site != "example.com" || e.Passkey.User != "user_42" {
		t.Fatalf("Enroll = %+v, %v", e.Passkey, err)
	}
	c, err := challenge(e.ID, mfa.PasskeyParams{})
	if err != nil || !strings.Contains(c.Code.Reveal(), `"rp":{"id":"example.com","name":"Acme"}`) {
		t.Fatalf("Challenge = %q, %v", c.Code.Reveal(), err)
	}
	_, local := passkeytest.Create(t, []byte(c.Code.Reveal()), page)
	verify(c, local, false)
	key, response := passkeytest.Create(t, []byte(c.Code.Reveal()), "https://example.com")
	verify(c, response, true)

	// The factor keeps its domain, and the settings of now decide about origins.
	set(map[string]string{"webauthn_rp_id": "example.org", "webauthn_origins": "https://login.example.com,android:apk-key-hash:abc", "webauthn_user_verification": "required"})
	for origin, valid := range map[string]bool{"https://login.example.com": true, "android:apk-key-hash:abc": true, "https://example.com": false, "https://example.org": false} {
		if c, err = challenge(e.ID, mfa.PasskeyParams{}); err != nil || !strings.Contains(c.Code.Reveal(), `"rpId":"example.com"`) || !strings.Contains(c.Code.Reveal(), `"userVerification":"required"`) {
			t.Fatalf("Challenge = %q, %v", c.Code.Reveal(), err)
		}
		verify(c, key.Get(t, []byte(c.Code.Reveal()), func(a *passkeytest.Answer) { a.ClientData["origin"] = origin }), valid)
	}
	if _, err := challenge(e.ID, mfa.PasskeyParams{UserVerification: "preferred"}); !errors.Is(err, mfa.ErrInvalid) {
		t.Errorf("a challenge that asks for less = %v", err)
	}
	if _, err := challenge(e.ID, mfa.PasskeyParams{Origin: "https://login.example.com", UserVerification: "required"}); err != nil {
		t.Error(err)
	}
	if next, err := w.Enroll(t.Context(), env, mfa.EnrollParams{Type: mfa.WebAuthn}, nil); err != nil || next.Passkey.Site != "example.org" || next.Passkey.User != "user" {
		t.Errorf("Enroll = %+v, %v", next.Passkey, err)
	}
	for name, text := range map[string]string{
		"webauthn_rp_id": "https://example.com", "webauthn_origins": "https://example.com/path", "webauthn_user_verification": "always",
	} {
		if _, err := env.Settings.With(map[string]string{name: text}); !errors.Is(err, mfa.ErrInvalid) {
			t.Errorf("%s=%s is accepted: %v", name, text, err)
		}
	}
}

// TestALockedPendingFactorIsChallengedForABypassCode needs the factors of the user and the bypass code in
// one transaction.
func TestALockedPendingFactorIsChallengedForABypassCode(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{FactorFailures: 2}})
	w.passkey("ada")
	e := w.pending("ada")
	for range 2 {
		w.mustVerify(w.challenge(e.ID).ID, wrong, false)
	}
	if _, err := w.Challenge(t.Context(), sandbox, e.ID, mfa.ChallengeParams{}, nil); !errors.Is(err, mfa.ErrTooManyAttempts) {
		t.Fatalf("without a bypass code, Challenge = %v", err)
	}
	code, _, err := w.operator().CreateBypass(t.Context(), adaWhy, operator.BypassParams{Environment: sandbox.Environment, User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	w.mustVerify(w.challenge(e.ID).ID, code.Reveal(), true)
}
