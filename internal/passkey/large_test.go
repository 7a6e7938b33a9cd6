package passkey_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math/big"
	"testing"

	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
)

// random returns a number with exactly so many bits, which is odd. It is not the modulus of a real key.
func random(t testing.TB, bits int) *big.Int {
	t.Helper()
	b := make([]byte, bits/8)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	b[0] |= 0x80
	b[len(b)-1] |= 1
	return new(big.Int).SetBytes(b)
}

func rsaKey(t testing.TB, n *big.Int) []byte {
	t.Helper()
	key, err := webauthncbor.Marshal(map[int]any{1: 3, 3: -257, -1: n.Bytes(), -2: []byte{0x7f, 0xff, 0xff, 0xff}})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// ofKey returns a response to creation options with a public key and an attestation.
func ofKey(t testing.TB, p *passkey.RelyingParty, key []byte, format string, statement any) []byte {
	t.Helper()
	id, site := []byte("0123456789abcdef"), sha256.Sum256([]byte(p.ID()))
	data := append(append(site[:], 0x45), make([]byte, 4+16)...) // present and verified, with a credential
	data = binary.BigEndian.AppendUint16(data, uint16(len(id)))
	data = append(append(data, id...), key...)
	object, err := webauthncbor.Marshal(map[string]any{"fmt": format, "attStmt": statement, "authData": data})
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	client, err := json.Marshal(map[string]any{"type": "webauthn.create", "challenge": encode(challenge), "origin": origin})
	if err != nil {
		t.Fatal(err)
	}
	response, err := json.Marshal(map[string]any{
		"id": encode(id), "rawId": encode(id), "type": "public-key",
		"response": map[string]any{"clientDataJSON": encode(client), "attestationObject": encode(object)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// TestLargeKeysAreRefused registers RSA keys. With one of 40,000 bytes, which fits into a request, a check of a
// signature takes seconds.
func TestLargeKeysAreRefused(t *testing.T) {
	p := relyingParty(t)
	for bits, want := range map[int]passkey.Reason{2048: "", 4096: "", 8192: passkey.WrongAlgorithm, 320_000: passkey.WrongAlgorithm} {
		_, err := p.CheckCreation(ofKey(t, p, rsaKey(t, random(t, bits)), "none", map[string]any{}), expected)
		if got := reasonOf(t, err); got != want {
			t.Errorf("a key of %d bits: the reason is %q (%v); want %q", bits, got, err, want)
		}
	}
	key, c := register(t, p)
	c.PublicKey = rsaKey(t, random(t, 320_000)) // as an earlier release stored it
	if _, err := check(t, p, c, key.Get(t, request(t, p)), expected); reasonOf(t, err) != passkey.WrongAlgorithm {
		t.Errorf("the use of a large key = %v", err)
	}
}

func TestLargeKeysOfAttestationsAreRefused(t *testing.T) {
	p := relyingParty(t)
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := func(bits int) []byte {
		template := &x509.Certificate{SerialNumber: big.NewInt(1)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &rsa.PublicKey{N: random(t, bits), E: 65537}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	small := map[string]any{"alg": -257, "sig": make([]byte, 256), "x5c": []any{certificate(2048)}}
	large := map[string]any{"alg": -257, "sig": make([]byte, 1024), "x5c": []any{certificate(2048), certificate(8192)}}
	compound := []any{
		map[string]any{"fmt": "packed", "attStmt": small},
		map[string]any{"fmt": "packed", "attStmt": large},
	}
	refused := "the response of the passkey is refused: its attestation is SafetyNet, or has an RSA key of more than 4096 bits"
	for _, tc := range []struct {
		format    string
		statement any
		early     bool // before a signature is checked
	}{
		{"packed", small, false},
		{"packed", large, true},
		{"compound", compound, true},
		{"android-safetynet", map[string]any{"ver": "1", "response": []byte("a.b.c")}, true},
	} {
		_, err := p.CheckCreation(ofKey(t, p, rsaKey(t, random(t, 2048)), tc.format, tc.statement), expected)
		if reasonOf(t, err) != passkey.WrongAttestation || (err.Error() == refused) != tc.early {
			t.Errorf("%s: %v; want a refusal before a check: %v", tc.format, err, tc.early)
		}
	}
}
