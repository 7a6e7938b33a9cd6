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

// barrier makes a transaction that only reads wait for the standby when it ends, where
// commits do. A row can be read before the standby has it, but the commit of the
// barrier comes later in the log than that of any row that was read. The message is
// what the commit waits for; nothing reads it. Without synchronous standbys no message
// is written, and a transaction that only reads does not wait.
const barrier = `SELECT CASE WHEN ` + isSynchronous + ` AND NOT pg_is_in_recovery() THEN pg_logical_emit_message(true, 'countersign', '') END`

// errUnreplicated means that a commit stopped waiting for its standby, because an
// administrator canceled the wait. The server reports success and a warning.
var errUnreplicated = fmt.Errorf("%w: the wait for the synchronous standby was canceled", mfa.ErrUnavailable)

// unreplicated is a key of the custom data of a connection that has had that warning.
const unreplicated = "countersign.unreplicated"

// noteWarning remembers a warning that a commit did not wait for its standby. It is
// recognized by the function of the server that sends it: the text is translated, and
// the code is that of any warning.
func noteWarning(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.Routine == "SyncRepWaitForLSN" {
		conn.CustomData()[unreplicated] = true
	}
}

// takeWarning reports whether there was such a warning since the last call.
func takeWarning(conn *pgx.Conn) bool {
	data := conn.PgConn().CustomData()
	_, warned := data[unreplicated]
	delete(data, unreplicated)
	return warned
}

// on is onAny for all but Updates and Views, which have connections of their own. It
// uses only the others.
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

// begun runs fn in a transaction and waits until its commit is durable.
func (s *Store) begun(ctx context.Context, fn func(pgx.Tx) error) error {
	return s.on(ctx, func(conn *pgx.Conn) error { return pgx.BeginFunc(ctx, conn, fn) })
}

// collect returns the rows of a SELECT once they are durable.
func collect[T any](ctx context.Context, s *Store, scan func(*rowReader) (T, error), sql string, args ...any) ([]T, error) {
	if s.stalled.Load() {
		return nil, errStalled
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	return collectOn(ctx, s.on, scan, sql, args...)
}

// collectOn is collect on a connection of on, while commits are stalled too.
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
