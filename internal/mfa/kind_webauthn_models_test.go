package mfa_test

import (
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
)

// TestAnEnvironmentCanAcceptOnlyProvenModels registers passkeys of several authenticators in an
// environment that asks for proof.
func TestAnEnvironmentCanAcceptOnlyProvenModels(t *testing.T) {
	const model, second = "ee882879-721c-4913-9775-3dfcce97072a", "11111111-721c-4913-9775-3dfcce97072a"
	root, keys := passkeytest.NewRoot(t), passkeytest.NewRoot(t)
	list := root.Host(t, "mds.fidoalliance.org").List(t, time.Now().Add(48*time.Hour), []passkeytest.Model{{AAGUID: model, Root: keys}, {AAGUID: second, Root: keys}})
	models, err := passkey.ReadModelsUnder(root.Certificate, list, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := newFixture(t, mfa.Options{Models: models})
	direct := sandbox
	direct.Settings = with(t, mfa.Settings{}, map[string]string{"webauthn_attestation": "direct"})
	listed := sandbox
	listed.Settings = with(t, mfa.Settings{}, map[string]string{"webauthn_attestation": "direct", "webauthn_aaguids": second})
	attested := func(by *passkeytest.Issuer) func(*passkeytest.Answer) {
		return func(a *passkeytest.Answer) {
			id, err := passkey.ParseAAGUID(model)
			if err != nil {
				t.Fatal(err)
			}
			a.AAGUID, a.Attest = id, by.Manufacture(t, id).Attest
		}
	}
	for _, tc := range []struct {
		name   string
		by     mfa.Caller
		change func(*passkeytest.Answer)
		reason string // of the event; "": the passkey is registered
	}{
		{"a proven model", direct, attested(keys), ""},
		{"no attestation", direct, func(*passkeytest.Answer) {}, "untrusted_attestation"},
		{"another manufacturer", direct, attested(passkeytest.NewRoot(t)), "untrusted_attestation"},
		{"a proven model that is not on the list", listed, attested(keys), "authenticator_not_allowed"},
		{"no proof where none is asked for", sandbox, func(*passkeytest.Answer) {}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, err := w.Enroll(t.Context(), tc.by, mfa.EnrollParams{Type: mfa.WebAuthn, User: "ada"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := w.Challenge(t.Context(), tc.by, e.ID, mfa.ChallengeParams{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, response := passkeytest.Create(t, []byte(c.Code.Reveal()), page, tc.change)
			v, err := w.Verify(t.Context(), tc.by, c.ID, mfa.VerifyParams{Code: string(response)}, nil)
			if err != nil || v.Valid != (tc.reason == "") || w.reason(e.ID) != tc.reason {
				t.Errorf("Verify = %v, %v, with the reason %q; want %q", v.Valid, err, w.reason(e.ID), tc.reason)
			}
			if v.Valid != (v.Passkey != nil) || !v.Valid && v.Challenge.Attempts != 1 {
				t.Errorf("the verification is %+v", v)
			}
		})
	}
	blind := w.serviceOver(w.store, mfa.Options{})
	_, err = blind.Enroll(t.Context(), direct, mfa.EnrollParams{Type: mfa.WebAuthn}, nil)
	wantInvalid(t, err, "type", "webauthn_not_configured")
	if _, err := blind.Enroll(t.Context(), sandbox, mfa.EnrollParams{Type: mfa.WebAuthn}, nil); err != nil {
		t.Errorf("without the file, an environment that does not ask for proof: %v", err)
	}
}
