package sqlite

import (
	"context"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

const (
	exportEnvironments = `SELECT id, name, production, created_at FROM environments WHERE id > ? ORDER BY id LIMIT ?`
	exportKeys         = `SELECT k.hash, k.id, k.hint, k.created_at, k.revoked_at, e.id, e.name, e.production` +
		` FROM api_keys k JOIN environments e ON e.id = k.environment WHERE k.hash > ? ORDER BY k.hash LIMIT ?`
	exportMeta        = `SELECT name, value FROM meta WHERE name > ? ORDER BY name LIMIT ?`
	importEnvironment = `INSERT INTO environments (id, name, production, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
	importKey         = `INSERT INTO api_keys (hash, id, environment, hint, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (hash) DO NOTHING`
	deleteMeta        = `DELETE FROM meta WHERE name = ?`
	keep              = ` ON CONFLICT DO NOTHING`
)

var (
	exportChallenges = `SELECT ` + challenges.columns + ` FROM challenges WHERE (hi, lo) > (?, ?) ORDER BY hi, lo LIMIT ?`
	exportUsers      = `SELECT ` + users.columns + ` FROM users WHERE (environment, id) > (?, ?) ORDER BY environment, id LIMIT ?`
	exportPhones     = `SELECT ` + phones.columns + ` FROM phones WHERE key > ? ORDER BY key LIMIT ?`
	exportReplays    = `SELECT ` + replays.columns + ` FROM replays WHERE length(key) = 16 AND (bucket, key) > (?, ?) ORDER BY bucket, key LIMIT ?`
	exportMessages   = `SELECT ` + messages.columns + ` FROM messages WHERE key > ? ORDER BY key LIMIT ?`
	exportEvents     = `SELECT ` + eventRows.columns + ` FROM events WHERE (environment, hi, lo) > (?, ?, ?) ORDER BY environment, hi, lo LIMIT ?`
	exportTallies    = `SELECT ` + tallies.columns + ` FROM tallies WHERE (environment, name) > (?, ?) ORDER BY environment, name LIMIT ?`
	exportEndpoints  = `SELECT ` + endpoints.columns + ` FROM webhook_endpoints WHERE (id_hi, id_lo) > (?, ?) ORDER BY id_hi, id_lo LIMIT ?`
	exportDeliveries = `SELECT ` + deliveries.columns + ` FROM webhook_deliveries WHERE (endpoint_hi, endpoint_lo, event_hi, event_lo) > (?, ?, ?, ?)` +
		` ORDER BY endpoint_hi, endpoint_lo, event_hi, event_lo LIMIT ?`
	exportAttempts = `SELECT ` + attempts.columns + ` FROM webhook_attempts WHERE (endpoint_hi, endpoint_lo, id_hi, id_lo) > (?, ?, ?, ?)` +
		` ORDER BY endpoint_hi, endpoint_lo, id_hi, id_lo LIMIT ?`
)

// Export lists rows of one kind; see transfer.Store.
func (s *Store) Export(ctx context.Context, kind transfer.Kind, place string, limit int) (rows []transfer.Row, next string, err error) {
	var number int64
	var name string
	key, second := []byte{}, []byte{}
	// query lists the rows after a place. add reads a row and returns its place.
	query := func(*conn) *statement { return nil }
	var add func(row *rowReader) (transfer.Row, string, error)
	switch kind {
	case "environments":
		err = transfer.ReadPlace(place, &number)
		query = func(c *conn) *statement { return c.prepare(exportEnvironments).int(number) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			e := &transfer.Environment{Environment: scanEnvironment(row), CreatedAt: row.time()}
			return transfer.Row{Environment: e}, transfer.Place(e.ID), nil
		}
	case "api_keys":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(exportKeys).blob(key) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			k := &transfer.Key{Hash: row.hash()}
			k.ID, k.Hint, k.CreatedAt, k.RevokedAt = access.KeyID(row.text()), row.text(), row.time(), row.time()
			k.Environment = scanEnvironment(row)
			return transfer.Row{Key: k}, transfer.Place(k.Hash[:]), nil
		}
	case "meta":
		err = transfer.ReadPlace(place, &name)
		query = func(c *conn) *statement { return c.prepare(exportMeta).string(name) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			m := &transfer.Meta{Name: row.text(), Value: row.blob()}
			return transfer.Row{Meta: m}, transfer.Place(m.Name), nil
		}
	case "factors":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(selectFactorsAfter).id(last(key)) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			f, err := factors.scan(row)
			return transfer.Row{Factor: f}, transfer.Place(f.ID[:]), err
		}
	case "challenges":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(exportChallenges).id(last(key)) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			ch, err := challenges.scan(row)
			return transfer.Row{Challenge: ch}, transfer.Place(ch.ID[:]), err
		}
	case "users":
		err = transfer.ReadPlace(place, &number, &name)
		query = func(c *conn) *statement { return c.prepare(exportUsers).int(number).string(name) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			u, err := users.scan(row)
			return transfer.Row{User: u}, transfer.Place(u.Environment, u.ID), err
		}
	case "phones":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(exportPhones).blob(key) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			p, err := phones.scan(row)
			p.Bucket = p.Key.Bucket()
			return transfer.Row{Phone: p}, transfer.Place(p.Key[:]), err
		}
	case "replays":
		err = transfer.ReadPlace(place, &number, &key)
		query = func(c *conn) *statement { return c.prepare(exportReplays).int(number).blob(key) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			r, err := replays.scan(row)
			return transfer.Row{Replay: r}, transfer.Place(r.Bucket, r.Key[:]), err
		}
	case "events":
		err = transfer.ReadPlace(place, &number, &key)
		query = func(c *conn) *statement { return c.prepare(exportEvents).int(number).id(last(key)) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			e, err := eventRows.scan(row)
			return transfer.Row{Event: e}, transfer.Place(e.Environment, e.ID[:]), err
		}
	case "event_contexts":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(selectContexts).id(last(key)) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			e, err := contexts.scan(row)
			return transfer.Row{EventContext: e}, transfer.Place(e.Event[:]), err
		}
	case "deleted_factors":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(selectDeletedFactor).id(last(key)) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			d, err := deletedFactors.scan(row)
			return transfer.Row{DeletedFactor: d}, transfer.Place(d.ID[:]), err
		}
	case "erasures":
		err = transfer.ReadPlace(place, &number, &key)
		query = func(c *conn) *statement { return c.prepare(exportErasures).int(number).blob(key) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			e, err := erasures.scan(row)
			return transfer.Row{Erasure: e}, transfer.Place(e.Bucket, e.Person[:]), err
		}
	case "messages":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(exportMessages).blob(key) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			m, err := messages.scan(row)
			m.Bucket = m.Key.Bucket()
			return transfer.Row{Message: m}, transfer.Place(m.Key[:]), err
		}
	case "tallies":
		err = transfer.ReadPlace(place, &number, &name)
		query = func(c *conn) *statement { return c.prepare(exportTallies).int(number).string(name) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			t, err := tallies.scan(row)
			return transfer.Row{Counter: t}, transfer.Place(t.Environment, t.Name), err
		}
	case "webhook_endpoints":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(exportEndpoints).id(last(key)) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			e, err := endpoints.scan(row)
			return transfer.Row{Endpoint: e}, transfer.Place(e.ID[:]), err
		}
	case "webhook_deliveries":
		err = transfer.ReadPlace(place, &key, &second)
		query = func(c *conn) *statement { return c.prepare(exportDeliveries).id(last(key)).id(last(second)) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			d, err := deliveries.scan(row)
			return transfer.Row{Delivery: d}, transfer.Place(d.Endpoint[:], d.Event[:]), err
		}
	case "webhook_attempts":
		err = transfer.ReadPlace(place, &key, &second)
		query = func(c *conn) *statement { return c.prepare(exportAttempts).id(last(key)).id(last(second)) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			a, err := attempts.scan(row)
			return transfer.Row{Attempt: a}, transfer.Place(a.Endpoint[:], a.ID[:]), err
		}
	default:
		err = fmt.Errorf("unknown kind of row %q", kind)
	}
	if err != nil {
		return nil, "", err
	}
	err = s.scan(ctx, func(c *conn) error {
		return query(c).int(int64(limit)).each(func(row *rowReader) (err error) {
			var r transfer.Row
			r, next, err = add(row)
			rows = append(rows, r)
			return err
		})
	})
	return rows, next, err
}

// last returns the id in a place, or the zero id at the start.
func last(place []byte) (id [16]byte) { copy(id[:], place); return id }

// Import stores rows; see transfer.Store.
func (s *Store) Import(ctx context.Context, rows []transfer.Row) error {
	return s.write(ctx, func(c *conn) error {
		for _, r := range rows {
			if err := importRow(c, r); err != nil {
				return domainError(fmt.Errorf("store a row: %w", err))
			}
		}
		return nil
	})
}

func importRow(c *conn, r transfer.Row) (err error) {
	switch {
	case r.Environment != nil:
		e := r.Environment
		_, err = c.prepare(importEnvironment).int(int64(e.ID)).text(e.Name).int(boolean(e.Production)).time(e.CreatedAt).exec()
	case r.Key != nil:
		k := r.Key
		_, err = c.prepare(importKey).blob(k.Hash[:]).text(string(k.ID)).int(int64(k.Environment.ID)).text(k.Hint).
			time(k.CreatedAt).time(k.RevokedAt).exec()
	case r.Meta != nil:
		_, err = c.prepare(putMeta).text(r.Meta.Name).blob(r.Meta.Value).exec()
	case r.Factor != nil:
		err = factors.add(c, r.Factor)
	case r.Challenge != nil:
		err = challenges.add(c, r.Challenge)
	case r.User != nil:
		err = users.add(c, r.User)
	case r.Phone != nil:
		err = phones.add(c, r.Phone)
	case r.Replay != nil:
		err = replays.add(c, r.Replay)
	case r.Event != nil:
		err = eventRows.add(c, r.Event)
	case r.EventContext != nil:
		err = contexts.add(c, r.EventContext)
	case r.DeletedFactor != nil:
		err = deletedFactors.add(c, r.DeletedFactor)
	case r.Erasure != nil:
		err = erasures.add(c, r.Erasure)
	case r.Message != nil:
		err = messages.add(c, r.Message)
	case r.Counter != nil:
		err = tallies.add(c, r.Counter)
	case r.Endpoint != nil:
		err = endpoints.add(c, r.Endpoint)
	case r.Delivery != nil:
		err = deliveries.add(c, r.Delivery)
	case r.Attempt != nil:
		err = attempts.add(c, r.Attempt)
	}
	return err
}

// add inserts a row, unless a row with the same key exists.
func (t *table[R]) add(c *conn, r *R) error {
	_, err := t.bind(c.prepare(t.insert+keep), r).exec()
	return err
}

// DeleteMeta removes the value with that name.
func (s *Store) DeleteMeta(ctx context.Context, name string) error {
	return s.write(ctx, func(c *conn) error {
		_, err := c.prepare(deleteMeta).text(name).exec()
		return domainError(err)
	})
}
