package sqlite

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/stats"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

var (
	statisticRows     = newTable("statistics", rows.Statistics, "environment", "series", "start")
	statisticPosition = newTable("statistics_positions", rows.StatisticsPosition, "environment")
)

var (
	selectCounted    = `SELECT ` + statisticPosition.columns + ` FROM statistics_positions WHERE environment = ?`
	selectStatistic  = `SELECT ` + statisticRows.columns + ` FROM statistics WHERE environment = ? AND series = ? AND start = ?`
	selectStatistics = `SELECT ` + statisticRows.columns + ` FROM statistics WHERE environment = ? AND series = ? AND start >= ? AND start < ? ORDER BY start`
)

const (
	sweepStatistics = `DELETE FROM statistics WHERE (environment, series, start) IN` +
		` (SELECT environment, series, start FROM statistics WHERE environment = ? AND series = ? AND start < ? ORDER BY start LIMIT ?)`
	// The hashes of users are spread evenly, so a range of them is a part of the users. The
	// condition without NULL lets SQLite use the index.
	selectHoldings = `SELECT environment, user_id, type, suspended IS NOT NULL FROM factors WHERE user_hash IS NOT NULL AND user_hash >= ? AND user_hash <= ?` +
		` ORDER BY user_hash`
)

// UpdateStatistics changes the counts of an environment; see stats.Store.
func (s *Store) UpdateStatistics(ctx context.Context, env mfa.EnvironmentID, keys []stats.Key, fn func(tx *stats.Tx) error) error {
	return s.changeWebhooks(ctx, func(c *conn) error {
		tx := new(stats.Tx)
		position, err := statisticPosition.one(c.prepare(selectCounted).int(int64(env)))
		if err != nil {
			return domainError(err)
		}
		if position != nil {
			tx.Position = position.Position
		}
		for _, key := range keys {
			row := stats.Row{Key: key}
			found, err := statisticRows.one(c.prepare(selectStatistic).int(int64(env)).string(string(key.Series)).time(key.Start))
			if err != nil {
				return domainError(err)
			}
			if found != nil {
				row.Counts = found.Counts
			}
			tx.Rows = append(tx.Rows, row)
		}
		before := tx.Position
		if err := fn(tx); err != nil {
			return err
		}
		if tx.Position != before {
			err = statisticPosition.bind(c.prepare(statisticPosition.put), &stats.StoredPosition{Environment: env, Position: tx.Position}).one()
		}
		for i := range tx.Rows {
			if err == nil && tx.Rows[i].Counts != nil {
				err = statisticRows.bind(c.prepare(statisticRows.put), &stats.StoredRow{Environment: env, Row: tx.Rows[i]}).one()
			}
		}
		if err != nil {
			return domainError(fmt.Errorf("change statistics: %w", err))
		}
		return nil
	})
}

// Position returns how far events are counted; see stats.Store.
func (s *Store) Position(ctx context.Context, env mfa.EnvironmentID) (p stats.Position, err error) {
	err = s.read(ctx, func(c *conn) error {
		found, err := statisticPosition.one(c.prepare(selectCounted).int(int64(env)))
		if found != nil {
			p = found.Position
		}
		return err
	})
	return p, err
}

// Statistics lists rows of counts; see stats.Store.
func (s *Store) Statistics(ctx context.Context, env mfa.EnvironmentID, series stats.Series, from, to time.Time) (found []stats.Row, err error) {
	err = s.scan(ctx, func(c *conn) error {
		return c.prepare(selectStatistics).int(int64(env)).string(string(series)).time(from).time(to).each(func(row *rowReader) error {
			r, err := statisticRows.scan(row)
			found = append(found, r.Row)
			return err
		})
	})
	return found, err
}

// SweepStatistics removes old rows of counts; see stats.Store.
func (s *Store) SweepStatistics(ctx context.Context, env mfa.EnvironmentID, series stats.Series, before time.Time, limit int) (more bool, err error) {
	err = s.changeWebhooks(ctx, func(c *conn) error {
		n, err := c.prepare(sweepStatistics).int(int64(env)).string(string(series)).time(before).int(int64(limit)).exec()
		more = n == limit
		return domainError(err)
	})
	return more, err
}

// Holdings lists the factors of a part of all users; see stats.Store.
func (s *Store) Holdings(ctx context.Context, part int) (found []stats.Holding, err error) {
	const size = math.MaxUint64/ids.Buckets + 1 // hashes of a part
	first := math.MinInt64 + int64(part)*size
	err = s.scan(ctx, func(c *conn) error {
		return c.prepare(selectHoldings).int(first).int(first + size - 1).each(func(row *rowReader) error {
			found = append(found, stats.Holding{Environment: mfa.EnvironmentID(row.int()), User: row.text(), Type: mfa.FactorType(row.word()), Suspended: row.int() != 0})
			return row.err
		})
	})
	return found, err
}
