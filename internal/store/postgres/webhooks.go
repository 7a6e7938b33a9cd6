package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/rows"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

var (
	endpoints  = newTable("webhook_endpoints", 2, rows.Endpoint)
	deliveries = newTable("webhook_deliveries", 3, rows.Delivery)
	attempts   = newTable("webhook_attempts", 3, rows.Attempt)
)

var (
	selectEndpoint     = `SELECT ` + endpoints.list("w") + ` FROM webhook_endpoints w WHERE w.bucket = $1 AND w.id = $2`
	lockEndpoint       = selectEndpoint + ` FOR UPDATE`
	selectEndpoints    = `SELECT ` + endpoints.list("w") + ` FROM webhook_endpoints w WHERE w.bucket = $1 AND w.environment = $2 ORDER BY w.id`
	selectAllEndpoints = `SELECT ` + endpoints.list("w") + ` FROM webhook_endpoints w`
	selectDue          = `SELECT ` + deliveries.list("d") + ` FROM webhook_deliveries d` +
		` WHERE d.bucket = $1 AND d.endpoint = $2 AND d.state = 'waiting' AND d.next_at <= $3 ORDER BY d.event LIMIT $4`
	selectAttempts = `SELECT ` + attempts.list("a") + ` FROM webhook_attempts a` +
		` WHERE a.bucket = $1 AND a.endpoint = $2 AND a.id < $3 ORDER BY a.id DESC LIMIT $4`
	putDelivery = deliveries.insert + ` ON CONFLICT (bucket, endpoint, event) DO UPDATE SET event_at = excluded.event_at, state = excluded.state,` +
		` attempts = excluded.attempts, next_at = excluded.next_at, expires_at = excluded.expires_at`
)

const (
	deleteEndpoint           = `DELETE FROM webhook_endpoints WHERE bucket = $1 AND id = $2`
	deleteEndpointDeliveries = `DELETE FROM webhook_deliveries WHERE bucket = $1 AND endpoint = $2`
	deleteDelivery           = `DELETE FROM webhook_deliveries WHERE bucket = $1 AND endpoint = $2 AND event = $3`
	claimEndpoint            = `UPDATE webhook_endpoints SET leased_by = $3, leased_until = $4` +
		` WHERE bucket = $1 AND id = $2 AND status = 'enabled' AND (leased_until IS NULL OR leased_until <= $5)`
	// This one reads all buckets. No request of the API uses it.
	selectDueEndpoints = `SELECT DISTINCT endpoint FROM webhook_deliveries WHERE state = 'waiting' AND next_at <= $1 LIMIT $2`
	countWaiting       = `SELECT count(*) FROM (SELECT FROM webhook_deliveries WHERE bucket = $1 AND endpoint = $2 AND state = 'waiting' LIMIT $3) AS found`
	reschedule         = `UPDATE webhook_deliveries SET state = $3, next_at = $4, attempts = attempts * $5` +
		` WHERE bucket = $1 AND endpoint = $2 AND state = $6 AND event_at >= $7 AND event_at < $8`
	sweepDeliveries = `DELETE FROM webhook_deliveries WHERE bucket = $1 AND expires_at <= $2 AND (endpoint, event) IN` +
		` (SELECT endpoint, event FROM webhook_deliveries WHERE bucket = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)`
	sweepAttempts = `DELETE FROM webhook_attempts WHERE bucket = $1 AND expires_at <= $2 AND (endpoint, id) IN` +
		` (SELECT endpoint, id FROM webhook_attempts WHERE bucket = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)`
	boundIdle = `SELECT set_config('idle_in_transaction_session_timeout', $1, true)`
	// The buckets that have expired rows, also of deleted endpoints.
	selectExpiredBuckets = `SELECT DISTINCT bucket FROM webhook_deliveries WHERE expires_at <= $1` +
		` UNION SELECT DISTINCT bucket FROM webhook_attempts WHERE expires_at <= $1`
)

// UpdateEndpoint changes an endpoint and its deliveries; see webhook.Store.
func (s *Store) UpdateEndpoint(ctx context.Context, id webhook.EndpointID, fn func(tx *webhook.Tx) error) error {
	if s.stalled.Load() {
		return errStalled
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	err := s.change(ctx, func(db pgx.Tx) error {
		stored, err := first(ctx, db, endpoints, lockEndpoint, bucket(id), id)
		if err != nil {
			return err
		}
		tx := &webhook.Tx{}
		if stored != nil {
			e := *stored
			tx.Endpoint = &e
		}
		if err := fn(tx); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		last, err := s.queueEvents(ctx, db, batch, tx.Events)
		if err != nil {
			return err
		}
		queueEndpoint(batch, id, stored, tx, last)
		return db.SendBatch(ctx, batch).Close()
	})
	if sqlState(err) == uniqueViolation {
		return webhook.ErrDuplicate
	}
	return domainError(err)
}

// first returns the first row of a query, or nil.
func first[R any](ctx context.Context, db pgx.Tx, t *table[R], sql string, args ...any) (found *R, err error) {
	batch := &pgx.Batch{}
	batch.Queue(sql, args...).Query(each(t.scanner(func(r *R) { found = r })))
	return found, db.SendBatch(ctx, batch).Close()
}

// queueEvents adds the inserts of new events and returns the id of the last one. The row of
// the transaction is locked before: see txRows.place.
func (s *Store) queueEvents(ctx context.Context, db pgx.Tx, batch *pgx.Batch, all []mfa.Event) (last mfa.EventID, err error) {
	if len(all) == 0 {
		return last, nil
	}
	// The events of all nodes wait for this transaction from here on.
	if _, err := db.Exec(ctx, boundIdle, milliseconds(s.wait.idle)); err != nil {
		return last, err
	}
	var p mfa.Position
	if err := db.QueryRow(ctx, selectPosition).Scan(&p.Epoch, &p.Counter); err != nil {
		return last, err
	}
	for _, e := range all {
		e.ID = p.ID(e.ID.Bucket())
		p.Ordinal++
		batch.Queue(eventRows.insert+holdEvent, eventRows.values(&e)...)
		last = e.ID
	}
	return last, nil
}

// queueEndpoint adds the writes of tx. last is the id of its last event.
func queueEndpoint(batch *pgx.Batch, id webhook.EndpointID, stored *webhook.Endpoint, tx *webhook.Tx, last mfa.EventID) {
	switch e := tx.Endpoint; {
	case e == nil && stored == nil:
	case e == nil:
		batch.Queue(deleteEndpointDeliveries, bucket(id), id)
		batch.Queue(deleteEndpoint, bucket(id), id)
	case stored == nil:
		if e.Cursor == (mfa.EventID{}) {
			e.Cursor = last
		}
		batch.Queue(endpoints.insert, endpoints.values(e)...)
	default:
		batch.Queue(endpoints.update, endpoints.values(e)...)
	}
	if r := tx.Reschedule; r != nil {
		keep := 1
		if r.Again {
			keep = 0
		}
		since, until := bounds(r.Since, r.Until)
		batch.Queue(reschedule, bucket(id), id, string(r.To), r.NextAt, keep, string(r.From), since, until)
	}
	for i := range tx.Put {
		batch.Queue(putDelivery, deliveries.values(&tx.Put[i])...)
	}
	for _, event := range tx.Ended {
		batch.Queue(deleteDelivery, bucket(id), id, event)
	}
	for i := range tx.Attempts {
		batch.Queue(attempts.insert, attempts.values(&tx.Attempts[i])...)
	}
}

// bounds returns two times, of which zero means no bound.
func bounds(since, until time.Time) (from, to time.Time) {
	if until.IsZero() {
		until = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return since, until
}

// Endpoint reads an endpoint; see webhook.Store.
func (s *Store) Endpoint(ctx context.Context, id webhook.EndpointID) (*webhook.Endpoint, error) {
	e, err := collectOne(ctx, s, endpoints.collected, selectEndpoint, bucket(id), id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &e, nil
}

// Endpoints lists the endpoints of an environment; see webhook.Store.
func (s *Store) Endpoints(ctx context.Context, env mfa.EnvironmentID) ([]webhook.Endpoint, error) {
	return collect(ctx, s, endpoints.collected, selectEndpoints, int16(webhook.BucketOf(env)), env)
}

// AllEndpoints lists all endpoints; see webhook.Store.
func (s *Store) AllEndpoints(ctx context.Context) ([]webhook.Endpoint, error) {
	return collect(ctx, s, endpoints.collected, selectAllEndpoints)
}

// ClaimEndpoint leases an endpoint; see webhook.Store.
func (s *Store) ClaimEndpoint(ctx context.Context, id webhook.EndpointID, l webhook.Lease) (found *webhook.Endpoint, err error) {
	if s.stalled.Load() {
		return nil, errStalled
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	err = s.change(ctx, func(db pgx.Tx) error {
		tag, err := db.Exec(ctx, claimEndpoint, bucket(id), id, l.By, l.Until, l.Now)
		if err == nil && tag.RowsAffected() == 1 {
			found, err = first(ctx, db, endpoints, selectEndpoint, bucket(id), id)
		}
		return err
	})
	if err != nil {
		return nil, domainError(err)
	}
	return found, nil
}

// DueEndpoints lists endpoints with due deliveries; see webhook.Store.
func (s *Store) DueEndpoints(ctx context.Context, now time.Time, limit int) ([]webhook.EndpointID, error) {
	return collect(ctx, s, func(row *rowReader) (webhook.EndpointID, error) { return row.uuid(), row.err }, selectDueEndpoints, now, limit)
}

// DueDeliveries lists due deliveries; see webhook.Store.
func (s *Store) DueDeliveries(ctx context.Context, id webhook.EndpointID, now time.Time, limit int) ([]webhook.Delivery, error) {
	return collect(ctx, s, deliveries.collected, selectDue, bucket(id), id, now, limit)
}

// WaitingDeliveries counts waiting deliveries; see webhook.Store.
func (s *Store) WaitingDeliveries(ctx context.Context, id webhook.EndpointID, limit int) (int, error) {
	return collectOne(ctx, s, scanCount, countWaiting, bucket(id), id, limit)
}

func scanCount(row *rowReader) (int, error) { return int(row.bigint()), row.err }

// Attempts lists attempts; see webhook.Store.
func (s *Store) Attempts(ctx context.Context, id webhook.EndpointID, before webhook.AttemptID, limit int) ([]webhook.Attempt, error) {
	if before == (webhook.AttemptID{}) {
		for i := range before {
			before[i] = 0xff // higher than any id
		}
	}
	return collect(ctx, s, attempts.collected, selectAttempts, bucket(id), id, before, limit)
}

// SweepWebhooks removes expired rows; see webhook.Store.
func (s *Store) SweepWebhooks(ctx context.Context, now time.Time, limit int) (more bool, err error) {
	buckets, err := collect(ctx, s, func(row *rowReader) (int16, error) { return row.smallint(), row.err }, selectExpiredBuckets, now)
	if err != nil {
		return false, err
	}
	for _, b := range buckets {
		for _, sweep := range []string{sweepDeliveries, sweepAttempts} {
			err := s.change(ctx, func(tx pgx.Tx) error {
				tag, err := tx.Exec(ctx, sweep, b, now, limit)
				more = more || tag.RowsAffected() == int64(limit)
				return err
			})
			if err != nil {
				return false, domainError(err)
			}
		}
	}
	return more, nil
}
