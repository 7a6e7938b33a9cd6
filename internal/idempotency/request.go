package idempotency

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"regexp"
	"strings"
	"time"
)

// KeepAnswer is how long an answer is given again.
const KeepAnswer = 24 * time.Hour

const (
	// keepDerived is for keys that a client library derives from the request. Such a key
	// comes again with a later request that means something new, so only retries may find
	// the answer.
	keepDerived = 30 * time.Second

	maxKey = 255
)

// derivedKey matches the keys that client libraries derive from a request.
var derivedKey = regexp.MustCompile(`^retry-[0-9a-f]{64}$`)

// ErrInvalidKey means that a key has an unsupported length or unsupported characters.
var ErrInvalidKey = errors.New("Idempotency-Key must have 1 to 255 printable ASCII characters")

// A Scope is the context of an idempotency key: the same key in another scope is another
// key.
type Scope struct {
	APIKey string // the id of the API key
	Method string
	Path   string
	Body   []byte // part of the scope only for a derived key; otherwise compared

	// TargetInBody says that the body, and not the path, names the factor, challenge or
	// user of the request.
	TargetInBody bool
}

// A Request is one request with an idempotency key. T is the result of its operation. A
// nil *Request is a request without a key: its outcome is not recorded.
type Request[T any] struct {
	Key         [32]byte      // hash of the key and its scope
	Fingerprint [32]byte      // hash of the body
	Keep        time.Duration // how long the answer is given again

	// Derived says that a client library derived the key from the request: another request
	// for the same operation has the same key, although it means something new.
	Derived bool

	// TargetInBody is as in Scope. The key does not determine the partition of the effect.
	TargetInBody bool

	// Answer encodes an outcome for its record; nil if it must not be recorded. It must
	// depend only on its arguments.
	Answer func(result T, err error) []byte
}

// New returns the Request of an idempotency key; answer becomes its Answer. The error is
// ErrInvalidKey.
func New[T any](key string, s Scope, answer func(result T, err error) []byte) (*Request[T], error) {
	if key == "" || len(key) > maxKey || strings.ContainsFunc(key, notPrintable) {
		return nil, ErrInvalidKey
	}
	r := &Request[T]{
		Fingerprint: sha256.Sum256(s.Body), Keep: KeepAnswer, Derived: derivedKey.MatchString(key),
		TargetInBody: s.TargetInBody, Answer: answer,
	}
	scope := []string{s.APIKey, s.Method, s.Path, key}
	if r.Derived {
		r.Keep = keepDerived
		scope = append(scope, string(s.Body)) // the whole request: the key contains only its hash
	}
	text := make([]byte, 0, 512)
	for _, part := range scope {
		text = binary.BigEndian.AppendUint32(text, uint32(len(part)))
		text = append(text, part...)
	}
	r.Key = sha256.Sum256(text)
	return r, nil
}

func notPrintable(c rune) bool { return c < ' ' || c > '~' }
