package mfa

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
)

// ReplayKey is the key of a Replay.
type ReplayKey = idempotency.Key

// A Replay is the row of an idempotency record. It is in the bucket of the effect of its
// request; a claim is in the bucket of its key.
type Replay struct {
	Bucket Bucket
	idempotency.Record
}

// record returns the record of r, nil for nil.
func (r *Replay) record() *idempotency.Record {
	if r == nil {
		return nil
	}
	return &r.Record
}

// keyBucket returns the bucket of rows that only their idempotency key can place.
func keyBucket(k ReplayKey) Bucket { return Bucket(binary.BigEndian.Uint16(k[:])) % Buckets }

// errPending means that the same request is being carried out. It is an ErrUnavailable.
var errPending = fmt.Errorf("%w: %w", ErrUnavailable, idempotency.ErrPending)

// A repeatable is the result of an operation that a client can repeat with an idempotency
// key.
type repeatable[T any] interface {
	created() [16]byte              // the id of the new factor or challenge; zero if none
	replayed(*idempotency.Answer) T // the result that has the recorded answer
	undecided() bool                // whether the operation needs more steps: nothing is recorded
	marked() bool                   // whether a row that was written has the mark of the request, which replaces a record
}

// begin returns the operation of a request; nil if its outcome is not recorded.
func begin[T any](s *Service, p idempotency.Policy, req *idempotency.Request[T]) *idempotency.Operation[T] {
	return idempotency.Begin(p, s.keys.Load(), req)
}

// decide runs fn in one Update of the rows r and records its outcome under once. If the
// same request was answered before, the result has the recorded answer.
// An error of fn that is a refusal commits the writes of fn; any other error undoes them.
func decide[T repeatable[T]](ctx context.Context, s *Service, r Read, once *idempotency.Operation[T], now time.Time,
	fn func(*Tx) (T, error),
) (T, error) {
	if once != nil {
		r.Replay = once.Key
	}
	var result T
	var outcome error
	err := s.store.Update(ctx, r, func(tx *Tx) error {
		var none T // not outside of the closure, where it would be allocated
		result, outcome = none, nil
		if once != nil && !tx.lacks(r) {
			answer, err := find(s, tx, once, now)
			if answer != nil || err != nil {
				result, outcome = none.replayed(answer), err
				return err
			}
		}
		if result, outcome = fn(tx); outcome != nil && !isRefusal(outcome) {
			return outcome
		}
		if once == nil || tx.lacks(r) || result.undecided() || result.marked() {
			return nil
		}
		// Sealing draws a nonce at every run of the transaction. That is safe: a run that
		// does not commit stores nothing.
		record, err := once.Record(s.keys.Load(), result, outcome, result.created(), now)
		if record != nil {
			tx.put(PutReplay{&Replay{r.Bucket, *record}})
		}
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return result, outcome
}

// lookAt runs look on the rows r without a transaction. It returns the result of look only
// if it is undecided, and otherwise zero: decide must store a refusal, and find the answer
// of a request that was answered before.
func lookAt[T repeatable[T]](ctx context.Context, s *Service, r Read, once *idempotency.Operation[T], now time.Time,
	look func(Rows) (T, error),
) (none T, err error) {
	if once != nil {
		r.Replay = once.Key
	}
	rows, err := s.store.View(ctx, r)
	if err != nil {
		return none, err
	}
	if once != nil {
		if answer, err := once.Find(s.keys.Load(), rows.Replay.record(), now); answer != nil || err != nil {
			return none, nil
		}
	}
	if result, err := look(rows); err == nil && result.undecided() {
		return result, nil
	}
	return none, nil
}

// lacks reports whether the challenge or factor of r is not stored. No answer about it is
// given again or recorded.
func (tx *Tx) lacks(r Read) bool {
	return r.Challenge != ChallengeID{} && tx.Challenge == nil || r.Factor != FactorID{} && tx.Factor == nil
}

// find returns the recorded answer of a request. It makes a pending answer final.
func find[T any](s *Service, tx *Tx, once *idempotency.Operation[T], now time.Time) (*idempotency.Answer, error) {
	answer, err := once.Find(s.keys.Load(), tx.Replay.record(), now)
	if errors.Is(err, idempotency.ErrPending) {
		return nil, errPending
	}
	if answer != nil && tx.Replay.Confirm() {
		tx.put(PutReplay{tx.Replay})
	}
	return answer, err
}

// claim ties the key of once to its request in the key's own bucket, for a request whose
// scope does not determine the bucket of its effect. It returns the recorded answer if the
// request was answered before.
func claim[T any](ctx context.Context, s *Service, once *idempotency.Operation[T], now time.Time) (*idempotency.Answer, error) {
	if !once.NeedsClaim() {
		return nil, nil
	}
	r := Read{Bucket: keyBucket(once.Key), Replay: once.Key}
	var answer *idempotency.Answer
	err := s.store.Update(ctx, r, func(tx *Tx) error {
		var err error
		if answer, err = find(s, tx, once, now); answer != nil || err != nil {
			return err
		}
		if tx.Replay == nil || !now.Before(tx.Replay.ExpiresAt) {
			tx.put(PutReplay{&Replay{r.Bucket, *once.Claim(now)}})
		}
		return nil
	})
	return answer, err
}
