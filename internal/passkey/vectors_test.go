package passkey_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/countersign-mfa/countersign/internal/passkey"
)

// hexBytes are bytes in hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func (h hexBytes) base64() string { return base64.RawURLEncoding.EncodeToString(h) }

// reasonOf returns the reason of a refusal, "" for nil.
func reasonOf(t *testing.T, err error) passkey.Reason {
	t.Helper()
	refused, ok := errors.AsType[*passkey.RefusedError](err)
	switch {
	case err == nil:
		return ""
	case !ok:
		t.Fatal(err)
	}
	return refused.Reason
}

// TestVectorsOfLevel3 checks the test vectors of the specification against the rules of
// Countersign: it accepts no frame of another site and only ES256, EdDSA and RS256.
func TestVectorsOfLevel3(t *testing.T) {
	text, err := os.ReadFile("testdata/level3-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []struct {
			Section, Name string
			CredentialID  hexBytes `json:"credential_id"`
			Registration  struct {
				Challenge         hexBytes
				ClientData        hexBytes `json:"client_data"`
				AttestationObject hexBytes `json:"attestation_object"`
			}
			Authentication struct {
				Challenge         hexBytes
				ClientData        hexBytes `json:"client_data"`
				AuthenticatorData hexBytes `json:"authenticator_data"`
				Signature         hexBytes
				PublicKey         hexBytes `json:"public_key"`
			}
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) != 14 {
		t.Fatalf("%d vectors; want 14", len(file.Vectors))
	}
	site, err := passkey.New(passkey.Config{ID: "example.org", Origins: []string{"https://example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	creations := map[string]passkey.Reason{
		"16.4": passkey.CrossOrigin, "16.5": passkey.CrossOrigin, "16.8": passkey.WrongAlgorithm, "16.9": passkey.WrongAlgorithm,
		// No maker of TPMs, of Android or of Apple signed these attestations, but the specification itself.
		"16.13": passkey.WrongAttestation, "16.14": passkey.WrongAttestation, "16.15": passkey.WrongAttestation,
	}
	uses := map[string]passkey.Reason{"16.4": passkey.CrossOrigin, "16.5": passkey.CrossOrigin}
	for _, v := range file.Vectors {
		t.Run(v.Section+" "+v.Name, func(t *testing.T) {
			response := func(fields map[string]string) []byte {
				b, err := json.Marshal(map[string]any{
					"id": v.CredentialID.base64(), "rawId": v.CredentialID.base64(), "type": "public-key",
					"clientExtensionResults": map[string]any{}, "response": fields,
				})
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			want := passkey.Expectation{Challenge: v.Registration.Challenge, UserHandle: ada.Handle, Named: true}
			c, err := site.CheckCreation(response(map[string]string{
				"clientDataJSON": v.Registration.ClientData.base64(), "attestationObject": v.Registration.AttestationObject.base64(),
			}), want)
			if got := reasonOf(t, err); got != creations[v.Section] {
				t.Errorf("the registration has the reason %q (%v); want %q", got, err, creations[v.Section])
			}
			if err != nil { // a registration elsewhere may have stored it
				c = passkey.Credential{ID: v.CredentialID, PublicKey: v.Authentication.PublicKey}
				c.BackupEligible = v.Authentication.AuthenticatorData[32]&0x08 != 0
			}
			want.Challenge = v.Authentication.Challenge
			use := map[string]string{
				"clientDataJSON": v.Authentication.ClientData.base64(), "authenticatorData": v.Authentication.AuthenticatorData.base64(),
				"signature": v.Authentication.Signature.base64(),
			}
			_, err = check(t, site, c, response(use), want)
			if got := reasonOf(t, err); got != uses[v.Section] {
				t.Errorf("the use has the reason %q (%v); want %q", got, err, uses[v.Section])
			}
			broken := append(hexBytes(nil), v.Authentication.Signature...)
			broken[len(broken)-1] ^= 1
			use["signature"] = broken.base64()
			if _, err := check(t, site, c, response(use), want); uses[v.Section] == "" && reasonOf(t, err) != passkey.WrongSignature {
				t.Errorf("a broken signature = %v", err)
			}
		})
	}
}
