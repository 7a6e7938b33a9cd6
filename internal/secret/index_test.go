package secret

import (
	"testing"

	"github.com/tink-crypto/tink-go/v2/prf"
)

// TestIndexIsThatOfTink compares Index with Tink, which made the indexes that are stored.
func TestIndexIsThatOfTink(t *testing.T) {
	k, err := NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	set, err := prf.NewPRFSet(k.keys().index)
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{"", "user/1/ada", "replay/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"} {
		want, err := set.ComputePrimaryPRF([]byte(message), 32)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Index([]byte(message)); got != [32]byte(want) {
			t.Errorf("Index(%q) = %x; want %x", message, got, want)
		}
	}
}
