package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	sweepChallenges = `DELETE FROM challenges WHERE bucket = $1 AND id IN (SELECT id FROM challenges WHERE bucket = $1 AND id < $2 ORDER BY id LIMIT $3)`
	// A hash-distributed PostgreSQL cannot run a DELETE with LIMIT over all shards.
	selectOldEvents = `SELECT e.id FROM events e WHERE e.environment = $1 AND e.id < $2 ORDER BY e.id LIMIT $3`
	sweepEvents     = `DELETE FROM events WHERE environment = $1 AND id >= $2 AND id <= $3`
	// The condition is repeated outside the subquery for a row that another transaction
	// has just changed: the row may be in use again.
	sweepReplays  = `DELETE FROM replays WHERE bucket = $1 AND expires_at <= $2 AND key IN (SELECT key FROM replays WHERE bucket = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)`
	sweepPhones   = `DELETE FROM phones WHERE bucket = $1 AND expires_at <= $2 AND key IN (SELECT key FROM phones WHERE bucket = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)`
	sweepTallies  = `DELETE FROM tallies WHERE bucket = $1 AND expires_at <= $2 AND (environment, name) IN (SELECT environment, name FROM tallies WHERE bucket = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)`
	sweepUsers    = `DELETE FROM users WHERE bucket = $1 AND expires_at <= $2 AND (environment, id) IN (SELECT environment, id FROM users WHERE bucket = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)`
	sweepBypasses = `DELETE FROM bypasses WHERE bucket = $1 AND expires_at <= $2 AND key IN (SELECT key FROM bypasses WHERE bucket = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)`
	sweepMessages = `DELETE FROM messages WHERE bucket = $1 AND expires_at <= $2 AND key IN (SELECT key FROM messages WHERE bucket = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)`

	selectOldContexts = `SELECT c.id FROM event_contexts c WHERE c.id < $1 ORDER BY c.id LIMIT $2`
	sweepContexts     = `DELETE FROM event_contexts WHERE id >= $1 AND id <= $2`
	selectOldDeleted  = `SELECT d.bucket, d.id FROM deleted_factors d WHERE d.expires_at <= $1 ORDER BY d.expires_at LIMIT $2`
	sweepDeleted      = `DELETE FROM deleted_factors WHERE bucket = $1 AND id = $2`
	selectDueErasures = `SELECT e.bucket, e.person FROM erasures e WHERE e.due_at <= $1 ORDER BY e.due_at LIMIT $2`
	eraseSomeContexts = `DELETE FROM event_contexts WHERE bucket = $1 AND id IN (SELECT id FROM event_contexts WHERE bucket = $1 AND person = $2 LIMIT $3)`

	// sweepLock keeps other nodes from sweeping at the same time. The lock ends with
	// its transaction, so it also works through a pooler.
	sweepLock    = `SELECT pg_try_advisory_xact_lock($1), clock_timestamp()`
	sweepLockKey = 0x636f756e74737731 // "countsw1"

	bucketsAStep = 64
)

// Sweep removes expired rows from the next few buckets; see mfa.Store. One node
// sweeps at a time; on the others Sweep does nothing. If the clock of the database is
// behind the clock of the node, rows expire by the clock of the database.
func (s *Store) Sweep(ctx context.Context, h mfa.Horizon, limit int) (more bool, err error) {
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	if s.spread.Load() {
		return s.sweepNextShard(ctx, h, limit)
	}
	buckets := min(bucketsAStep, limit, mfa.Buckets-s.sweeping)
	var full bool
	sweep := func(fn func(pgx.Tx, mfa.Horizon) (bool, error)) error {
		return s.change(ctx, func(tx pgx.Tx) error {
			var now time.Time
			if err := tx.QueryRow(ctx, sweepLock, int64(sweepLockKey)).Scan(&more, &now); err != nil || !more {
				return err
			}
			h := h
			if ahead := h.Now.Sub(now); !h.Now.IsZero() && ahead > 0 {
				h = h.Earlier(ahead)
			}
			still, err := fn(tx, h)
			full = full || still
			return err
		})
	}
	err = sweep(func(tx pgx.Tx, h mfa.Horizon) (bool, error) {
		return sweepBuckets(ctx, tx, s.sweeping, buckets, h, limit/buckets)
	})
	if err == nil && more && s.sweeping == 0 {
		err = sweep(func(tx pgx.Tx, h mfa.Horizon) (bool, error) { return sweepAllEvents(ctx, tx, h, limit) })
		if err == nil && more {
			err = sweep(func(tx pgx.Tx, h mfa.Horizon) (bool, error) { return sweepPersons(ctx, tx, h, limit) })
		}
	}
	if err != nil || !more {
		return false, domainError(err)
	}
	if !full {
		s.sweeping = (s.sweeping + buckets) % mfa.Buckets
	}
	return full || s.sweeping != 0, nil
}

// sweepBuckets removes up to limit rows of each kind from each of n buckets, and
// reports whether a bucket may have more expired rows.
func sweepBuckets(ctx context.Context, tx pgx.Tx, first, n int, h mfa.Horizon, limit int) (full bool, err error) {
	batch := &pgx.Batch{}
	count := func(tag pgconn.CommandTag) error {
		full = full || tag.RowsAffected() == int64(limit)
		return nil
	}
	for b := first; b < first+n; b++ {
		batch.Queue(sweepChallenges, int16(b), h.ChallengesBefore(), limit).Exec(count)
		batch.Queue(sweepReplays, int16(b), h.Expired, limit).Exec(count)
		batch.Queue(sweepPhones, int16(b), h.Expired, limit).Exec(count)
		batch.Queue(sweepTallies, int16(b), h.Expired, limit).Exec(count)
		batch.Queue(sweepUsers, int16(b), h.Expired, limit).Exec(count)
		batch.Queue(sweepMessages, int16(b), h.Expired, limit).Exec(count)
		batch.Queue(sweepBypasses, int16(b), h.Expired, limit).Exec(count)
	}
	return full, tx.SendBatch(ctx, batch).Close()
}

// sweepAllEvents removes up to limit events, and reports whether there may be more expired
// events.
func sweepAllEvents(ctx context.Context, tx pgx.Tx, h mfa.Horizon, limit int) (full bool, err error) {
	environments, err := eventEnvironments(ctx, tx)
	if err != nil {
		return false, err
	}
	swept := 0
	for _, env := range environments {
		old, err := query(ctx, tx, pgx.RowTo[[16]byte], selectOldEvents, env, h.EventsBefore(), limit-swept)
		if err != nil {
			return false, err
		}
		if len(old) == 0 {
			continue
		}
		if _, err := tx.Exec(ctx, sweepEvents, env, old[0], old[len(old)-1]); err != nil {
			return false, err
		}
		if swept += len(old); swept == limit {
			return true, nil
		}
	}
	return false, nil
}

// sweepPersons removes up to limit expired contexts and deleted factors each, and erases
// persons who are due, up to limit contexts. It reports whether there may be more.
func sweepPersons(ctx context.Context, tx pgx.Tx, h mfa.Horizon, limit int) (full bool, err error) {
	old, err := query(ctx, tx, pgx.RowTo[[16]byte], selectOldContexts, h.EventsBefore(), limit)
	if err != nil {
		return false, err
	}
	if len(old) > 0 {
		if _, err := tx.Exec(ctx, sweepContexts, old[0], old[len(old)-1]); err != nil {
			return false, err
		}
	}
	deleted, err := query(ctx, tx, pgx.RowToStructByPos[struct {
		Bucket int16
		ID     [16]byte
	}], selectOldDeleted, h.Expired, limit)
	if err != nil {
		return false, err
	}
	for _, d := range deleted {
		if _, err := tx.Exec(ctx, sweepDeleted, d.Bucket, d.ID); err != nil {
			return false, err
		}
	}
	full, err = eraseDue(ctx, tx, limit, selectDueErasures, h.Expired, limit)
	return full || len(old) == limit || len(deleted) == limit, err
}

// eraseDue erases the persons that a statement selects, up to limit contexts, and reports
// whether there may be more.
func eraseDue(ctx context.Context, tx pgx.Tx, limit int, sql string, args ...any) (full bool, err error) {
	due, err := query(ctx, tx, pgx.RowToStructByPos[struct {
		Bucket int16
		ID     []byte
	}], sql, args...)
	if err != nil {
		return false, err
	}
	erased := 0
	for _, e := range due {
		tag, err := tx.Exec(ctx, eraseSomeContexts, e.Bucket, e.ID, limit-erased)
		if err != nil {
			return false, err
		}
		if erased += int(tag.RowsAffected()); erased == limit {
			return true, nil // the erasure stays until nothing of the person is left
		}
		for _, sql := range []string{eraseFactors, cancelErasure} {
			if _, err := tx.Exec(ctx, sql, e.Bucket, e.ID); err != nil {
				return false, err
			}
		}
	}
	return len(due) == limit, nil
}

func query[T any](ctx context.Context, tx pgx.Tx, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}
