package secret

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"

	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkhmac "github.com/tink-crypto/tink-go/v2/mac/hmac"
)

// tagSize is how many bytes of an HMAC a tag has, after the prefix of its key.
const tagSize = 16

// A tagger makes the tags of one key. The tags equal the tags of tink.MAC, which
// makes a new hash for each tag and takes three times as long: every code is tagged
// twice.
type tagger struct {
	prefix []byte    // of all its tags
	hashes sync.Pool // of hash.Hash under the key
}

// taggers returns one for each key of a handle, and that of the primary key.
func taggers(h *keyset.Handle) (all []*tagger, primary *tagger, err error) {
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return nil, nil, err
		}
		key, ok := e.Key().(*tinkhmac.Key)
		if !ok {
			return nil, nil, fmt.Errorf("a key of type %T", e.Key())
		}
		raw := key.KeyBytes().Data(insecuresecretdataaccess.Token{})
		t := &tagger{prefix: key.OutputPrefix()}
		t.hashes.New = func() any { return hmac.New(sha256.New, raw) }
		if all = append(all, t); e.IsPrimary() {
			primary = t
		}
	}
	return all, primary, nil
}

// tag returns the tag of message.
func (t *tagger) tag(message []byte) []byte {
	h := t.hashes.Get().(hash.Hash)
	defer t.hashes.Put(h)
	h.Reset()
	h.Write(message)
	tag := make([]byte, 0, len(t.prefix)+sha256.Size)
	tag = h.Sum(append(tag, t.prefix...))
	end := len(t.prefix) + tagSize
	return tag[:end:end]
}

// verify reports, in constant time for all tags of the key, whether tag is that of message.
func (t *tagger) verify(tag, message []byte) bool {
	return bytes.HasPrefix(tag, t.prefix) && hmac.Equal(tag, t.tag(message))
}
