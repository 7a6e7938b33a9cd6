package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/rows"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

var (
	endpoints  = newTable("webhook_endpoints", rows.Endpoint, "id_hi", "id_lo")
	deliveries = newTable("webhook_deliveries", rows.Delivery, "endpoint_hi", "endpoint_lo", "event_hi", "event_lo")
	attempts   = newTable("webhook_attempts", rows.Attempt, "endpoint_hi", "endpoint_lo", "id_hi", "id_lo")
)

var (
	selectEndpoint     = `SELECT ` + endpoints.columns + ` FROM webhook_endpoints WHERE id_hi = ? AND id_lo = ?`
	selectEndpoints    = `SELECT ` + endpoints.columns + ` FROM webhook_endpoints WHERE environment = ? ORDER BY id_hi, id_lo`
	selectAllEndpoints = `SELECT ` + endpoints.columns + ` FROM webhook_endpoints ORDER BY id_hi, id_lo`
	selectDue          = `SELECT ` + deliveries.columns + ` FROM webhook_deliveries` +
		` WHERE endpoint_hi = ? AND endpoint_lo = ? AND state = 'waiting' AND next_at <= ? ORDER BY event_hi, event_lo LIMIT ?`
	selectAttempts = `SELECT ` + attempts.columns + ` FROM webhook_attempts` +
		` WHERE endpoint_hi = ? AND endpoint_lo = ? AND (id_hi, id_lo) < (?, ?) ORDER BY id_hi DESC, id_lo DESC LIMIT ?`
)

const (
	deleteEndpoint           = `DELETE FROM webhook_endpoints WHERE id_hi = ? AND id_lo = ?`
	deleteEndpointDeliveries = `DELETE FROM webhook_deliveries WHERE endpoint_hi = ? AND endpoint_lo = ?`
	deleteDelivery           = `DELETE FROM webhook_deliveries WHERE endpoint_hi = ? AND endpoint_lo = ? AND event_hi = ? AND event_lo = ?`
	claimEndpoint            = `UPDATE webhook_endpoints SET leased_by_hi = ?, leased_by_lo = ?, leased_until = ?` +
		` WHERE id_hi = ? AND id_lo = ? AND status = 'enabled' AND leased_until <= ?`
	selectDueEndpoints = `SELECT DISTINCT endpoint_hi, endpoint_lo FROM webhook_deliveries WHERE state = 'waiting' AND next_at <= ? LIMIT ?`
	countWaiting       = `SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries WHERE endpoint_hi = ? AND endpoint_lo = ? AND state = 'waiting' LIMIT ?)`
	reschedule         = `UPDATE webhook_deliveries SET state = ?, next_at = ?, attempts = attempts * ?` +
		` WHERE endpoint_hi = ? AND endpoint_lo = ? AND state = ? AND event_at >= ? AND event_at < ?`
	sweepDeliveries = `DELETE FROM webhook_deliveries WHERE (endpoint_hi, endpoint_lo, event_hi, event_lo) IN` +
		` (SELECT endpoint_hi, endpoint_lo, event_hi, event_lo FROM webhook_deliveries WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
	sweepAttempts = `DELETE FROM webhook_attempts WHERE (endpoint_hi, endpoint_lo, id_hi, id_lo) IN` +
		` (SELECT endpoint_hi, endpoint_lo, id_hi, id_lo FROM webhook_attempts WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
)

// changeWebhooks runs fn on the writer. Unlike change, it keeps what the writer remembers of
// factors and challenges, which fn must not change.
func (s *Store) changeWebhooks(ctx context.Context, fn func(*conn) error) error {
	return s.writes.Do(ctx, func(c *conn) error {
		if err := c.recent.mayWrite(c); err != nil {
			return err
		}
		return fn(c)
	})
}

// UpdateEndpoint changes an endpoint and its deliveries; see webhook.Store.
func (s *Store) UpdateEndpoint(ctx context.Context, id webhook.EndpointID, fn func(tx *webhook.Tx) error) error {
	return s.changeWebhooks(ctx, func(c *conn) error {
		stored, err := endpoints.one(c.prepare(selectEndpoint).id(id))
		if err != nil {
			return domainError(err)
		}
		tx := &webhook.Tx{}
		if stored != nil {
			e := *stored
			tx.Endpoint = &e
		}
		if err := fn(tx); err != nil {
			return err
		}
		last, err := appendEvents(c, tx.Events)
		if err == nil {
			err = writeEndpoint(c, id, stored, tx, last)
		}
		if errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) {
			return webhook.ErrDuplicate
		}
		return domainError(err)
	})
}

// appendEvents stores new events and returns the id of the last one.
func appendEvents(c *conn, all []mfa.Event) (last mfa.EventID, err error) {
	for _, e := range all {
		if last, err = c.recent.nextEvent(c, e.At, e.ID.Bucket()); err != nil {
			return last, err
		}
		e.ID = last
		if err := eventRows.bind(c.prepare(eventRows.insert), &e).one(); err != nil {
			return last, err
		}
	}
	return last, nil
}

// writeEndpoint makes the writes of tx. last is the id of its last event.
func writeEndpoint(c *conn, id webhook.EndpointID, stored *webhook.Endpoint, tx *webhook.Tx, last mfa.EventID) (err error) {
	switch e := tx.Endpoint; {
	case e == nil && stored == nil:
	case e == nil:
		if _, err = c.prepare(deleteEndpointDeliveries).id(id).exec(); err == nil {
			err = c.prepare(deleteEndpoint).id(id).one()
		}
	case stored == nil:
		if e.Cursor == (mfa.EventID{}) {
			e.Cursor = last
		}
		err = endpoints.bind(c.prepare(endpoints.insert), e).one()
	default:
		err = endpoints.bind(c.prepare(endpoints.update), e).one()
	}
	if r := tx.Reschedule; err == nil && r != nil {
		keep := int64(1)
		if r.Again {
			keep = 0
		}
		since, until := bounds(r.Since, r.Until)
		_, err = c.prepare(reschedule).string(string(r.To)).time(r.NextAt).int(keep).id(id).string(string(r.From)).int(since).int(until).exec()
	}
	for i := range tx.Put {
		if err == nil {
			err = deliveries.bind(c.prepare(deliveries.put), &tx.Put[i]).one()
		}
	}
	for _, event := range tx.Ended {
		if err == nil {
			_, err = c.prepare(deleteDelivery).id(id).id(event).exec()
		}
	}
	for i := range tx.Attempts {
		if err == nil {
			err = attempts.bind(c.prepare(attempts.insert), &tx.Attempts[i]).one()
		}
	}
	if err != nil {
		return fmt.Errorf("change webhook endpoint %s: %w", id, err)
	}
	return nil
}

// bounds returns the stored form of two times, of which zero means no bound.
func bounds(since, until time.Time) (from, to int64) {
	if to = millis(until); until.IsZero() {
		to = 1<<63 - 1
	}
	return millis(since), to
}

// Endpoint reads an endpoint; see webhook.Store.
func (s *Store) Endpoint(ctx context.Context, id webhook.EndpointID) (found *webhook.Endpoint, err error) {
	err = s.read(ctx, func(c *conn) (err error) {
		found, err = endpoints.one(c.prepare(selectEndpoint).id(id))
		return err
	})
	return found, err
}

// Endpoints lists the endpoints of an environment; see webhook.Store.
func (s *Store) Endpoints(ctx context.Context, env mfa.EnvironmentID) (found []webhook.Endpoint, err error) {
	err = s.read(ctx, func(c *conn) error { return endpoints.list(c.prepare(selectEndpoints).int(int64(env)), &found) })
	return found, err
}

// AllEndpoints lists all endpoints; see webhook.Store.
func (s *Store) AllEndpoints(ctx context.Context) (found []webhook.Endpoint, err error) {
	err = s.scan(ctx, func(c *conn) error { return endpoints.list(c.prepare(selectAllEndpoints), &found) })
	return found, err
}

// ClaimEndpoint leases an endpoint; see webhook.Store.
func (s *Store) ClaimEndpoint(ctx context.Context, id webhook.EndpointID, l webhook.Lease) (found *webhook.Endpoint, err error) {
	err = s.changeWebhooks(ctx, func(c *conn) error {
		found = nil
		n, err := c.prepare(claimEndpoint).id(l.By).time(l.Until).id(id).time(l.Now).exec()
		if err == nil && n == 1 {
			found, err = endpoints.one(c.prepare(selectEndpoint).id(id))
		}
		return domainError(err)
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// DueEndpoints lists endpoints with due deliveries; see webhook.Store.
func (s *Store) DueEndpoints(ctx context.Context, now time.Time, limit int) (found []webhook.EndpointID, err error) {
	err = s.scan(ctx, func(c *conn) error {
		return c.prepare(selectDueEndpoints).time(now).int(int64(limit)).each(func(row *rowReader) error {
			found = append(found, row.id())
			return nil
		})
	})
	return found, err
}

// DueDeliveries lists due deliveries; see webhook.Store.
func (s *Store) DueDeliveries(ctx context.Context, id webhook.EndpointID, now time.Time, limit int) (found []webhook.Delivery, err error) {
	err = s.read(ctx, func(c *conn) error {
		return deliveries.list(c.prepare(selectDue).id(id).time(now).int(int64(limit)), &found)
	})
	return found, err
}

// WaitingDeliveries counts waiting deliveries; see webhook.Store.
func (s *Store) WaitingDeliveries(ctx context.Context, id webhook.EndpointID, limit int) (int, error) {
	return s.count(ctx, func(c *conn) *statement { return c.prepare(countWaiting).id(id).int(int64(limit)) })
}

func (s *Store) count(ctx context.Context, query func(*conn) *statement) (n int, err error) {
	err = s.read(ctx, func(c *conn) error {
		return query(c).each(func(row *rowReader) error {
			n = int(row.int())
			return nil
		})
	})
	return n, err
}

// Attempts lists attempts; see webhook.Store.
func (s *Store) Attempts(ctx context.Context, id webhook.EndpointID, before webhook.AttemptID, limit int) (found []webhook.Attempt, err error) {
	if before == (webhook.AttemptID{}) {
		before = highest
	}
	err = s.read(ctx, func(c *conn) error {
		return attempts.list(c.prepare(selectAttempts).id(id).id(before).int(int64(limit)), &found)
	})
	return found, err
}

// SweepWebhooks removes expired rows; see webhook.Store.
func (s *Store) SweepWebhooks(ctx context.Context, now time.Time, limit int) (more bool, err error) {
	err = s.changeWebhooks(ctx, func(c *conn) error {
		more = false
		for _, sweep := range []string{sweepDeliveries, sweepAttempts} {
			n, err := c.prepare(sweep).time(now).int(int64(limit)).exec()
			if err != nil {
				return domainError(err)
			}
			more = more || n == limit
		}
		return nil
	})
	return more, err
}
