package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

var errStalled = fmt.Errorf("%w: the database does not finish commits; is a synchronous standby missing?", mfa.ErrUnavailable)

// forceCommit writes a message, so the commit of its transaction is written to the log.
const forceCommit = `SELECT pg_logical_emit_message(true, 'countersign', '')`

// stallPause is the pause between two tries to commit while commits are stalled.
const stallPause = 250 * time.Millisecond

// stall is called when a COMMIT that was sent at start has had no answer for too long. If
// no other COMMIT was answered since start, stall makes the store refuse all requests until
// a commit succeeds. Otherwise each request would wait as long and hold a connection.
func (s *Store) stall(start time.Time) {
	if s.committed.Load() >= start.UnixNano() || !s.stalled.CompareAndSwap(false, true) {
		return
	}
	s.log.Error("the database does not finish commits; requests are refused until it does")
	s.queue.Refuse(errStalled)
	s.views.Refuse(errStalled)
	for s.tryCommit() != nil {
		select {
		case <-s.closing:
			return
		case <-time.After(stallPause):
		}
	}
	s.stalled.Store(false)
	s.log.Info("the database finishes commits again")
}

// tryCommit returns nil if a commit succeeds.
func (s *Store) tryCommit() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.wait.roundTrip)
	defer cancel()
	err := s.onAny(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, forceCommit)
		return err
	})
	switch {
	case err == nil:
		s.committed.Store(s.now().UnixNano())
	case isStale(err):
		s.pool.Reset()
	}
	return err
}
