package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	selectFactorsUp = `SELECT ` + factorColumns + ` FROM factors f WHERE f.bucket = $1 AND f.environment = $2 AND f.user_id = $3` +
		` AND f.id > $4 AND f.id < $5 ORDER BY f.id LIMIT $6`
	selectFactorsDown = `SELECT ` + factorColumns + ` FROM factors f WHERE f.bucket = $1 AND f.environment = $2 AND f.user_id = $3` +
		` AND f.id > $4 AND f.id < $5 ORDER BY f.id DESC LIMIT $6`
	selectTallies = `SELECT name, sealed, counts, paused_until, expires_at FROM tallies WHERE bucket = $1 AND environment = $2`
	// These two go through all buckets, and are no part of any request.
	selectFactorsAfter = `SELECT ` + factorColumns + ` FROM factors f WHERE (f.bucket, f.id) > ($1, $2) ORDER BY f.bucket, f.id LIMIT $3`
	selectEventsAfter  = `SELECT id, environment, type, factor, challenge, coalesce(reason, '') FROM events` +
		` WHERE (bucket, id) > ($1, $2) ORDER BY bucket, id LIMIT $3`
)

// Factors lists factors of one user; see mfa.Store.
func (s *Store) Factors(ctx context.Context, q mfa.FactorQuery) ([]mfa.Factor, error) {
	from, to, sql := q.After, q.Until, selectFactorsUp
	if !q.Ascending {
		from, to, sql = q.Until, q.After, selectFactorsDown
	}
	if to == (mfa.FactorID{}) {
		for i := range to {
			to[i] = 0xff // no id is as high
		}
	}
	return s.factors(ctx, sql, int16(q.User.Bucket()), q.User.Environment, q.User.ID, from, to, q.Limit)
}

func (s *Store) factors(ctx context.Context, sql string, args ...any) ([]mfa.Factor, error) {
	return collect(ctx, s, func(row pgx.CollectableRow) (mfa.Factor, error) {
		cells := cellsOf(row)
		f := cells.factor()
		return *f, cells.err
	}, sql, args...)
}

// FactorsAfter lists factors bucket by bucket; see mfa.Store.
func (s *Store) FactorsAfter(ctx context.Context, after mfa.FactorID, limit int) ([]mfa.Factor, error) {
	return s.factors(ctx, selectFactorsAfter, bucket(after), after, limit)
}

// Tallies lists the tallies of an environment; see mfa.Store.
func (s *Store) Tallies(ctx context.Context, env mfa.EnvironmentID) ([]mfa.Tally, error) {
	return collect(ctx, s, func(row pgx.CollectableRow) (t mfa.Tally, err error) {
		t.Environment = env
		err = row.Scan(tallyFields(&t)...)
		return t, err
	}, selectTallies, int16(mfa.TallyKey{Environment: env}.Bucket()), env)
}

// Events lists events bucket by bucket; see mfa.Store.
func (s *Store) Events(ctx context.Context, after mfa.EventID, limit int) ([]mfa.Event, error) {
	return collect(ctx, s, scanEvent, selectEventsAfter, bucket(after), after, limit)
}

func scanEvent(row pgx.CollectableRow) (e mfa.Event, err error) {
	var factor, challenge *[16]byte
	if err := row.Scan(&e.ID, &e.Environment, &e.Type, &factor, &challenge, &e.Reason); err != nil {
		return e, fmt.Errorf("scan an event: %w", err)
	}
	if factor != nil {
		e.Factor = *factor
	}
	if challenge != nil {
		e.Challenge = *challenge
	}
	return e, nil
}
