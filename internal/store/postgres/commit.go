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
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

const (
	// maxTries is how often an Update runs again, in a separate transaction, while
	// it conflicts with others.
	maxTries = 10
	// maxPause limits the pause between two tries.
	maxPause = 64 * time.Millisecond
)

// commit sets the error of each job of a group. It runs all jobs in one transaction.
// If that transaction fails and one of the jobs may be the cause, commit runs each job
// in a separate transaction. It calls decided when only the commit of the first
// transaction is left. A transaction waits for a lock no longer than patience; jobs
// that wait longer are passed to locked.
func (s *Store) commit(group []*job, decided func(), patience time.Duration, locked func([]*job, error)) {
	if len(group) == 0 {
		return
	}
	if s.stalled.Load() {
		refuse(group, errStalled)
		return
	}
	start := s.now()
	err := s.transact(group, decided, patience)
	switch {
	case err == nil:
		return
	case isLocked(err):
		locked(group, err)
		return
	case s.missed(err):
		s.commitEach(group, patience, locked)
		return
	case len(group) > 1 && (isRefused(err) && !isOutage(err) || isRowError(err)), isConflict(err):
		s.commitEach(group, patience, locked)
		return
	}
	refuse(group, domainError(err))
	if s.lost(err, start) {
		s.queue.Refuse(errNotReached)
	}
}

// commitEach is commit with a transaction for each job. All of them together take
// little more than the time limit of one transaction.
func (s *Store) commitEach(group []*job, patience time.Duration, locked func([]*job, error)) {
	start := s.now()
	for i, j := range group {
		if s.now().Sub(start) > s.wait.roundTrip {
			refuse(group[i:], errBehind)
			return
		}
		begun := s.now()
		switch err := s.transactAlone(j, patience); {
		case isLocked(err):
			locked(group[i:i+1], err)
		case s.lost(err, begun):
			refuse(group[i+1:], errNotReached)
			s.queue.Refuse(errNotReached)
			return
		}
	}
}

// refuse sets the error of all jobs.
func refuse(group []*job, err error) {
	for _, j := range group {
		j.err = err
	}
}

var errBehind = fmt.Errorf("%w: the requests before it took too long", mfa.ErrUnavailable)

var errNotReached = fmt.Errorf("%w: the database could not be reached for those before", mfa.ErrUnavailable)

// lost reports whether the database seems to be unreachable: err is not an answer from
// it, and no request has received an answer since start. The caller then refuses waiting
// requests. Otherwise each group would wait for its own timeout.
func (s *Store) lost(err error, start time.Time) bool {
	_, unknown := errors.AsType[*unknownError](err)
	return err != nil && isOutage(err) && !isRefused(err) && !isUnsent(err) && !unknown && s.answered.Load() < start.UnixNano()
}

// transactAlone runs a job in a separate transaction, again after each conflict, and sets
// its error. It returns the error that prevented the decision or the commit.
func (s *Store) transactAlone(j *job, patience time.Duration) error {
	start := s.now()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, maxPause) {
		err := s.transact([]*job{j}, func() {}, patience)
		if err == nil {
			return nil // j.err is the result of fn
		}
		if j.tries++; j.tries == maxTries || !isConflict(err) || s.now().Sub(start) > s.wait.roundTrip {
			j.err = domainError(err)
			return err
		}
		time.Sleep(jitter(pause)) // to separate jobs that conflicted
	}
}

func jitter(most time.Duration) time.Duration {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(most))
}

// transact runs the jobs in order in one transaction and sets the error of each.
// If it returns an error itself, nothing was stored; after an unknownError the rows may
// be stored. It takes at most s.wait.roundTrip, plus s.wait.resolve if the result of an
// unanswered COMMIT must be found.
func (s *Store) transact(group []*job, decided func(), patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.wait.roundTrip)
	defer cancel()
	err := s.transactOnce(ctx, group, decided, patience)
	if isStale(err) && ctx.Err() == nil && !s.isLate(err) {
		s.pool.Reset()
		err = s.transactOnce(ctx, group, decided, patience)
	}
	if unknown, ok := errors.AsType[*unknownError](err); ok {
		if unknown.backend != 0 {
			s.pool.Reset()
		}
		return s.resolve(group, unknown)
	}
	return err
}

// isStale reports whether a transaction failed because of its connection, before
// COMMIT was sent: the connection was lost, or leads to a standby. Nothing was stored, so
// the transaction may run again.
func isStale(err error) bool {
	if _, unknown := errors.AsType[*unknownError](err); err == nil || unknown {
		return false
	}
	return !isRefused(err) && !isRowError(err) || sqlState(err) == readOnly
}

// isLate reports whether a machine of distributed tables did not answer in time. Another try
// would wait again, and the other machines may answer.
func (s *Store) isLate(err error) bool {
	return s.spread.Load() && errors.Is(err, context.DeadlineExceeded)
}

// transactOnce runs the jobs in one transaction, without another try. It reads for at most
// half of s.wait.roundTrip, so a second try has time.
func (s *Store) transactOnce(ctx context.Context, group []*job, decided func(), patience time.Duration) error {
	reading, cancel := context.WithTimeout(ctx, s.wait.roundTrip/2)
	defer cancel()
	conn, err := s.pool.Acquire(reading)
	if err != nil {
		return fmt.Errorf("acquire a connection: %w", err)
	}
	defer conn.Release()
	held, err := s.begin(reading, conn.Conn(), group, patience)
	if err == nil {
		err = s.decideAll(ctx, conn.Conn(), held, group, decided)
	}
	if err != nil {
		if isOutage(err) {
			conn.Conn().Close(ctx) // this server is unusable
		} else {
			err = errors.Join(err, s.rollback(ctx, conn.Conn()))
		}
		return err
	}
	s.answered.Store(s.now().UnixNano())
	return nil
}

// decideAll lets each job decide on the rows that were read, and commits all writes.
func (s *Store) decideAll(ctx context.Context, conn *pgx.Conn, held *txRows, group []*job, decided func()) error {
	out := &writes{shared: len(group) > 1, spread: s.spread.Load()}
	for _, j := range group {
		if j.err = held.moved; j.err != nil {
			continue
		}
		tx := &mfa.Tx{Rows: held.rows(j.read)}
		if j.err = j.decide(tx); j.err == nil {
			j.err = held.check(tx.Writes)
		}
		if j.err == nil {
			j.event = held.place(tx.Writes)
			held.apply(out, tx.Writes)
			s.owners.note(tx.Writes)
		}
	}
	decided()
	batch := out.batch()
	switch {
	case batch.Len() > 0:
	case held.synchronous: // the rows that the jobs read must be durable before an answer
		batch.Queue(barrier)
	default:
		return s.rollback(ctx, conn) // there are only locks to release
	}
	return s.end(ctx, conn, batch)
}

// boundLocks limits how long a transaction waits for a lock, and how long the locks of
// a vanished node remain. It does not apply to the whole session, because a pooler may
// share a session. It also reports whether commits wait for a standby.
const boundLocks = `SELECT ` + isSynchronous + `, set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true)`

// boundWorkers adds statements that set the same limits on the workers: Citus sends SET LOCAL
// together with the BEGIN of a worker, but not set_config.
func boundWorkers(batch *pgx.Batch, lock, idle time.Duration) {
	batch.Queue("SET LOCAL citus.propagate_set_commands TO 'local'")
	batch.Queue("SET LOCAL lock_timeout TO '" + milliseconds(lock) + "'")
	batch.Queue("SET LOCAL idle_in_transaction_session_timeout TO '" + milliseconds(idle) + "'")
}

// searchOnly makes the statements of a group look for each row in the index. A plan may
// be cached for a long time. A plan made for a table of few rows would read all rows.
const searchOnly = `set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`

// milliseconds formats d for a setting of PostgreSQL.
func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// begin starts a transaction, and locks and reads all rows that the group decides on,
// in one round trip.
func (s *Store) begin(ctx context.Context, conn *pgx.Conn, group []*job, patience time.Duration) (*txRows, error) {
	h := newTxRows()
	batch := &pgx.Batch{}
	batch.Queue(beginCommitted)
	if s.spread.Load() {
		boundWorkers(batch, patience, s.wait.idle)
	}
	bound, rows := boundLocks, rowsOf(group)
	if len(group) > 1 {
		bound += ", " + searchOnly
	}
	batch.Queue(bound, milliseconds(patience), milliseconds(s.wait.idle)).Query(each(func(row *rowReader) error {
		v := row.next()
		h.synchronous = string(v) == "\x01" || string(v) == "t" // in binary or as text
		return nil
	}))
	batch.Queue(selectMeta, transfer.MetaMoved).Query(each(func(row *rowReader) error {
		h.moved = transfer.Moved(row.bytea())
		return row.err
	}))
	if len(group) > 1 {
		h.readGroup(batch, rows, s.owners.factorOf)
	} else {
		for _, r := range rows {
			h.read(batch, r, forUpdate)
		}
	}
	// Last: readers wait for the transaction from here on, and rows are locked first, so the
	// events of one row are in the order of their transactions.
	batch.Queue(selectPosition).Query(each(func(row *rowReader) error {
		h.position.Epoch, h.position.Counter = row.bigint(), row.bigint()
		return row.err
	}))
	return h, conn.SendBatch(ctx, batch).Close()
}

// end sends the writes and COMMIT in one round trip. After the answer to
// COMMIT all rows are stored, even if the connection breaks. Without an answer to it or to
// a statement before it, COMMIT may have succeeded.
func (s *Store) end(ctx context.Context, conn *pgx.Conn, batch *pgx.Batch) error {
	start := s.now()
	stalled := time.AfterFunc(s.wait.stall, func() { s.stall(start) })
	defer stalled.Stop()
	var answer string
	committing := false // whether the statements before COMMIT have succeeded
	takeWarning(conn)
	batch.Queue("COMMIT").Fn = func(results pgx.BatchResults) error {
		committing = true
		tag, err := results.Exec()
		answer = tag.String()
		return err
	}
	err := conn.SendBatch(ctx, batch).Close()
	switch {
	case answer == "COMMIT" && takeWarning(conn):
		return &unknownError{conn.PgConn().PID(), errUnreplicated}
	case answer == "COMMIT":
		s.committed.Store(s.now().UnixNano())
		return nil
	case answer != "":
		return fmt.Errorf("commit: the server answered %s", answer)
	case committing && s.spread.Load() && isRefused(err) && (sqlState(err) == internalError || isOutage(err)):
		return &unknownError{0, err} // the worker may have committed
	case isRefused(err), isUnsent(err):
		return err
	}
	return &unknownError{conn.PgConn().PID(), err}
}

// isUnsent reports whether a batch failed before any of it was sent.
func isUnsent(err error) bool {
	_, ok := errors.AsType[pgx.ErrPreprocessingBatch](err)
	return ok
}

func (s *Store) rollback(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	_, err := conn.Exec(ctx, "ROLLBACK")
	return err
}

// resolve finds out whether a transaction with an unanswered COMMIT is stored. It looks
// for an event of the transaction. If the event exists, all rows exist, and resolve returns
// nil. If not, the server may still receive COMMIT, so resolve returns unknown: the
// transaction never counts as failed and never runs again. On distributed tables resolve also
// knows whether a worker may still commit the event. If none may, it returns errNotStored.
func (s *Store) resolve(group []*job, unknown *unknownError) error {
	var event *mfa.Event
	for _, j := range group {
		if j.err == nil && j.event != nil {
			event = j.event
			break
		}
	}
	if event == nil {
		return unknown
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.wait.resolve)
	defer cancel()
	for {
		// The order matters: once the server process has ended, its commit is visible.
		running, found := false, false
		var err error
		if unknown.backend != 0 {
			err = s.pool.QueryRow(ctx, isRunning, unknown.backend).Scan(&running)
		}
		if err == nil && s.spread.Load() && !running {
			err = s.onAny(ctx, func(conn *pgx.Conn) (err error) {
				running, err = s.isHeld(ctx, conn, mfa.PositionOf(event.ID).Epoch+1)
				return err
			})
		}
		if err == nil {
			var events []bool
			events, err = collectOn(ctx, s.onAny, func(row *rowReader) (bool, error) { return row.bool(), row.err }, confirmEvent, event.Environment, event.ID, bucket(event.ID))
			found = len(events) > 0
		}
		switch {
		case err == nil && found:
			return nil
		case err == nil && !running && s.spread.Load():
			return errNotStored
		case err == nil && !running:
			return unknown // the result cannot change
		}
		select {
		case <-ctx.Done():
			return unknown
		case <-time.After(resolvePause):
		}
	}
}
