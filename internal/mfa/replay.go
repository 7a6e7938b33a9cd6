package mfa

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A ReplayKey is the keyed hash of an idempotency key and of all that scopes it; zero
// means no key. With a plain hash, a reader of the database could find by trial the code
// or phone number of a request from which a client has made its idempotency key.
type ReplayKey [16]byte

// ReadReplayKey reads what a store keeps of a factor's replay key. A hash without a key,
// which an older release stored, is returned as old.
func ReadReplayKey(b []byte) (k ReplayKey, old []byte) {
	if len(b) == len(k) {
		return ReplayKey(b), nil
	}
	return k, b
}

// bucket returns the partition for what only its key can place.
func (k ReplayKey) bucket() Bucket { return Bucket(binary.BigEndian.Uint16(k[:])) % Buckets }

// A Replay is the recorded answer to a request that may come again.
type Replay struct {
	Bucket      Bucket
	Key         ReplayKey
	Fingerprint [32]byte // keyed hash of the request; another request under this key is refused
	About       [16]byte // the id of the factor or challenge that the answer shows as new; zero if none
	Sealed      []byte   // the answer; nil while the key is only claimed, empty if it was forgotten
	ExpiresAt   time.Time
	// PendingUntil is set while the message that the answer speaks of is being
	// sent, and zero once it was. While it is set, the sender may take the answer
	// back. After it has passed, the sender is late or dead: the next request under
	// the key gets the answer and sets PendingUntil to zero, so that the answer
	// stands from then on.
	PendingUntil time.Time
}

func (r *Replay) associated() []byte { return append([]byte("replays.answer"), r.Key[:]...) }

// A Once makes an operation happen once, however often it is asked for: its
// answer is recorded in the transaction of its effect, and given again for the
// same key. A nil *Once records nothing.
type Once[T any] struct {
	Key         [32]byte      // hash of the idempotency key and all that scopes it
	Fingerprint [32]byte      // hash of the request
	Keep        time.Duration // how long the answer is given again
	// Claim says that the request alone does not tell in which bucket its effect
	// will be, so that the key must be claimed in a bucket of its own.
	Claim bool
	// Derived says that the key was made of the request, so that another request
	// for the same thing has the same key though it means something new.
	Derived bool
	// key and fingerprint are the keyed hashes of Key and Fingerprint that are stored.
	key         ReplayKey
	fingerprint [32]byte
	// show is how long an answer may be given again that shows a secret; zero: as long
	// as it is kept.
	show time.Duration
	// pendingUntil is when the answer counts as certain though its message is not
	// known to be sent; zero for an answer that waits for no message.
	pendingUntil time.Time
	// past is what an earlier answer is about that is not given again.
	past [16]byte
	// Answer encodes an outcome for its record; nil for what is not to be
	// recorded. It must depend on its arguments alone.
	Answer func(result T, err error) []byte
}

// keyed returns a copy of once that knows under which names it is stored; nil for nil.
func keyed[T any](s *Service, once *Once[T]) *Once[T] {
	if once == nil {
		return nil
	}
	named := *once
	key := s.keys.Load().Index(append([]byte("replay/"), once.Key[:]...))
	named.key = ReplayKey(key[:])
	named.fingerprint = s.keys.Load().Index(slices.Concat([]byte("request/"), once.Key[:], once.Fingerprint[:]))
	return &named
}

// ref names a request to challenge a factor when its message is counted.
func (o *Once[T]) ref(id FactorID) SendRef {
	return newSendRef(id[:], o.key[:], o.past[:])
}

// errPending means that the same request is being carried out: its answer is not
// certain yet.
var errPending = fmt.Errorf("%w: the same request is being carried out", ErrUnavailable)

// Replayed is returned in place of a result when the operation happened before.
// It holds what Once.Answer made of it then.
type Replayed struct {
	Answer []byte
	about  [16]byte
}

func (*Replayed) Error() string { return "answered before" }

// decide runs fn in one Update of the rows r and records its outcome under once.
// An error of fn that is a refusal commits what fn wrote; any other undoes it.
func decide[T any](ctx context.Context, s *Service, r Read, once *Once[T], now time.Time,
	fn func(*Tx) (T, error),
) (T, error) {
	if once != nil {
		r.Replay = once.key
	}
	var result T
	var outcome error
	err := s.store.Update(ctx, r, func(tx *Tx) error {
		var none T
		result = none
		if once != nil && !tx.lacks(r) {
			if outcome = recorded(s, tx.Replay, once, now); outcome != nil {
				return answered(tx, outcome)
			}
		}
		if result, outcome = fn(tx); outcome != nil && !isRefusal(outcome) {
			return outcome
		}
		if once == nil || tx.lacks(r) {
			return nil
		}
		return record(s, tx, r.Bucket, once, now, result, outcome)
	})
	if err != nil {
		var none T
		return none, err
	}
	return result, outcome
}

// lacks reports whether the row that r is about is not there, or no more. An
// answer about it is neither given again nor recorded.
func (tx *Tx) lacks(r Read) bool {
	return r.Challenge != ChallengeID{} && tx.Challenge == nil || r.Factor != FactorID{} && tx.Factor == nil
}

// recorded returns *Replayed or ErrKeyReused if a request was answered under the
// key of r, and nil if this one is to be carried out. An answer about what is past
// counts for nothing.
func recorded[T any](s *Service, r *Replay, once *Once[T], now time.Time) error {
	switch {
	case r == nil || !now.Before(r.ExpiresAt) || once.past != [16]byte{} && r.About == once.past:
		return nil
	case r.Fingerprint != once.fingerprint:
		return ErrKeyReused
	case r.Sealed == nil:
		return nil
	case now.Before(r.PendingUntil):
		return errPending
	case len(r.Sealed) == 0:
		return ErrKeyReused // its factor was deleted, and is not made again
	case once.show > 0 && !now.Before(r.ExpiresAt.Add(once.show-once.Keep)):
		return ErrKeyReused // its secret is not shown any more, and no other is made
	}
	answer, err := s.keys.Load().Open(r.Sealed, r.associated())
	if err != nil {
		return fmt.Errorf("open a recorded answer: %w", err)
	}
	return &Replayed{answer, r.About}
}

// answered ends a transaction that found the outcome of its request recorded. An
// answer that its sender could still take back becomes final before it is given.
func answered(tx *Tx, outcome error) error {
	if !isReplayed(outcome) || tx.Replay.PendingUntil.IsZero() {
		return outcome
	}
	tx.Replay.PendingUntil = time.Time{}
	tx.put(PutReplay{tx.Replay})
	return nil
}

// pends reports whether r is the record that o made about a challenge, and its sender may
// still take it back: no other request was given its answer.
func (o *Once[T]) pends(r *Replay, about [16]byte) bool {
	return r != nil && r.About == about && !r.PendingUntil.IsZero() && r.PendingUntil.Equal(o.pendingUntil)
}

func record[T any](s *Service, tx *Tx, b Bucket, once *Once[T], now time.Time, result T, outcome error) error {
	if once.Derived && outcome != nil {
		return nil // it may be otherwise the next time, and nothing was made
	}
	answer := once.Answer(result, outcome)
	if answer == nil {
		return nil
	}
	r := &Replay{Bucket: b, Key: once.key, Fingerprint: once.fingerprint, ExpiresAt: now.Add(once.Keep)}
	if outcome == nil {
		r.PendingUntil = once.pendingUntil
	}
	if made, ok := any(result).(interface{ made() [16]byte }); ok && outcome == nil {
		r.About = made.made()
	}
	var err error
	// Sealing draws a nonce at every run of the transaction. That is safe: what
	// an earlier run sealed was never stored.
	if r.Sealed, err = s.keys.Load().Seal(answer, r.associated()); err != nil {
		return fmt.Errorf("seal an answer: %w", err)
	}
	tx.put(PutReplay{r})
	return nil
}

// claim ties the key of once to its request, in the key's own bucket, if the
// bucket of the effect cannot be told from the request alone.
func claim[T any](ctx context.Context, s *Service, once *Once[T], now time.Time) error {
	// A derived key cannot come with another request.
	if once == nil || !once.Claim || once.Derived {
		return nil
	}
	r := Read{Bucket: once.key.bucket(), Replay: once.key}
	var outcome error
	err := s.store.Update(ctx, r, func(tx *Tx) error {
		if outcome = recorded(s, tx.Replay, once, now); outcome != nil {
			return answered(tx, outcome)
		}
		if tx.Replay != nil && now.Before(tx.Replay.ExpiresAt) {
			return nil
		}
		tx.put(PutReplay{&Replay{
			Bucket: r.Bucket, Key: once.key, Fingerprint: once.fingerprint, ExpiresAt: now.Add(once.Keep),
		}})
		return nil
	})
	return cmp.Or(err, outcome)
}

// isReplayed reports whether err is a *Replayed.
func isReplayed(err error) bool {
	_, ok := errors.AsType[*Replayed](err)
	return ok
}
