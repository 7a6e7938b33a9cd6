package sqlite

import (
	"bytes"
	"context"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	selectFactorsUp = `SELECT ` + factorColumns + ` FROM factors f WHERE f.environment = ? AND f.user_id = ?` +
		` AND f.id > ? AND f.id < ? ORDER BY f.id LIMIT ?`
	selectFactorsDown = `SELECT ` + factorColumns + ` FROM factors f WHERE f.environment = ? AND f.user_id = ?` +
		` AND f.id > ? AND f.id < ? ORDER BY f.id DESC LIMIT ?`
	selectFactorsAfter = `SELECT ` + factorColumns + ` FROM factors f WHERE f.id > ? ORDER BY f.id LIMIT ?`
	selectEvents       = `SELECT id, environment, type, factor, challenge, reason FROM events WHERE id > ? ORDER BY id LIMIT ?`
	selectTallies      = `SELECT name, counts, paused_until, expires_at FROM tallies WHERE environment = ?`
)

// Bounds of all ids: no id is as low or as high.
var (
	lowest  = make([]byte, 16)
	highest = bytes.Repeat([]byte{0xff}, 17)
)

// Factors lists factors of one user; see mfa.Store.
func (s *Store) Factors(ctx context.Context, q mfa.FactorQuery) ([]mfa.Factor, error) {
	from, to, sql := q.After, q.Until, selectFactorsUp
	if !q.Ascending {
		from, to, sql = q.Until, q.After, selectFactorsDown
	}
	low, high := lowest, highest
	if from != (mfa.FactorID{}) {
		low = from[:]
	}
	if to != (mfa.FactorID{}) {
		high = to[:]
	}
	return s.factors(ctx, func(c *conn) *statement {
		return c.prepare(sql).int(int64(q.User.Environment)).text(q.User.ID).
			blob(low).blob(high).int(int64(q.Limit))
	})
}

// FactorsAfter lists factors by their ids; see mfa.Store.
func (s *Store) FactorsAfter(ctx context.Context, after mfa.FactorID, limit int) ([]mfa.Factor, error) {
	return s.factors(ctx, func(c *conn) *statement {
		return c.prepare(selectFactorsAfter).blob(after[:]).int(int64(limit))
	})
}

func (s *Store) factors(ctx context.Context, query func(*conn) *statement) (found []mfa.Factor, err error) {
	err = s.read(ctx, func(c *conn) error {
		found = nil
		return query(c).each(func(row *columns) error {
			found = append(found, *scanFactor(row))
			return nil
		})
	})
	return found, err
}

// Events lists events by their ids; see mfa.Store.
func (s *Store) Events(ctx context.Context, after mfa.EventID, limit int) (found []mfa.Event, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.prepare(selectEvents).blob(after[:]).int(int64(limit)).each(func(row *columns) error {
			found = append(found, scanEvent(row))
			return nil
		})
	})
	return found, err
}

func scanEvent(row *columns) mfa.Event {
	return mfa.Event{
		ID:          row.id(),
		Environment: mfa.EnvironmentID(row.int()),
		Type:        mfa.EventType(row.text()),
		Factor:      row.id(),
		Challenge:   row.id(),
		Reason:      row.text(),
	}
}

// Tallies lists the tallies of an environment; see mfa.Store.
func (s *Store) Tallies(ctx context.Context, env mfa.EnvironmentID) (found []mfa.Tally, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.prepare(selectTallies).int(int64(env)).each(func(row *columns) error {
			t := mfa.Tally{TallyKey: mfa.TallyKey{Environment: env, Of: row.text()}}
			err := scanTally(row, &t)
			found = append(found, t)
			return err
		})
	})
	return found, err
}

// SQLite is built without DELETE … LIMIT, hence the subqueries. Each is a range
// of a key or an index.
const (
	sweepChallenges = `DELETE FROM challenges WHERE id IN (SELECT id FROM challenges WHERE id < ? ORDER BY id LIMIT ?)`
	sweepEvents     = `DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < ? ORDER BY id LIMIT ?)`
	sweepReplays    = `DELETE FROM replays WHERE (bucket, key) IN (SELECT bucket, key FROM replays WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
	sweepPhones     = `DELETE FROM phones WHERE key IN (SELECT key FROM phones WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
	sweepTallies    = `DELETE FROM tallies WHERE (environment, name) IN (SELECT environment, name FROM tallies WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
	sweepMessages   = `DELETE FROM messages WHERE key IN (SELECT key FROM messages WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
)

// Sweep removes rows that have outlived h; see mfa.Store.
func (s *Store) Sweep(ctx context.Context, h mfa.Horizon, limit int) (more bool, err error) {
	err = s.write(ctx, func(c *conn) error {
		more = false
		for _, sweep := range []*statement{
			c.prepare(sweepChallenges).id(h.ChallengesBefore()),
			c.prepare(sweepEvents).id(h.EventsBefore()),
			c.prepare(sweepReplays).time(h.Expired),
			c.prepare(sweepPhones).time(h.Expired),
			c.prepare(sweepTallies).time(h.Expired),
			c.prepare(sweepMessages).time(h.Expired),
		} {
			n, err := sweep.int(int64(limit)).exec()
			if err != nil {
				return domainError(err)
			}
			more = more || n == limit
		}
		return nil
	})
	return more, err
}
