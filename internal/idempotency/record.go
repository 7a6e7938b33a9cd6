package idempotency

import (
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Key is the keyed hash of an idempotency key and its scope; the zero value means no
// key. With a hash without a key, a reader of the database could find by trial the code or
// phone number of a request from which a client has derived its idempotency key.
type Key [16]byte

// StoredKey returns the Key of a Request.Key.
func StoredKey(keys *secret.Keyset, key [32]byte) Key {
	hash := keys.Index(append([]byte("replay/"), key[:]...))
	return Key(hash[:])
}

// fingerprint returns the keyed hash of a request under its key.
func fingerprint(keys *secret.Keyset, key, request [32]byte) [32]byte {
	return keys.Index(slices.Concat([]byte("request/"), key[:], request[:]))
}

// A Record is the recorded answer to a request, or the claim of its key.
type Record struct {
	Key         Key
	Fingerprint [32]byte // keyed hash of the request; another request with this key is refused
	About       [16]byte // the id of the factor or challenge that the request created; zero if none
	Sealed      []byte   // the answer; nil if the key is only claimed, empty if the answer was erased
	ExpiresAt   time.Time

	// PendingUntil is set while the message of the answer is being sent, and zero
	// afterwards. While it is set, the sender may remove the record. If the time has
	// passed, the sender is late or dead: the next request with the key sets PendingUntil
	// to zero and gets the answer, which is final from then on.
	PendingUntil time.Time
}

// Confirm makes a pending answer final. It reports whether r changed.
func (r *Record) Confirm() bool {
	changed := !r.PendingUntil.IsZero()
	r.PendingUntil = time.Time{}
	return changed
}

func (r *Record) associated() []byte { return append([]byte("replays.answer"), r.Key[:]...) }

// An Answer is a recorded answer.
type Answer struct {
	Bytes []byte   // the result of Request.Answer
	About [16]byte // the id of the factor or challenge that the request created; zero if none
}
