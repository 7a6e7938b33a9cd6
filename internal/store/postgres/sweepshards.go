package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// The statements of the sweep of one shard: $1 are all its buckets, so Citus sends each of
// them to one machine, and the transaction needs no two-phase commit.
var (
	shardSweeps = []struct {
		sql    string
		before func(mfa.Horizon) any
	}{
		{sweepShard("challenges", "id", "id < $2"), func(h mfa.Horizon) any { return h.ChallengesBefore() }},
		{sweepShard("replays", "key", "expires_at <= $2"), expired},
		{sweepShard("phones", "key", "expires_at <= $2"), expired},
		{sweepShard("tallies", "environment, name", "expires_at <= $2"), expired},
		{sweepShard("users", "environment, id", "expires_at <= $2"), expired},
		{sweepShard("messages", "key", "expires_at <= $2"), expired},
		{sweepShard("bypasses", "key", "expires_at <= $2"), expired},
		{sweepShard("event_contexts", "id", "id < $2"), func(h mfa.Horizon) any { return h.EventsBefore() }},
		{sweepShard("deleted_factors", "id", "expires_at <= $2"), expired},
	}
	sweepShardEvents = sweepShard("events", "environment, id", "environment = $4 AND id < $2")
)

const (
	nextShardEnvironment   = `SELECT e.environment FROM events e WHERE e.bucket = ANY($1::smallint[]) AND e.environment > $2 ORDER BY e.environment LIMIT 1`
	selectDueShardErasures = `SELECT e.bucket, e.person FROM erasures e WHERE e.bucket = ANY($1::smallint[]) AND e.due_at <= $2 ORDER BY e.due_at LIMIT $3`
	errorsOfSweep          = "%w: the sweep has left out the buckets of %d machines"
	noEnvironment          = mfa.EnvironmentID(-1)
)

func expired(h mfa.Horizon) any { return h.Expired }

// sweepShard returns a statement that deletes up to $3 rows of a table. It repeats the
// condition: a row that another transaction has just changed may be in use again.
func sweepShard(table, key, condition string) string {
	where := "bucket = ANY($1::smallint[]) AND " + condition
	columns := "bucket, " + key
	return strings.Join([]string{"DELETE FROM", table, "WHERE", where, "AND (" + columns + ") IN (SELECT", columns, "FROM", table, "WHERE", where, "LIMIT $3)"}, " ")
}

// sweepNextShard removes expired rows from the next shard of distributed tables; see Sweep. A
// machine that does not work keeps its rows until the next pass.
func (s *Store) sweepNextShard(ctx context.Context, h mfa.Horizon, limit int) (more bool, err error) {
	if err := s.locate(ctx); err != nil {
		return false, err
	}
	m := s.machines.Load()
	if m == nil || len(m.byShard) == 0 {
		return false, errMoving
	}
	if s.sweeping >= len(m.byShard) {
		s.sweeping = 0
	}
	if s.sweeping == 0 {
		s.unswept = make(map[int32]error)
	}
	buckets := m.byShard[s.sweeping]
	machine := m.of[buckets[0]]
	if s.unswept[machine] == nil {
		mine, full, err := s.sweepOneShard(ctx, buckets, h, limit)
		switch {
		case err != nil && isOutage(err) && ctx.Err() == nil:
			s.unswept[machine] = err
		case err != nil:
			return false, domainError(err)
		case !mine:
			return false, nil
		case full:
			return true, nil
		}
	}
	if s.sweeping = (s.sweeping + 1) % len(m.byShard); s.sweeping != 0 {
		return true, nil
	}
	for _, err := range s.unswept {
		return false, fmt.Errorf("sweep without %d machines: %w", len(s.unswept), domainError(err))
	}
	return false, nil
}

// sweepOneShard sweeps the buckets of a shard in one transaction. mine is false if another
// node sweeps; full means that there may be more expired rows.
func (s *Store) sweepOneShard(ctx context.Context, buckets []int16, h mfa.Horizon, limit int) (mine, full bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	err = s.changeOnce(ctx, func(tx pgx.Tx) error {
		var now time.Time
		if err := tx.QueryRow(ctx, sweepLock, int64(sweepLockKey)).Scan(&mine, &now); err != nil || !mine {
			return err
		}
		h := h
		if ahead := h.Now.Sub(now); !h.Now.IsZero() && ahead > 0 {
			h = h.Earlier(ahead)
		}
		batch := &pgx.Batch{}
		count := func(tag pgconn.CommandTag) error {
			full = full || tag.RowsAffected() == int64(limit)
			return nil
		}
		for _, sweep := range shardSweeps {
			batch.Queue(sweep.sql, buckets, sweep.before(h), limit).Exec(count)
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		for env := noEnvironment; ; {
			switch err := tx.QueryRow(ctx, nextShardEnvironment, buckets, env).Scan(&env); {
			case errors.Is(err, pgx.ErrNoRows):
				still, err := eraseDue(ctx, tx, limit, selectDueShardErasures, buckets, h.Expired, limit)
				full = full || still
				return err
			case err != nil:
				return err
			}
			tag, err := tx.Exec(ctx, sweepShardEvents, buckets, h.EventsBefore(), limit, env)
			if err != nil {
				return err
			}
			if err := count(tag); err != nil {
				return err
			}
		}
	})
	return mine, full, err
}
