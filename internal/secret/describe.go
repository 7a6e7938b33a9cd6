package secret

import (
	"bytes"
	"encoding/hex"

	"github.com/tink-crypto/tink-go/v2/keyset"
)

// The uses of a key.
const (
	UseSeal  = "seal"  // seals stored values
	UseMAC   = "mac"   // authenticates codes
	UseSign  = "sign"  // signs receipts
	UseIndex = "index" // finds rows by a keyed hash; it is never rotated
)

// The states of a key.
const (
	KeyWaiting = "waiting" // it opens values, and seals none until it is promoted
	KeyPrimary = "primary" // it makes all new values
	KeyOld     = "old"     // it opens values that were made before the last promotion
)

// A KeyInfo describes a key of a Keyset. It contains no part of the key.
type KeyInfo struct {
	ID    string // eight hexadecimal digits
	Use   string // UseSeal, UseMAC, UseSign or UseIndex
	State string // KeyWaiting, KeyPrimary or KeyOld
}

// Keys describes the keys of k, for each use in the order in which they were added.
func (k *Keyset) Keys() (all []KeyInfo) {
	for _, part := range []struct {
		use string
		set *keyset.Handle
	}{{UseSeal, k.keys().seal}, {UseMAC, k.keys().mac}, {UseSign, k.keys().sign}, {UseIndex, k.keys().index}} {
		primary := position(part.set)
		for i := range part.set.Len() {
			state := KeyPrimary
			if i < primary {
				state = KeyOld
			} else if i > primary {
				state = KeyWaiting
			}
			all = append(all, KeyInfo{keyID(part.set, i), part.use, state})
		}
	}
	return all
}

func keyID(set *keyset.Handle, i int) string {
	if e, err := set.Entry(i); err == nil {
		return hex.EncodeToString([]byte{byte(e.KeyID() >> 24), byte(e.KeyID() >> 16), byte(e.KeyID() >> 8), byte(e.KeyID())})
	}
	return "" // Tink makes no such handle
}

// A KeyFinder finds the key that a value was made under.
type KeyFinder struct {
	prefixes [][]byte
	ids      []string
}

// Finder returns a KeyFinder for the seal and MAC keys of k.
func (k *Keyset) Finder() *KeyFinder {
	f := new(KeyFinder)
	for _, set := range []*keyset.Handle{k.keys().seal, k.keys().mac} {
		for i := range set.Len() {
			e, err := set.Entry(i)
			if err != nil {
				continue // Tink makes no such handle
			}
			if key, ok := e.Key().(interface{ OutputPrefix() []byte }); ok {
				f.prefixes, f.ids = append(f.prefixes, key.OutputPrefix()), append(f.ids, keyID(set, i))
			}
		}
	}
	return f
}

// Find returns the id of the key that value was made under. A value of another form begins
// with the id of a key by chance only once in 2^40.
func (f *KeyFinder) Find(value []byte) (id string, ok bool) {
	for i, prefix := range f.prefixes {
		if bytes.HasPrefix(value, prefix) {
			return f.ids[i], true
		}
	}
	return "", false
}
