package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	// maxTries is how often a transaction is run that others keep getting in the
	// way of.
	maxTries = 10
	// maxPause bounds how long it waits between two tries.
	maxPause = 64 * time.Millisecond
)

// commit sets the error of each job of a group. It runs them in one transaction,
// and if that fails for a reason that one of them may have brought, each in its
// own.
func (s *Store) commit(group []*job) {
	if len(group) == 0 {
		return
	}
	err := s.transact(group)
	switch {
	case err == nil:
	case len(group) > 1 && isServerError(err) && !isOutage(err):
		for _, j := range group {
			j.err = s.transactAlone(j)
		}
	case isConflict(err):
		group[0].err = s.transactAlone(group[0])
	default:
		for _, j := range group {
			j.err = domainError(err)
		}
	}
}

// transactAlone runs a job by itself, again while others get in its way.
func (s *Store) transactAlone(j *job) error {
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, maxPause) {
		err := s.transact([]*job{j})
		if err == nil {
			return j.err
		}
		if j.tries++; j.tries == maxTries || !isConflict(err) {
			return domainError(err)
		}
		time.Sleep(jitter(pause)) // so that those who collided part ways
	}
}

func jitter(most time.Duration) time.Duration {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(most))
}

// transact runs the jobs in order in one transaction and sets the error of each.
// If it returns an error itself, nothing was stored; after errUnknown it may have
// been.
func (s *Store) transact(group []*job) error {
	err := s.transactOnce(group)
	if err != nil && !isServerError(err) && !errors.Is(err, errUnknown) {
		// The connection was lost before COMMIT was sent: perhaps it had died in
		// the pool, and others with it. Nothing was stored, so once more.
		s.pool.Reset()
		err = s.transactOnce(group)
	}
	if errors.Is(err, errUnknown) {
		s.pool.Reset()
		return s.resolve(group, err)
	}
	return err
}

func (s *Store) transactOnce(group []*job) error {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout+2*roundTrip)
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire a connection: %w", err)
	}
	defer conn.Release()
	if err = transactOn(ctx, conn.Conn(), group); err != nil {
		if isOutage(err) {
			conn.Conn().Close(ctx) // this server is good for nothing more
		} else {
			err = errors.Join(err, rollback(ctx, conn.Conn()))
		}
	}
	return err
}

func transactOn(ctx context.Context, conn *pgx.Conn, group []*job) error {
	held, err := begin(ctx, conn, group)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	for _, j := range group {
		tx := &mfa.Tx{Rows: held.rows(j.read)}
		if j.err = j.decide(tx); j.err == nil {
			j.err = held.check(tx.Writes)
		}
		if j.err == nil {
			held.apply(batch, tx.Writes)
			j.event = firstEvent(tx.Writes)
		}
	}
	if batch.Len() == 0 {
		return rollback(ctx, conn) // only locks to give back
	}
	return end(ctx, conn, batch)
}

// begin starts a transaction and reads all that the group decides on, locked, in
// one round trip.
func begin(ctx context.Context, conn *pgx.Conn, group []*job) (*held, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	h := newHeld()
	batch := &pgx.Batch{}
	batch.Queue("BEGIN")
	for _, j := range group {
		h.read(batch, j.read, forUpdate)
	}
	return h, conn.SendBatch(ctx, batch).Close()
}

// end sends the writes and COMMIT in one round trip. After an error of the server
// nothing was stored; after any other COMMIT may have been carried out.
func end(ctx context.Context, conn *pgx.Conn, batch *pgx.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	batch.Queue("COMMIT")
	err := conn.SendBatch(ctx, batch).Close()
	if err != nil && !isServerError(err) {
		return fmt.Errorf("%w: %w", errUnknown, err)
	}
	return err
}

func rollback(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	_, err := conn.Exec(ctx, "ROLLBACK")
	return err
}

const (
	resolveFor   = 5 * time.Second
	resolvePause = 100 * time.Millisecond
)

// resolve finds out what became of a transaction whose COMMIT was not answered,
// by an event that it would have stored. If the event is there, all is, and
// resolve returns nil. If not, COMMIT may still be on its way, so that the error
// stays as it is: it is never taken for a failure and run again.
func (s *Store) resolve(group []*job, unknown error) error {
	event := mfa.EventID{}
	for _, j := range group {
		if j.err == nil && j.event != event {
			event = j.event
			break
		}
	}
	if event == (mfa.EventID{}) {
		return unknown
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveFor)
	defer cancel()
	for {
		var found bool
		err := s.pool.QueryRow(ctx, existsEvent, int16(event.Bucket()), event).Scan(&found)
		if err == nil && found {
			return nil
		}
		select {
		case <-ctx.Done():
			return unknown
		case <-time.After(resolvePause):
		}
	}
}

func firstEvent(writes []mfa.Write) (id mfa.EventID) {
	for _, w := range writes {
		if e, ok := w.(mfa.AppendEvent); ok {
			return e.ID
		}
	}
	return id
}
