package sqlite

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/rows"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

const (
	exportEnvironments = `SELECT id, name, production, settings, created_at FROM environments WHERE id > ? ORDER BY id LIMIT ?`
	exportKeys         = `SELECT k.hash, ` + keyColumns + fromKeys + ` WHERE k.hash > ? ORDER BY k.hash LIMIT ?`
	exportMeta         = `SELECT name, value FROM meta WHERE name > ? ORDER BY name LIMIT ?`
	importEnvironment  = `INSERT INTO environments (id, name, production, created_at, settings) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
	importKey          = insertKey + ` ON CONFLICT (hash) DO NOTHING`
	deleteMeta         = `DELETE FROM meta WHERE name = ?`
	keep               = ` ON CONFLICT DO NOTHING`
)

var (
	exportChallenges = `SELECT ` + challenges.columns + ` FROM challenges WHERE (hi, lo) > (?, ?) ORDER BY hi, lo LIMIT ?`
	exportUsers      = `SELECT ` + users.columns + ` FROM users WHERE (environment, id) > (?, ?) ORDER BY environment, id LIMIT ?`
	exportPhones     = `SELECT ` + phones.columns + ` FROM phones WHERE key > ? ORDER BY key LIMIT ?`
	exportReplays    = `SELECT ` + replays.columns + ` FROM replays WHERE length(key) = 16 AND (bucket, key) > (?, ?) ORDER BY bucket, key LIMIT ?`
	exportBypasses   = `SELECT ` + bypasses.columns + ` FROM bypasses WHERE (bucket, key) > (?, ?) ORDER BY bucket, key LIMIT ?`
	exportMessages   = `SELECT ` + messages.columns + ` FROM messages WHERE key > ? ORDER BY key LIMIT ?`
	exportEvents     = `SELECT ` + eventRows.columns + ` FROM events WHERE (environment, hi, lo) > (?, ?, ?) ORDER BY environment, hi, lo LIMIT ?`
	exportTallies    = `SELECT ` + tallies.columns + ` FROM tallies WHERE (environment, name) > (?, ?) ORDER BY environment, name LIMIT ?`
	exportEndpoints  = `SELECT ` + endpoints.columns + ` FROM webhook_endpoints WHERE (id_hi, id_lo) > (?, ?) ORDER BY id_hi, id_lo LIMIT ?`
	exportDeliveries = `SELECT ` + deliveries.columns + ` FROM webhook_deliveries WHERE (endpoint_hi, endpoint_lo, event_hi, event_lo) > (?, ?, ?, ?)` +
		` ORDER BY endpoint_hi, endpoint_lo, event_hi, event_lo LIMIT ?`
	exportAttempts = `SELECT ` + attempts.columns + ` FROM webhook_attempts WHERE (endpoint_hi, endpoint_lo, id_hi, id_lo) > (?, ?, ?, ?)` +
		` ORDER BY endpoint_hi, endpoint_lo, id_hi, id_lo LIMIT ?`
)

var (
	exportStatistics = `SELECT ` + statisticRows.columns + ` FROM statistics WHERE (environment, series, start) > (?, ?, ?) ORDER BY environment, series, start LIMIT ?`
	exportCounted    = `SELECT ` + statisticPosition.columns + ` FROM statistics_positions WHERE environment > ? ORDER BY environment LIMIT ?`
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
			e := new(transfer.Environment)
			var err error
			e.Environment, err = scanEnvironment(row)
			e.CreatedAt = row.time()
			return transfer.Row{Environment: e}, transfer.Place(e.ID), err
		}
	case "api_keys":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(exportKeys).blob(key) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			k := &transfer.Key{Hash: row.hash()}
			var err error
			k.Key, err = scanKey(row)
			return transfer.Row{Key: k}, transfer.Place(k.Hash[:]), err
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
	case "bypasses":
		err = transfer.ReadPlace(place, &number, &key)
		query = func(c *conn) *statement { return c.prepare(exportBypasses).int(number).blob(key) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			b, err := bypasses.scan(row)
			return transfer.Row{Bypass: b}, transfer.Place(b.Bucket, b.Key[:]), err
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
	case "operators":
		err = transfer.ReadPlace(place, &name)
		query = func(c *conn) *statement { return c.prepare(exportOperators).string(name) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			o, err := operators.scan(row)
			return transfer.Row{Operator: o}, transfer.Place(o.Name), err
		}
	case "operator_passkeys":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(exportPasskeys).blob(key) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			k, err := passkeys.scan(row)
			return transfer.Row{Passkey: k}, transfer.Place(k.ID), err
		}
	case "statistics":
		var start time.Time
		number = math.MinInt64 // the environment of some of them is negative
		err = transfer.ReadPlace(place, &number, &name, &start)
		query = func(c *conn) *statement { return c.prepare(exportStatistics).int(number).string(name).time(start) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			s, err := statisticRows.scan(row)
			return transfer.Row{Statistic: s}, transfer.Place(s.Environment, s.Series, s.Start), err
		}
	case "statistics_positions":
		number = math.MinInt64
		err = transfer.ReadPlace(place, &number)
		query = func(c *conn) *statement { return c.prepare(exportCounted).int(number) }
		add = func(row *rowReader) (transfer.Row, string, error) {
			p, err := statisticPosition.scan(row)
			return transfer.Row{StatisticPosition: p}, transfer.Place(p.Environment), err
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
		_, err = c.prepare(importEnvironment).int(int64(e.ID)).text(e.Name).int(boolean(e.Production)).time(e.CreatedAt).string(rows.EncodeSettings(e.Settings)).exec()
	case r.Key != nil:
		k := r.Key
		_, err = bindKey(c.prepare(importKey), k.Key, k.Hash).exec()
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
		if err = eventRows.add(c, r.Event); err == nil && r.Event.Factor != (mfa.FactorID{}) {
			e := r.Event
			_, err = c.prepare(addToSegment).upper(e.Factor).id(e.ID).int(int64(e.Environment)).id(e.ID).exec()
		}
	case r.EventContext != nil:
		err = contexts.add(c, r.EventContext)
	case r.DeletedFactor != nil:
		err = deletedFactors.add(c, r.DeletedFactor)
	case r.Erasure != nil:
		err = erasures.add(c, r.Erasure)
	case r.Bypass != nil:
		err = bypasses.add(c, r.Bypass)
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
	case r.Operator != nil:
		err = operators.add(c, r.Operator)
	case r.Passkey != nil:
		err = passkeys.add(c, r.Passkey)
	case r.Statistic != nil:
		err = statisticRows.add(c, r.Statistic)
	case r.StatisticPosition != nil:
		err = statisticPosition.add(c, r.StatisticPosition)
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
