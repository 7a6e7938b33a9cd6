package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

const (
	// Each transaction holds a lock on its own virtual id until it ends.
	selectRunning = `SELECT coalesce(array_agg(l.virtualtransaction), '{}') FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid` +
		` WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND a.datname = current_database() AND l.pid <> pg_backend_pid()`
	countRunning = `SELECT count(*) FROM pg_locks WHERE locktype = 'virtualxid' AND mode = 'ExclusiveLock' AND virtualtransaction = ANY($1)`

	// movedWait bounds how long MarkMoved waits for transactions that have begun.
	movedWait = time.Minute
)

// MarkMoved stores the target that the store was copied to; see transfer.Store. Each
// transaction reads the mark after it has begun. Transactions that begin after MarkMoved
// stores the mark see it. MarkMoved waits for all earlier ones, as CREATE INDEX
// CONCURRENTLY does.
func (s *Store) MarkMoved(ctx context.Context, target string) error {
	if err := s.PutMeta(ctx, transfer.MetaMoved, []byte(target)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, movedWait)
	defer cancel()
	return s.on(ctx, func(conn *pgx.Conn) error {
		var running []string
		if err := conn.QueryRow(ctx, selectRunning).Scan(&running); err != nil {
			return domainError(err)
		}
		for {
			var n int
			if err := conn.QueryRow(ctx, countRunning, running).Scan(&n); err != nil {
				return domainError(err)
			}
			if n == 0 {
				return nil
			}
			select {
			case <-time.After(resolvePause):
			case <-ctx.Done():
				return fmt.Errorf("%d transactions of the database that began before have not ended; end them (pg_stat_activity lists them), then run this again: %w", n, ctx.Err())
			}
		}
	})
}

// An elsewhereTx stores events that concern no factor in a given bucket; see appendEvent.
type elsewhereTx struct {
	pgx.Tx
	bucket mfa.Bucket
}

// change runs fn in a transaction, unless the store was copied to another one. If a machine of
// distributed tables does not work, change tries the event of fn on another machine.
func (s *Store) change(ctx context.Context, fn func(pgx.Tx) error) error {
	failed := false // whether fn has failed, so nothing was committed
	try := func(tx pgx.Tx) error {
		err := fn(tx)
		failed = err != nil
		return err
	}
	err := s.changeOnce(ctx, try)
	if m := s.machines.Load(); m != nil {
		for _, b := range m.buckets {
			if !failed || !isOutage(err) || ctx.Err() != nil {
				break
			}
			failed = false
			err = s.changeOnce(ctx, func(tx pgx.Tx) error { return try(elsewhereTx{tx, mfa.Bucket(b)}) })
		}
	}
	return err
}

func (s *Store) changeOnce(ctx context.Context, fn func(pgx.Tx) error) error {
	return s.begun(ctx, func(tx pgx.Tx) error {
		var target []byte
		switch err := tx.QueryRow(ctx, selectMeta, transfer.MetaMoved).Scan(&target); {
		case err == nil:
			return transfer.Moved(target)
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		return fn(tx)
	})
}
