package httpapi

import (
	"crypto/sha256"
	"encoding/binary"
	"regexp"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	keepAnswer = 24 * time.Hour
	// keepDerived applies to keys that a client library derives from the request. Such a
	// key repeats in a later request that means something new, so only retries may find
	// the answer.
	keepDerived = 30 * time.Second

	maxIdempotencyKey = 255
)

var derivedKey = regexp.MustCompile(`^retry-[0-9a-f]{64}$`)

// once returns the mfa.Once of a request with an Idempotency-Key, and nil for a request
// without one. status and toJSON make the recorded answer of a success.
func once[T any](r request, status int, toJSON shape[T]) (*mfa.Once[T], error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return nil, nil
	}
	if len(key) > maxIdempotencyKey || strings.ContainsFunc(key, notPrintable) {
		return nil, &mfa.InvalidError{Fields: []mfa.FieldError{{
			Field: "Idempotency-Key", Code: "invalid", Message: "Idempotency-Key must have 1 to 255 printable ASCII characters",
		}}}
	}
	o := &mfa.Once[T]{Fingerprint: sha256.Sum256(r.Content), Keep: keepAnswer, Derived: derivedKey.MatchString(key)}
	h := sha256.New()
	scope := []string{string(r.key.ID), r.Method, r.URL.Path, key}
	if o.Derived {
		o.Keep = keepDerived
		scope = append(scope, string(r.Content)) // the whole body; the key contains only its hash
	}
	for _, part := range scope {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	h.Sum(o.Key[:0])
	o.Answer = func(result T, err error) []byte { return recorded(status, toJSON, &result, err) }
	return o, nil
}

func notPrintable(c rune) bool { return c < ' ' || c > '~' }
