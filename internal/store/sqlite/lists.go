package sqlite

import (
	"bytes"
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

var (
	selectFactorsUp = `SELECT ` + factors.columns + ` FROM factors WHERE user_hash = ? AND environment = ? AND user_id = ?` +
		` AND (hi, lo) > (?, ?) AND (hi, lo) < (?, ?) AND type IS NOT ? ORDER BY hi, lo LIMIT ?`
	selectFactorsDown = `SELECT ` + factors.columns + ` FROM factors WHERE user_hash = ? AND environment = ? AND user_id = ?` +
		` AND (hi, lo) > (?, ?) AND (hi, lo) < (?, ?) AND type IS NOT ? ORDER BY hi DESC, lo DESC LIMIT ?`
	selectFactorsAfter   = `SELECT ` + factors.columns + ` FROM factors WHERE (hi, lo) > (?, ?) ORDER BY hi, lo LIMIT ?`
	selectFactorsByPhone = `SELECT ` + factors.columns + ` FROM factors WHERE phone = ? ORDER BY hi DESC, lo DESC LIMIT ?`
	selectExpired        = `SELECT ` + factors.columns + ` FROM factors WHERE expires_at <= ? ORDER BY expires_at LIMIT ?`
	selectTallies        = `SELECT ` + tallies.columns + ` FROM tallies WHERE environment = ?`
)

// highest is above every id until the year 10889, and the zero id is below every id.
var highest = [16]byte(bytes.Repeat([]byte{0xff}, 16))

// Factors lists factors of one user; see mfa.Store.
func (s *Store) Factors(ctx context.Context, q mfa.FactorQuery) ([]mfa.Factor, error) {
	low, high, sql := q.After, q.Until, selectFactorsUp
	if !q.Ascending {
		low, high, sql = q.Until, q.After, selectFactorsDown
	}
	if high == (mfa.FactorID{}) {
		high = highest
	}
	env := int64(q.User.Environment)
	var found []mfa.Factor
	err := s.read(ctx, func(c *conn) error {
		return factors.list(c.prepare(sql).int(userHash(env, q.User.ID)).int(env).text(q.User.ID).id(low).id(high).word(string(q.Without)).int(int64(q.Limit)), &found)
	})
	return found, err
}

// FactorsAfter lists factors in the order of their ids; see mfa.Store.
func (s *Store) FactorsAfter(ctx context.Context, after mfa.FactorID, limit int) (found []mfa.Factor, err error) {
	err = s.scan(ctx, func(c *conn) error {
		return factors.list(c.prepare(selectFactorsAfter).id(after).int(int64(limit)), &found)
	})
	return found, err
}

// FactorsByPhone lists factors with a phone number; see mfa.Store.
func (s *Store) FactorsByPhone(ctx context.Context, phone mfa.PhoneHash, limit int) (found []mfa.Factor, err error) {
	err = s.scan(ctx, func(c *conn) error {
		return factors.list(c.prepare(selectFactorsByPhone).blob(phone[:]).int(int64(limit)), &found)
	})
	return found, err
}

// ExpiredFactors lists the factors that expired first; see mfa.Store.
func (s *Store) ExpiredFactors(ctx context.Context, at time.Time, limit int) (found []mfa.Factor, err error) {
	err = s.scan(ctx, func(c *conn) error {
		return factors.list(c.prepare(selectExpired).time(at).int(int64(limit)), &found)
	})
	return found, err
}

// Counters lists the tallies of an environment; see mfa.Store.
func (s *Store) Counters(ctx context.Context, env mfa.EnvironmentID) (found []delivery.Counter, err error) {
	err = s.scan(ctx, func(c *conn) error {
		return tallies.list(c.prepare(selectTallies).int(int64(env)), &found)
	})
	return found, err
}

// SQLite is built without DELETE … LIMIT, so these statements use subqueries. Each
// subquery reads a range of a key or an index.
const (
	sweepChallenges = `DELETE FROM challenges WHERE (hi, lo) IN (SELECT hi, lo FROM challenges WHERE (hi, lo) < (?, ?) ORDER BY hi, lo LIMIT ?)`
	sweepContexts   = `DELETE FROM event_contexts WHERE (hi, lo) IN (SELECT hi, lo FROM event_contexts WHERE (hi, lo) < (?, ?) ORDER BY hi, lo LIMIT ?)`
	sweepDeleted    = `DELETE FROM deleted_factors WHERE (hi, lo) IN (SELECT hi, lo FROM deleted_factors WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
	// The erasure of a person is done when nothing of the person is left.
	eraseDueContexts = `DELETE FROM event_contexts WHERE (hi, lo) IN` +
		` (SELECT c.hi, c.lo FROM erasures e CROSS JOIN event_contexts c ON c.person = e.person WHERE e.due_at <= ? LIMIT ?)`
	eraseDueFactors = `DELETE FROM deleted_factors WHERE (hi, lo) IN` +
		` (SELECT d.hi, d.lo FROM erasures e CROSS JOIN deleted_factors d ON d.person = e.person WHERE e.due_at <= ? LIMIT ?)`
	eraseDone = `DELETE FROM erasures WHERE (bucket, person) IN (SELECT bucket, person FROM erasures e WHERE e.due_at <= ?` +
		` AND NOT EXISTS (SELECT 1 FROM event_contexts c WHERE c.person = e.person)` +
		` AND NOT EXISTS (SELECT 1 FROM deleted_factors d WHERE d.person = e.person) ORDER BY e.due_at LIMIT ?)`
	sweepReplays  = `DELETE FROM replays WHERE (bucket, key) IN (SELECT bucket, key FROM replays WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
	sweepPhones   = `DELETE FROM phones WHERE key IN (SELECT key FROM phones WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
	sweepTallies  = `DELETE FROM tallies WHERE (environment, name) IN (SELECT environment, name FROM tallies WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
	sweepUsers    = `DELETE FROM users WHERE (environment, id) IN (SELECT environment, id FROM users WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
	sweepBypasses = `DELETE FROM bypasses WHERE (bucket, key) IN (SELECT bucket, key FROM bypasses WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
	sweepMessages = `DELETE FROM messages WHERE key IN (SELECT key FROM messages WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
)

// Sweep removes expired rows; see mfa.Store.
func (s *Store) Sweep(ctx context.Context, h mfa.Horizon, limit int) (more bool, err error) {
	err = s.change(ctx, func(c *conn) error {
		more = false
		for _, sweep := range []*statement{
			c.prepare(sweepChallenges).id(h.ChallengesBefore()),
			c.prepare(sweepContexts).id(h.EventsBefore()),
			c.prepare(sweepDeleted).time(h.Expired),
			c.prepare(eraseDueContexts).time(h.Expired),
			c.prepare(eraseDueFactors).time(h.Expired),
			c.prepare(eraseDone).time(h.Expired),
			c.prepare(sweepReplays).time(h.Expired),
			c.prepare(sweepPhones).time(h.Expired),
			c.prepare(sweepTallies).time(h.Expired),
			c.prepare(sweepMessages).time(h.Expired),
			c.prepare(sweepUsers).time(h.Expired),
			c.prepare(sweepBypasses).time(h.Expired),
		} {
			n, err := sweep.int(int64(limit)).exec()
			if err != nil {
				return domainError(err)
			}
			more = more || n == limit
		}
		n, err := sweepEvents(c, h.EventsBefore(), limit)
		more = more || n == limit
		return domainError(err)
	})
	if err != nil {
		return more, err
	}
	segments, err := s.segment(ctx, h.EventsBefore())
	return more || segments, err
}
