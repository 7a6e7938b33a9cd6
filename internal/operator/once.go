package operator

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// ErrInterrupted means that a request with the same idempotency key is being carried out, or
// was interrupted: it may have had its effect, and is not carried out again.
var ErrInterrupted = errors.New("a request with this idempotency key is in progress or was interrupted")

// showAnswer is how long a recorded answer is given again. It may have a secret.
const showAnswer = 10 * time.Minute

// Once carries out a request with an idempotency key at most once. A nil req has no key: it is
// carried out each time. run returns the answer to record. Without an answer it reports whether
// the request may have changed anything: if not, a retry is carried out; otherwise each retry
// gets ErrInterrupted. The effect of run and the record are two transactions: if the process
// ends between them, each retry gets ErrInterrupted as well. Further errors:
// idempotency.ErrKeyReused, and that of a keyset that cannot be opened.
func (s *Service) Once(ctx context.Context, req *idempotency.Request[[]byte], run func() (answer []byte, changed bool)) (answer []byte, replayed bool, err error) {
	if req == nil {
		answer, _ = run()
		return answer, false, nil
	}
	keys, err := s.opts.Keys(ctx)
	if err != nil {
		return nil, false, err
	}
	once := idempotency.Begin(idempotency.Policy{}, keys, req)
	if once == nil { // a key that a client library has derived from the request
		answer, _ = run()
		return answer, false, nil
	}
	once = once.Show(showAnswer)
	bucket := mfa.Bucket(binary.BigEndian.Uint16(once.Key[:])) % mfa.Buckets
	read := mfa.Read{Bucket: bucket, Replay: once.Key}
	now := s.now()
	var before *idempotency.Answer
	err = s.store.Update(ctx, read, func(tx *mfa.Tx) error {
		before = nil
		if tx.Replay != nil && now.Before(tx.Replay.ExpiresAt) {
			var err error
			if before, err = once.Find(keys, &tx.Replay.Record, now); err == nil && before == nil {
				err = ErrInterrupted // it is claimed
			}
			return err
		}
		tx.Writes = append(tx.Writes, mfa.PutReplay{Replay: &mfa.Replay{Bucket: bucket, Record: *once.Claim(now)}})
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	if before != nil {
		return before.Bytes, true, nil
	}
	answer, changed := run()
	if answer == nil && changed {
		return nil, false, nil // the claim stays
	}
	// The client may have gone. The effect has been made, so its record must be made too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	record, err := once.Record(keys, answer, nil, [16]byte{}, now)
	if err != nil {
		return answer, false, err
	}
	return answer, false, s.store.Update(ctx, read, func(tx *mfa.Tx) error {
		if record == nil {
			tx.Writes = append(tx.Writes, mfa.DeleteReplay{Bucket: bucket, Key: once.Key})
		} else {
			tx.Writes = append(tx.Writes, mfa.PutReplay{Replay: &mfa.Replay{Bucket: bucket, Record: *record}})
		}
		return nil
	})
}
