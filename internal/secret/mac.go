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
	"github.com/tink-crypto/tink-go/v2/prf/hmacprf"
)

// tagSize is how many bytes of an HMAC a tag has, after the prefix of its key.
const tagSize = 16

// hashes computes the HMAC-SHA-256 of one key. Tink makes new hashes for each message, which
// takes three times as long in BenchmarkMAC and BenchmarkIndex. A flow needs two tags, and
// four indexes if it has idempotency keys: 4 % and 8 % of the server's time.
type hashes struct {
	pool sync.Pool // of hash.Hash under the key
}

func newHashes(key []byte) *hashes {
	h := new(hashes)
	h.pool.New = func() any { return hmac.New(sha256.New, key) }
	return h
}

// append appends the HMAC of message to b.
func (h *hashes) append(b, message []byte) []byte {
	one := h.pool.Get().(hash.Hash)
	defer h.pool.Put(one)
	one.Reset()
	one.Write(message)
	return one.Sum(b)
}

// indexer returns the hashes of the index key, equal to the output of a tink PRF.
func indexer(h *keyset.Handle) (*hashes, error) {
	e, err := h.Primary()
	if err != nil {
		return nil, err
	}
	key, ok := e.Key().(*hmacprf.Key)
	if !ok {
		return nil, fmt.Errorf("a key of type %T", e.Key())
	}
	return newHashes(key.KeyBytes().Data(insecuresecretdataaccess.Token{})), nil
}

// A tagger makes the tags of one key. They equal the tags of tink.MAC.
type tagger struct {
	prefix []byte // of all its tags
	hashes *hashes
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
		t := &tagger{key.OutputPrefix(), newHashes(raw)}
		if all = append(all, t); e.IsPrimary() {
			primary = t
		}
	}
	return all, primary, nil
}

// tag returns the tag of message.
func (t *tagger) tag(message []byte) []byte {
	tag := make([]byte, 0, len(t.prefix)+sha256.Size)
	tag = t.hashes.append(append(tag, t.prefix...), message)
	end := len(t.prefix) + tagSize
	return tag[:end:end]
}

// verify reports, in constant time for all tags of the key, whether tag is that of message.
func (t *tagger) verify(tag, message []byte) bool {
	return bytes.HasPrefix(tag, t.prefix) && hmac.Equal(tag, t.tag(message))
}
