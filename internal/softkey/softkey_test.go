package softkey_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/countersign-mfa/countersign/internal/softkey"
)

// A derived key must stay the same in later releases: registered factors have its public half.
func TestDerivedKeyIsStable(t *testing.T) {
	seed := [32]byte{1, 2, 3}
	key, err := softkey.Derive(seed)
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	// Calculated with another program from HKDF-SHA-256 and the parameters of P-256.
	const (
		wantID     = "ce24737ad84675d7b54a8f75d899054e"
		wantPublic = "a50102032620012158202df764daf1c4ccf8eb2fce0a6fb7a2fa95e10dd9fc5eb6c65a5d47091bdac794225820d64679094903ee60da1d0cf4be671fe38d904f3b8d401864d4aec57c0be9a620"
	)
	if got := hex.EncodeToString(key.ID); got != wantID {
		t.Errorf("the id is %s; want %s", got, wantID)
	}
	if got := hex.EncodeToString(public); got != wantPublic {
		t.Errorf("the public key is %s; want %s", got, wantPublic)
	}
	seed[31]++
	other, err := softkey.Derive(seed)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := other.Public(); err != nil || bytes.Equal(second, public) || bytes.Equal(other.ID, key.ID) {
		t.Errorf("another seed has the key %x, %x, %v", other.ID, second, err)
	}
}

func TestOptionsThatAreNotReadable(t *testing.T) {
	key, err := softkey.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, options := range []string{``, `{`, `[]`, `{"user":{"id":"?"}}`, `{"rp":1}`} {
		if got, err := key.Create([]byte(options), "https://example.com"); err == nil {
			t.Errorf("the creation options %q are answered %s", options, got)
		}
	}
	for _, options := range []string{``, `{`, `[]`, `{"challenge":1}`} {
		if got, err := key.Get([]byte(options), "https://example.com", nil); err == nil {
			t.Errorf("the request options %q are answered %s", options, got)
		}
	}
}
