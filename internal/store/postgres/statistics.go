package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/stats"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

var (
	statisticRows     = newTable("statistics", 4, rows.Statistics)
	statisticPosition = newTable("statistics_positions", 2, rows.StatisticsPosition)
)

var (
	selectCounted    = `SELECT ` + statisticPosition.list("p") + ` FROM statistics_positions p WHERE p.bucket = $1 AND p.environment = $2`
	lockCounted      = selectCounted + ` FOR UPDATE`
	selectStatistics = `SELECT ` + statisticRows.list("s") + ` FROM statistics s` +
		` WHERE s.bucket = $1 AND s.environment = $2 AND s.series = $3 AND s.start >= $4 AND s.start < $5 ORDER BY s.start`
	selectStatistic = `SELECT ` + statisticRows.list("s") + ` FROM statistics s` +
		` WHERE s.bucket = $1 AND s.environment = $2 AND s.series = $3 AND s.start = $4`
	putStatistic = statisticRows.insert + ` ON CONFLICT (bucket, environment, series, start) DO UPDATE SET counts = excluded.counts`
)

const (
	// Two nodes that count for the first time lock the same row.
	insertCounted   = `INSERT INTO statistics_positions (bucket, environment) VALUES ($1, $2) ON CONFLICT (bucket, environment) DO NOTHING`
	sweepStatistics = `DELETE FROM statistics WHERE bucket = $1 AND environment = $2 AND series = $3 AND start < $4 AND start IN` +
		` (SELECT start FROM statistics WHERE bucket = $1 AND environment = $2 AND series = $3 AND start < $4 ORDER BY start LIMIT $5)`
	selectHoldings = `SELECT f.environment, f.user_id, f.type, f.suspended_at IS NOT NULL FROM factors f WHERE f.bucket = $1 AND f.user_id IS NOT NULL` +
		` ORDER BY f.environment, f.user_id`
)

// UpdateStatistics changes the counts of an environment; see stats.Store.
func (s *Store) UpdateStatistics(ctx context.Context, env mfa.EnvironmentID, keys []stats.Key, fn func(tx *stats.Tx) error) error {
	if s.stalled.Load() {
		return errStalled
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	b := int16(stats.BucketOf(env))
	return domainError(s.change(ctx, func(db pgx.Tx) error {
		tx := &stats.Tx{Rows: make([]stats.Row, len(keys))}
		batch := &pgx.Batch{}
		batch.Queue(insertCounted, b, env)
		batch.Queue(lockCounted, b, env).Query(each(statisticPosition.scanner(func(p *stats.StoredPosition) { tx.Position = p.Position })))
		for i, key := range keys {
			tx.Rows[i].Key = key
			batch.Queue(selectStatistic, b, env, string(key.Series), key.Start).
				Query(each(statisticRows.scanner(func(r *stats.StoredRow) { tx.Rows[i].Counts = r.Counts })))
		}
		if err := db.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return err
		}
		batch = &pgx.Batch{}
		batch.Queue(statisticPosition.update, statisticPosition.values(&stats.StoredPosition{Environment: env, Position: tx.Position})...)
		for i := range tx.Rows {
			if tx.Rows[i].Counts != nil {
				batch.Queue(putStatistic, statisticRows.values(&stats.StoredRow{Environment: env, Row: tx.Rows[i]})...)
			}
		}
		return db.SendBatch(ctx, batch).Close()
	}))
}

// Position returns how far events are counted; see stats.Store.
func (s *Store) Position(ctx context.Context, env mfa.EnvironmentID) (stats.Position, error) {
	p, err := collectOne(ctx, s, statisticPosition.collected, selectCounted, int16(stats.BucketOf(env)), env)
	if errors.Is(err, pgx.ErrNoRows) {
		return stats.Position{}, nil
	}
	return p.Position, err
}

// Statistics lists rows of counts; see stats.Store.
func (s *Store) Statistics(ctx context.Context, env mfa.EnvironmentID, series stats.Series, from, to time.Time) ([]stats.Row, error) {
	return collect(ctx, s, func(row *rowReader) (stats.Row, error) {
		r, err := statisticRows.collected(row)
		return r.Row, err
	}, selectStatistics, int16(stats.BucketOf(env)), env, string(series), from, to)
}

// SweepStatistics removes old rows of counts; see stats.Store.
func (s *Store) SweepStatistics(ctx context.Context, env mfa.EnvironmentID, series stats.Series, before time.Time, limit int) (more bool, err error) {
	err = s.change(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sweepStatistics, int16(stats.BucketOf(env)), env, string(series), before, limit)
		more = tag.RowsAffected() == int64(limit)
		return err
	})
	return more, domainError(err)
}

// Holdings lists the factors of the users of a bucket; see stats.Store.
func (s *Store) Holdings(ctx context.Context, part int) ([]stats.Holding, error) {
	return collect(ctx, s, func(row *rowReader) (stats.Holding, error) {
		return stats.Holding{Environment: mfa.EnvironmentID(row.bigint()), User: row.text(), Type: mfa.FactorType(row.text()), Suspended: row.bool()}, row.err
	}, selectHoldings, int16(part))
}
