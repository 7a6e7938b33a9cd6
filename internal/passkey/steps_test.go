package passkey_test

import (
	"testing"

	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
)

// A step is a check of the specification and a response that only this check refuses.
type step struct {
	name   string
	change func(*passkeytest.Answer)
	want   passkey.Reason
}

var shared = map[string]func(*passkeytest.Answer){
	"challenge":    func(a *passkeytest.Answer) { a.ClientData["challenge"] = "MDEyMzQ1Njc4OWFiY2RlZg" },
	"origin":       func(a *passkeytest.Answer) { a.ClientData["origin"] = "https://evil.example" },
	"crossOrigin":  func(a *passkeytest.Answer) { a.ClientData["crossOrigin"] = true },
	"topOrigin":    func(a *passkeytest.Answer) { a.ClientData["topOrigin"] = "https://evil.example" },
	"rpIdHash":     func(a *passkeytest.Answer) { a.RPID = "evil.example" },
	"UP":           func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserPresent },
	"UV":           func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserVerified },
	"BS":           func(a *passkeytest.Answer) { a.Flags |= passkeytest.BackedUp },
	"a longer id":  func(a *passkeytest.Answer) { a.ID = make([]byte, 1024); a.KeyID = a.ID },
	"another id":   func(a *passkeytest.Answer) { a.ID = []byte("another one 1234") },
	"another user": func(a *passkeytest.Answer) { a.UserHandle = []byte("user handle of eve") },
}

// TestStepsOfRegistration names the steps of section 7.1 of Web Authentication Level 3. Steps 1 to 4
// are steps of the page. Steps 20 to 24, the algorithm and the attestation, are in TestVectorsOfLevel3. Step 26 needs
// stored credentials: TestCredentialIsRegisteredOncePerUser of package mfa.
func TestStepsOfRegistration(t *testing.T) {
	p := relyingParty(t)
	for _, s := range []step{
		{"7.1 step 7: type", func(a *passkeytest.Answer) { a.ClientData["type"] = "webauthn.get" }, passkey.WrongCeremony},
		{"7.1 step 8: challenge", shared["challenge"], passkey.WrongChallenge},
		{"7.1 step 9: origin", shared["origin"], passkey.WrongOrigin},
		{"7.1 step 10: crossOrigin", shared["crossOrigin"], passkey.CrossOrigin},
		{"7.1 step 11: topOrigin", shared["topOrigin"], passkey.CrossOrigin},
		{"7.1 step 14: rpIdHash", shared["rpIdHash"], passkey.WrongSite},
		{"7.1 step 15: UP", shared["UP"], passkey.NotPresent},
		{"7.1 step 16: UV", shared["UV"], passkey.NotVerified},
		{"7.1 step 17: BS without BE", shared["BS"], passkey.WrongBackupFlags},
	} {
		t.Run(s.name, func(t *testing.T) {
			_, response := passkeytest.Create(t, creation(t, p), origin, s.change)
			_, err := p.CheckCreation(response, expected)
			if got := reasonOf(t, err); got != s.want {
				t.Errorf("the reason is %q (%v); want %q", got, err, s.want)
			}
		})
	}
	for _, response := range []string{"", "{", `{"response":{"clientDataJSON":"/w"}}`} { // steps 5, 6 and 13
		if _, err := p.CheckCreation([]byte(response), expected); reasonOf(t, err) != passkey.Unreadable {
			t.Errorf("%q = %v", response, err)
		}
	}
	t.Run("7.1 step 25: an id of more than 1023 bytes", func(t *testing.T) {
		_, response := passkeytest.Create(t, creation(t, p), origin, shared["a longer id"])
		if _, err := p.CheckCreation(response, expected); reasonOf(t, err) == "" {
			t.Error("the id is accepted")
		}
	})
}

// TestStepsOfAuthentication names the steps of section 7.2. Step 22, the counter, is TestCounter.
func TestStepsOfAuthentication(t *testing.T) {
	p := relyingParty(t)
	key, c := register(t, p)
	for _, s := range []step{
		{"7.2 step 5: allowCredentials", shared["another id"], passkey.UnknownCredential},
		{"7.2 step 6: the owner of the credential", shared["another user"], passkey.OtherUser},
		{"7.2 step 10: type", func(a *passkeytest.Answer) { a.ClientData["type"] = "webauthn.create" }, passkey.WrongCeremony},
		{"7.2 step 11: challenge", shared["challenge"], passkey.WrongChallenge},
		{"7.2 step 12: origin", shared["origin"], passkey.WrongOrigin},
		{"7.2 step 13: crossOrigin", shared["crossOrigin"], passkey.CrossOrigin},
		{"7.2 step 14: topOrigin", shared["topOrigin"], passkey.CrossOrigin},
		{"7.2 step 15: rpIdHash", shared["rpIdHash"], passkey.WrongSite},
		{"7.2 step 16: UP", shared["UP"], passkey.NotPresent},
		{"7.2 step 17: UV", shared["UV"], passkey.NotVerified},
		{"7.2 step 18: BS without BE", shared["BS"], passkey.WrongBackupFlags},
		{"7.2 step 19: BE has changed", func(a *passkeytest.Answer) { a.Flags |= passkeytest.BackupEligible }, passkey.WrongBackupFlags},
		{"7.2 step 21: signature", func(a *passkeytest.Answer) { a.Signature = func(s []byte) []byte { s[len(s)-1] ^= 1; return s } }, passkey.WrongSignature},
	} {
		t.Run(s.name, func(t *testing.T) {
			_, err := check(t, p, c, key.Get(t, request(t, p), s.change), expected)
			if got := reasonOf(t, err); got != s.want {
				t.Errorf("the reason is %q (%v); want %q", got, err, s.want)
			}
		})
	}
}
