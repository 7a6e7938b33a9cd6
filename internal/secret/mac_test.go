package secret

import (
	"bytes"
	"sync"
	"testing"
	"testing/quick"

	"github.com/tink-crypto/tink-go/v2/mac"
)

// TestTagsAreTinks holds the tags of a rotated keyset against Tink's own.
func TestTagsAreTinks(t *testing.T) {
	k, err := NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	first := k
	if k, err = k.Rotate(); err != nil {
		t.Fatal(err)
	}
	tinks, err := mac.New(k.keys().mac)
	if err != nil {
		t.Fatal(err)
	}
	same := func(message []byte) bool {
		want, err := tinks.ComputeMAC(message)
		if err != nil {
			return false
		}
		old := first.MAC(message)
		return bytes.Equal(k.MAC(message), want) && k.VerifyMAC(want, message) &&
			k.VerifyMAC(old, message) && tinks.VerifyMAC(old, message) == nil && !first.VerifyMAC(want, message)
	}
	if !same(nil) || !same(bytes.Repeat([]byte{0xff}, 1000)) {
		t.Error("of nothing, or of much, they differ")
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}

// TestTagsOfManyAtOnce shares the hashes of a key.
func TestTagsOfManyAtOnce(t *testing.T) {
	k, err := NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			message := bytes.Repeat([]byte{byte(i)}, 100)
			want := k.MAC(message)
			for range 1000 {
				if !bytes.Equal(k.MAC(message), want) || !k.VerifyMAC(want, message) {
					t.Error("a tag is another one than before")
					return
				}
			}
		})
	}
	all.Wait()
}
