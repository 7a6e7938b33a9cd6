package postgres

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

var (
	selectFactorsUp = `SELECT ` + factorColumns + ` FROM factors f WHERE f.bucket = $1 AND f.environment = $2 AND f.user_id = $3` +
		` AND f.id > $4 AND f.id < $5 AND f.type <> $6 ORDER BY f.id LIMIT $7`
	selectFactorsDown = `SELECT ` + factorColumns + ` FROM factors f WHERE f.bucket = $1 AND f.environment = $2 AND f.user_id = $3` +
		` AND f.id > $4 AND f.id < $5 AND f.type <> $6 ORDER BY f.id DESC LIMIT $7`
	// This one looks in all buckets, by its key in each shard. No request of the API uses it.
	selectFactorsByPhone = `SELECT ` + factorColumns + ` FROM factors f WHERE f.phone = $1 ORDER BY f.id DESC LIMIT $2`
	selectTallies        = `SELECT ` + tallies.list("y") + ` FROM tallies y WHERE y.bucket = $1 AND y.environment = $2`
	// The same, for factors that expire.
	selectExpired = `SELECT ` + factorColumns + ` FROM factors f WHERE f.expires_at <= $1 ORDER BY f.expires_at LIMIT $2`
	// This one reads all buckets. No request of the API uses it.
	selectFactorsAfter = `SELECT ` + factorColumns + ` FROM factors f WHERE (f.bucket, f.id) > ($1, $2) ORDER BY f.bucket, f.id LIMIT $3`
)

// Factors lists factors of one user; see mfa.Store.
func (s *Store) Factors(ctx context.Context, q mfa.FactorQuery) ([]mfa.Factor, error) {
	from, to, sql := q.After, q.Until, selectFactorsUp
	if !q.Ascending {
		from, to, sql = q.Until, q.After, selectFactorsDown
	}
	if to == (mfa.FactorID{}) {
		for i := range to {
			to[i] = 0xff // higher than any id
		}
	}
	return collect(ctx, s, factors.collected, sql, int16(q.User.Bucket()), q.User.Environment, q.User.ID, from, to, string(q.Without), q.Limit)
}

// FactorsAfter lists factors bucket by bucket; see mfa.Store.
func (s *Store) FactorsAfter(ctx context.Context, after mfa.FactorID, limit int) ([]mfa.Factor, error) {
	return collect(ctx, s, factors.collected, selectFactorsAfter, bucket(after), after, limit)
}

// FactorsByPhone lists factors with a phone number; see mfa.Store.
func (s *Store) FactorsByPhone(ctx context.Context, phone mfa.PhoneHash, limit int) ([]mfa.Factor, error) {
	return collect(ctx, s, factors.collected, selectFactorsByPhone, phone[:], limit)
}

// ExpiredFactors lists the factors that expired first; see mfa.Store.
func (s *Store) ExpiredFactors(ctx context.Context, at time.Time, limit int) ([]mfa.Factor, error) {
	return collect(ctx, s, factors.collected, selectExpired, at, limit)
}

// Counters lists the tallies of an environment; see mfa.Store.
func (s *Store) Counters(ctx context.Context, env mfa.EnvironmentID) ([]delivery.Counter, error) {
	return collect(ctx, s, tallies.collected, selectTallies, int16(delivery.CounterKey{Environment: env}.Bucket()), env)
}
