package secret_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// verifies reports whether a signature is that of message under the key with the given id.
func verifies(t *testing.T, k *secret.Keyset, id string, message []byte, signature [64]byte) bool {
	t.Helper()
	for _, key := range k.PublicKeys() {
		if key.ID != id {
			continue
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, key.X[:], key.Y[:]))
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256(message)
		return ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	return false
}

func sign(t testing.TB, k *secret.Keyset, message string) [64]byte {
	t.Helper()
	signature, err := k.Signer().Sign([]byte(message))
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func TestASignatureVerifies(t *testing.T) {
	k := fresh(t)
	for _, message := range []string{"", plain, strings.Repeat("long ", 1000)} {
		signature := sign(t, k, message)
		if !verifies(t, k, k.Signer().ID(), []byte(message), signature) {
			t.Errorf("the signature of %q does not verify", message)
		}
		if verifies(t, k, k.Signer().ID(), []byte(message+"x"), signature) {
			t.Errorf("the signature of %q verifies another message", message)
		}
		if sign(t, k, message) != signature {
			t.Errorf("a second signature of %q differs", message)
		}
	}
}

// Some signatures begin with zeros, which the ASN.1 form leaves out.
func TestSignaturesWithLeadingZeros(t *testing.T) {
	k := fresh(t)
	var r, s bool
	for n := 0; !r || !s; n++ {
		message := strings.Repeat("x", n)
		signature := sign(t, k, message)
		if signature[0] == 0 || signature[32] == 0 {
			r, s = r || signature[0] == 0, s || signature[32] == 0
			if !verifies(t, k, k.Signer().ID(), []byte(message), signature) {
				t.Fatalf("the signature of %d bytes does not verify", n)
			}
		}
	}
}

func TestSigningKeysOfARotation(t *testing.T) {
	old := fresh(t)
	signature := sign(t, old, plain)
	added := must(t)(old.Add())
	promoted := must(t)(added.Promote())
	retired := must(t)(promoted.Retire())
	for name, tc := range map[string]struct {
		k    *secret.Keyset
		keys int
		old  bool // whether the signature made at first verifies
	}{
		"new": {old, 1, true}, "added": {added, 2, true}, "promoted": {promoted, 2, true}, "retired": {retired, 1, false},
	} {
		if n := len(tc.k.PublicKeys()); n != tc.keys {
			t.Errorf("%s: %d public keys; want %d", name, n, tc.keys)
		}
		if got := verifies(t, tc.k, old.Signer().ID(), []byte(plain), signature); got != tc.old {
			t.Errorf("%s: the first signature verifies: %v; want %v", name, got, tc.old)
		}
		if !verifies(t, tc.k, tc.k.Signer().ID(), []byte(plain), sign(t, tc.k, plain)) {
			t.Errorf("%s: a new signature does not verify", name)
		}
	}
	if added.Signer().ID() != old.Signer().ID() || promoted.Signer().ID() == old.Signer().ID() {
		t.Error("the new key signs before the promotion, or not after it")
	}
	if !verifies(t, added, promoted.Signer().ID(), []byte(plain), sign(t, promoted, plain)) {
		t.Error("a node that has no promoted keyset yet does not know the new key")
	}
}

// older returns the file of k as an older release wrote it.
func older(t testing.TB, k *secret.Keyset) []byte {
	t.Helper()
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(marshal(t, k), &parts); err != nil {
		t.Fatal(err)
	}
	delete(parts, "sign")
	data, err := json.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAKeysetOfAnOlderReleaseSigns(t *testing.T) {
	file := older(t, fresh(t))
	one, two := must(t)(secret.ParseKeyset(file)), must(t)(secret.ParseKeyset(file))
	if one.Signer().ID() != two.Signer().ID() || len(one.Signer().ID()) != 8 {
		t.Errorf("two nodes have the keys %q and %q", one.Signer().ID(), two.Signer().ID())
	}
	signature := sign(t, one, plain)
	if !verifies(t, two, one.Signer().ID(), []byte(plain), signature) {
		t.Error("a signature of one node does not verify with the keys of the other")
	}
	if other := must(t)(secret.ParseKeyset(older(t, fresh(t)))); other.Signer().ID() == one.Signer().ID() {
		t.Error("two keysets have the same signing key")
	}
	written := must(t)(secret.ParseKeyset(marshal(t, one)))
	if !verifies(t, written, one.Signer().ID(), []byte(plain), signature) {
		t.Error("the key is lost when the keyset is written")
	}
	rotated := must(t)(one.Rotate())
	if !verifies(t, rotated, one.Signer().ID(), []byte(plain), signature) || rotated.Signer().ID() == one.Signer().ID() {
		t.Error("a rotation does not keep the key, or does not replace it")
	}
	if retired := must(t)(rotated.Retire()); len(retired.PublicKeys()) != 1 || bytes.Contains(marshal(t, retired), []byte(one.Signer().ID())) {
		t.Error("the end of a rotation does not remove the key")
	}
}

func TestAKeysetWithBadSigningKeysIsMalformed(t *testing.T) {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(marshal(t, fresh(t)), &parts); err != nil {
		t.Fatal(err)
	}
	for name, sign := range map[string]json.RawMessage{"of another kind": parts["mac"], "empty": []byte(`{}`), "not an object": []byte(`"x"`)} {
		parts["sign"] = sign
		data, err := json.Marshal(parts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := secret.ParseKeyset(data); err == nil {
			t.Errorf("%s: the keyset was read", name)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	k := fresh(b)
	b.ReportAllocs()
	for b.Loop() {
		sign(b, k, plain)
	}
}
