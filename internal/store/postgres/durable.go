package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// isSynchronous reports whether commits wait for a standby.
const isSynchronous = `current_setting('synchronous_standby_names') <> ''`

// barrier makes the end of a read-only transaction wait for the standby if commits do. A
// row can be read before the standby has it. The commit of the barrier comes later in the
// log than the commit of any row that was read. The barrier writes a message, because a
// commit without writes would not wait; nothing reads the message. Without synchronous
// standbys no message is written, and a read-only transaction does not wait.
const barrier = `SELECT CASE WHEN ` + isSynchronous + ` AND NOT pg_is_in_recovery() THEN pg_logical_emit_message(true, 'countersign', '') END`

// errUnreplicated means that a commit stopped waiting for its standby because an
// administrator canceled the wait. The server reports success and a warning.
var errUnreplicated = fmt.Errorf("%w: the wait for the synchronous standby was canceled", mfa.ErrUnavailable)

// unreplicated is a key in the custom data of a connection that has received that warning.
const unreplicated = "countersign.unreplicated"

// noteWarning records a warning that a commit did not wait for its standby. It recognizes
// the warning by the server's function that sends it, because the text is translated and
// the code is the same for all warnings.
func noteWarning(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.Routine == "SyncRepWaitForLSN" {
		conn.CustomData()[unreplicated] = true
	}
}

// takeWarning reports whether the connection has received such a warning since the last
// call.
func takeWarning(conn *pgx.Conn) bool {
	data := conn.PgConn().CustomData()
	_, warned := data[unreplicated]
	delete(data, unreplicated)
	return warned
}

// on is onAny for all operations except Updates and Views. Connections are reserved for
// those two; on uses only the rest of the pool.
func (s *Store) on(ctx context.Context, fn func(*pgx.Conn) error) error {
	select {
	case s.others <- struct{}{}:
		defer func() { <-s.others }()
	case <-ctx.Done():
		return fmt.Errorf("wait for a connection: %w", ctx.Err())
	}
	return s.onAny(ctx, fn)
}

// onAny runs fn on a connection of the pool. It returns errUnreplicated if fn succeeds
// and a commit in it did not wait for its standby.
func (s *Store) onAny(ctx context.Context, fn func(*pgx.Conn) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire a connection: %w", err)
	}
	defer conn.Release()
	takeWarning(conn.Conn())
	err = fn(conn.Conn())
	if takeWarning(conn.Conn()) && err == nil {
		err = errUnreplicated
	}
	return err
}

// exec runs one statement and waits until its commit is durable.
func (s *Store) exec(ctx context.Context, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	if s.stalled.Load() {
		return tag, errStalled
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	err = s.on(ctx, func(conn *pgx.Conn) error {
		tag, err = conn.Exec(ctx, sql, args...)
		return err
	})
	return tag, err
}

// beginCommitted begins a transaction in which each statement sees all commits before it. A
// database may set another isolation for its sessions: then a statement after a lock would not
// see the commit for which the lock waited.
const beginCommitted = "BEGIN ISOLATION LEVEL READ COMMITTED"

// begun runs fn in a transaction, as beginCommitted begins one, and waits until its commit is durable.
func (s *Store) begun(ctx context.Context, fn func(pgx.Tx) error) error {
	return s.on(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, fn)
	})
}

// collect returns the rows of a SELECT when they are durable.
func collect[T any](ctx context.Context, s *Store, scan func(*rowReader) (T, error), sql string, args ...any) ([]T, error) {
	if s.stalled.Load() {
		return nil, errStalled
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	return collectOn(ctx, s.on, scan, sql, args...)
}

// collectOn is collect on a connection that on provides. It also works while commits are
// stalled.
func collectOn[T any](ctx context.Context, on func(context.Context, func(*pgx.Conn) error) error, scan func(*rowReader) (T, error), sql string, args ...any) ([]T, error) {
	found, batch := []T{}, &pgx.Batch{}
	batch.Queue(sql, args...).Query(each(func(row *rowReader) error {
		r, err := scan(row)
		found = append(found, r)
		return err
	}))
	batch.Queue(barrier)
	err := on(ctx, func(conn *pgx.Conn) error { return conn.SendBatch(ctx, batch).Close() })
	if err != nil {
		return nil, domainError(err)
	}
	return found, nil
}

// collectOne is collect for a SELECT of at most one row. Without a row it returns
// pgx.ErrNoRows.
func collectOne[T any](ctx context.Context, s *Store, scan func(*rowReader) (T, error), sql string, args ...any) (one T, err error) {
	found, err := collect(ctx, s, scan, sql, args...)
	switch {
	case err != nil:
		return one, err
	case len(found) == 0:
		return one, pgx.ErrNoRows
	}
	return found[0], nil
}
