package httpapi

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	keepAnswer = 24 * time.Hour
	// keepDerived is for keys that a client library makes from the request itself. They
	// repeat in a later request that means something new, so that only retries may find
	// the answer.
	keepDerived = 30 * time.Second

	maxIdempotencyKey = 255
)

var derivedKey = regexp.MustCompile(`^retry-[0-9a-f]{64}$`)

// once returns what makes the request happen once, nil if its caller did not ask
// for that. status and appended make the answer of a success.
func once[T any](r *request, status int, appended shape[T]) (*mfa.Once[T], error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return nil, nil
	}
	if len(key) > maxIdempotencyKey || strings.ContainsFunc(key, notPrintable) {
		return nil, &mfa.InvalidError{Fields: []mfa.FieldError{{
			Field: "Idempotency-Key", Code: "invalid", Message: "Idempotency-Key must have 1 to 255 printable ASCII characters",
		}}}
	}
	o := &mfa.Once[T]{Fingerprint: sha256.Sum256(r.body), Keep: keepAnswer, Derived: derivedKey.MatchString(key)}
	h := sha256.New()
	scope := []string{string(r.key.ID), r.Method, r.URL.Path, key}
	if o.Derived {
		o.Keep = keepDerived
		scope = append(scope, string(r.body)) // all of the request, though the key says only its hash
	}
	for _, part := range scope {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	h.Sum(o.Key[:0])
	o.Answer = func(result T, err error) []byte { return answer(status, appended, &result, err) }
	return o, nil
}

func notPrintable(c rune) bool { return c < ' ' || c > '~' }

// answer is a status in two bytes and then the body, as sendAnswer reads it.
func answer[T any](status int, appended shape[T], result *T, err error) []byte {
	if err == nil {
		return appended(binary.BigEndian.AppendUint16(make([]byte, 0, 512), uint16(status)), result)
	}
	status, p, _ := describe(err)
	if status >= 500 || status == http.StatusTooManyRequests {
		return nil
	}
	body, err := encode(p)
	if err != nil {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(status)), body...)
}

func sendAnswer(w http.ResponseWriter, answer []byte) {
	w.Header().Set("Idempotency-Replayed", "true")
	send(w, int(binary.BigEndian.Uint16(answer)), answer[2:])
}
