package idempotency

import (
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// The errors of Find.
var (
	// ErrKeyReused means that the key came before: with another request, or with a request
	// whose answer is not given again.
	ErrKeyReused = errors.New("idempotency key used before")

	// ErrPending means that the same request is being carried out: its answer is not final
	// yet.
	ErrPending = errors.New("the same request is being carried out")
)

// A Policy says how one kind of operation uses idempotency keys.
type Policy struct {
	// Derived says whether a derived key has an effect. Without it, a request with such a
	// key is carried out each time.
	Derived bool
}

// An Operation is one run of an operation with an idempotency key. A nil *Operation
// records nothing.
type Operation[T any] struct {
	Key     Key           // of the record
	Keep    time.Duration // how long the record is kept
	Derived bool          // see Request.Derived

	targetInBody bool
	fingerprint  [32]byte
	answer       func(T, error) []byte
	show         time.Duration // see Show
	pendingUntil time.Time     // see Sending
	past         [16]byte      // see Past
}

// Begin returns the Operation of a request: nil for a nil req, and for a derived key that
// has no effect under p.
func Begin[T any](p Policy, keys *secret.Keyset, req *Request[T]) *Operation[T] {
	if req == nil || req.Derived && !p.Derived {
		return nil
	}
	return &Operation[T]{
		Key: StoredKey(keys, req.Key), Keep: req.Keep, Derived: req.Derived, targetInBody: req.TargetInBody,
		fingerprint: fingerprint(keys, req.Key, req.Fingerprint), answer: req.Answer,
	}
}

// Show returns o with a shorter time in which the answer is given again, because it shows
// a secret. The record is kept for as long as without.
func (o Operation[T]) Show(d time.Duration) *Operation[T] {
	o.show = d
	return &o
}

// Past returns o for a request that means something new: Find ignores the answer about
// the given id.
func (o Operation[T]) Past(about [16]byte) *Operation[T] {
	o.past = about
	return &o
}

// IsPast reports whether Find ignores the answer about the given id.
func (o *Operation[T]) IsPast(about [16]byte) bool { return o.past == about }

// Sending returns o with records that are pending until a time: see Record.PendingUntil.
func (o Operation[T]) Sending(until time.Time) *Operation[T] {
	o.pendingUntil = until
	return &o
}

// Identity tells this request from all others, also from an earlier one with the same
// derived key.
func (o *Operation[T]) Identity() []byte { return append(o.Key[:], o.past[:]...) }

// Find returns the answer that r records. It returns nil and no error if the request is
// to be carried out. The errors are ErrKeyReused and ErrPending. A caller that passes the
// answer on calls r.Confirm.
func (o *Operation[T]) Find(keys *secret.Keyset, r *Record, now time.Time) (*Answer, error) {
	switch {
	case r == nil || !now.Before(r.ExpiresAt) || o.past != [16]byte{} && r.About == o.past:
		return nil, nil
	case r.Fingerprint != o.fingerprint:
		return nil, ErrKeyReused
	case r.Sealed == nil:
		return nil, nil
	case now.Before(r.PendingUntil):
		return nil, ErrPending
	case len(r.Sealed) == 0:
		return nil, ErrKeyReused // its factor was deleted, and is not created again
	case o.show > 0 && !now.Before(r.ExpiresAt.Add(o.show-o.Keep)):
		return nil, ErrKeyReused // its secret is not shown any more, and no other is created
	}
	answer, err := keys.Open(r.Sealed, r.associated())
	if err != nil {
		return nil, fmt.Errorf("open a recorded answer: %w", err)
	}
	return &Answer{answer, r.About}, nil
}

// Record returns the record of an outcome, nil if the outcome is not recorded. about is
// the id of the row that the operation created; zero if none.
func (o *Operation[T]) Record(keys *secret.Keyset, result T, outcome error, about [16]byte, now time.Time) (*Record, error) {
	if o.Derived && outcome != nil {
		return nil, nil // the next request may succeed, and nothing was created
	}
	answer := o.answer(result, outcome)
	if answer == nil {
		return nil, nil
	}
	r := o.Claim(now)
	if outcome == nil {
		r.About, r.PendingUntil = about, o.pendingUntil
	}
	var err error
	if r.Sealed, err = keys.Seal(answer, r.associated()); err != nil {
		return nil, fmt.Errorf("seal an answer: %w", err)
	}
	return r, nil
}

// NeedsClaim reports whether the key must be claimed in its own partition before the
// effect, because another request with the key may have its effect in another partition.
// A derived key cannot come with another request.
func (o *Operation[T]) NeedsClaim() bool { return o != nil && o.targetInBody && !o.Derived }

// Claim returns a record that ties the key to its request, without an answer.
func (o *Operation[T]) Claim(now time.Time) *Record {
	return &Record{Key: o.Key, Fingerprint: o.fingerprint, ExpiresAt: now.Add(o.Keep)}
}

// Owns reports whether r is the pending record that o made about an id. If another
// request got its answer, r is not pending any more.
func (o *Operation[T]) Owns(r *Record, about [16]byte) bool {
	return r != nil && r.About == about && !r.PendingUntil.IsZero() && r.PendingUntil.Equal(o.pendingUntil)
}
