package postgres

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/stats"
	"github.com/countersign-mfa/countersign/internal/store/rows"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

const (
	exportEnvironments = `SELECT id, name, production, settings, created_at FROM environments WHERE id > $1 ORDER BY id LIMIT $2`
	exportKeys         = `SELECT k.hash, ` + keyColumns + fromKeys + ` WHERE k.hash > $1 ORDER BY k.hash LIMIT $2`
	exportMeta         = `SELECT name, value FROM meta WHERE name COLLATE "C" > $1 ORDER BY name COLLATE "C" LIMIT $2`
	importEnvironment  = `INSERT INTO environments (id, name, production, created_at, settings) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	// The next environment gets an id above the imported ones.
	advanceEnvironments = `SELECT setval(pg_get_serial_sequence('environments', 'id'), greatest($1::bigint, (SELECT max(id) FROM environments)))`
	importKey           = insertKey + ` ON CONFLICT DO NOTHING`
	deleteMeta          = `DELETE FROM meta WHERE name = $1`
	keep                = ` ON CONFLICT DO NOTHING`
)

var (
	exportChallenges = `SELECT ` + challengeColumns + ` FROM challenges c WHERE (c.bucket, c.id) > ($1, $2) ORDER BY c.bucket, c.id LIMIT $3`
	exportUsers      = `SELECT ` + users.list("u") + ` FROM users u WHERE (u.bucket, u.environment, u.id) > ($1, $2, $3) ORDER BY u.bucket, u.environment, u.id LIMIT $4`
	exportPhones     = `SELECT ` + phones.list("p") + ` FROM phones p WHERE (p.bucket, p.key) > ($1, $2) ORDER BY p.bucket, p.key LIMIT $3`
	exportReplays    = `SELECT ` + replays.list("r") + ` FROM replays r WHERE length(r.key) = 16 AND (r.bucket, r.key) > ($1, $2) ORDER BY r.bucket, r.key LIMIT $3`
	exportBypasses   = `SELECT ` + bypasses.list("w") + ` FROM bypasses w WHERE (w.bucket, w.key) > ($1, $2) ORDER BY w.bucket, w.key LIMIT $3`
	exportMessages   = `SELECT ` + messages.list("m") + ` FROM messages m WHERE (m.bucket, m.key) > ($1, $2) ORDER BY m.bucket, m.key LIMIT $3`
	exportEvents     = `SELECT ` + eventRows.list("e") + ` FROM events e WHERE (e.environment, e.id) > ($1, $2) ORDER BY e.environment, e.id LIMIT $3`
	exportTallies    = `SELECT ` + tallies.list("y") + ` FROM tallies y WHERE (y.bucket, y.environment, y.name) > ($1, $2, $3) ORDER BY y.bucket, y.environment, y.name LIMIT $4`
	exportEndpoints  = `SELECT ` + endpoints.list("w") + ` FROM webhook_endpoints w WHERE (w.bucket, w.id) > ($1, $2) ORDER BY w.bucket, w.id LIMIT $3`
	exportDeliveries = `SELECT ` + deliveries.list("d") + ` FROM webhook_deliveries d WHERE (d.bucket, d.endpoint, d.event) > ($1, $2, $3) ORDER BY d.bucket, d.endpoint, d.event LIMIT $4`
	exportAttempts   = `SELECT ` + attempts.list("a") + ` FROM webhook_attempts a WHERE (a.bucket, a.endpoint, a.id) > ($1, $2, $3) ORDER BY a.bucket, a.endpoint, a.id LIMIT $4`
)

var (
	exportStatistics = `SELECT ` + statisticRows.list("s") + ` FROM statistics s` +
		` WHERE (s.bucket, s.environment, s.series, s.start) > ($1, $2, $3, $4) ORDER BY s.bucket, s.environment, s.series, s.start LIMIT $5`
	exportCounted = `SELECT ` + statisticPosition.list("p") + ` FROM statistics_positions p` +
		` WHERE (p.bucket, p.environment) > ($1, $2) ORDER BY p.bucket, p.environment LIMIT $3`
)

// Export returns rows of a kind; see transfer.Store.
func (s *Store) Export(ctx context.Context, kind transfer.Kind, place string, limit int) ([]transfer.Row, string, error) {
	var number, env int64
	var name string
	var id, second [16]byte
	var at time.Time
	key := []byte{}
	var err error
	var sql string
	var args func() []any
	// scan reads a row and returns it with its place.
	var scan func(*rowReader) (transfer.Row, string)
	switch kind {
	case "environments":
		sql, args, err = exportEnvironments, func() []any { return []any{number} }, transfer.ReadPlace(place, &number)
		scan = func(row *rowReader) (transfer.Row, string) {
			e := &transfer.Environment{Environment: row.environment(), CreatedAt: row.time()}
			return transfer.Row{Environment: e}, transfer.Place(e.ID)
		}
	case "api_keys":
		sql, args, err = exportKeys, func() []any { return []any{key} }, transfer.ReadPlace(place, &key)
		scan = func(row *rowReader) (transfer.Row, string) {
			k := new(transfer.Key)
			copy(k.Hash[:], row.next())
			k.Key, _ = scanKey(row)
			return transfer.Row{Key: k}, transfer.Place(k.Hash[:])
		}
	case "meta":
		sql, args, err = exportMeta, func() []any { return []any{name} }, transfer.ReadPlace(place, &name)
		scan = func(row *rowReader) (transfer.Row, string) {
			m := &transfer.Meta{Name: row.text(), Value: row.bytea()}
			return transfer.Row{Meta: m}, transfer.Place(m.Name)
		}
	case "factors":
		sql, args, err = selectFactorsAfter, func() []any { return []any{bucket(mfa.FactorID(id)), id} }, transfer.ReadPlace(place, &id)
		scan = func(row *rowReader) (transfer.Row, string) {
			f := factors.scan(row)
			return transfer.Row{Factor: f}, transfer.Place(f.ID)
		}
	case "challenges":
		sql, args, err = exportChallenges, func() []any { return []any{bucket(mfa.ChallengeID(id)), id} }, transfer.ReadPlace(place, &id)
		scan = func(row *rowReader) (transfer.Row, string) {
			c := challenges.scan(row)
			return transfer.Row{Challenge: c}, transfer.Place(c.ID)
		}
	case "users":
		sql, args, err = exportUsers, func() []any { return []any{number, env, name} }, transfer.ReadPlace(place, &number, &env, &name)
		scan = func(row *rowReader) (transfer.Row, string) {
			u := users.scan(row)
			return transfer.Row{User: u}, transfer.Place((*rows.UserBucket)(u).Place(), u.Environment, u.ID)
		}
	case "phones":
		sql, args, err = exportPhones, func() []any { return []any{number, key} }, transfer.ReadPlace(place, &number, &key)
		scan = func(row *rowReader) (transfer.Row, string) {
			p := phones.scan(row)
			return transfer.Row{Phone: p}, transfer.Place(p.Bucket, p.Key[:])
		}
	case "replays":
		sql, args, err = exportReplays, func() []any { return []any{number, key} }, transfer.ReadPlace(place, &number, &key)
		scan = func(row *rowReader) (transfer.Row, string) {
			r := replays.scan(row)
			return transfer.Row{Replay: r}, transfer.Place(r.Bucket, r.Key[:])
		}
	case "events":
		sql, args, err = exportEvents, func() []any { return []any{env, id} }, transfer.ReadPlace(place, &env, &id)
		scan = func(row *rowReader) (transfer.Row, string) {
			e := eventRows.scan(row)
			return transfer.Row{Event: e}, transfer.Place(e.Environment, e.ID)
		}
	case "event_contexts":
		sql, args, err = listContexts, func() []any { return []any{id} }, transfer.ReadPlace(place, &id)
		scan = func(row *rowReader) (transfer.Row, string) {
			e := contexts.scan(row)
			return transfer.Row{EventContext: e}, transfer.Place(e.Event)
		}
	case "deleted_factors":
		sql, args, err = listDeletedFactors, func() []any { return []any{bucket(mfa.FactorID(id)), id} }, transfer.ReadPlace(place, &id)
		scan = func(row *rowReader) (transfer.Row, string) {
			d := deletedFactors.scan(row)
			return transfer.Row{DeletedFactor: d}, transfer.Place(d.ID)
		}
	case "erasures":
		sql, args, err = exportErasures, func() []any { return []any{number, key} }, transfer.ReadPlace(place, &number, &key)
		scan = func(row *rowReader) (transfer.Row, string) {
			e := erasures.scan(row)
			return transfer.Row{Erasure: e}, transfer.Place(e.Bucket, e.Person[:])
		}
	case "messages":
		sql, args, err = exportMessages, func() []any { return []any{number, key} }, transfer.ReadPlace(place, &number, &key)
		scan = func(row *rowReader) (transfer.Row, string) {
			m := messages.scan(row)
			return transfer.Row{Message: m}, transfer.Place(m.Bucket, m.Key[:])
		}
	case "bypasses":
		sql, args, err = exportBypasses, func() []any { return []any{number, key} }, transfer.ReadPlace(place, &number, &key)
		scan = func(row *rowReader) (transfer.Row, string) {
			b := bypasses.scan(row)
			return transfer.Row{Bypass: b}, transfer.Place(b.Bucket, b.Key[:])
		}
	case "tallies":
		sql, args, err = exportTallies, func() []any { return []any{number, env, name} }, transfer.ReadPlace(place, &number, &env, &name)
		scan = func(row *rowReader) (transfer.Row, string) {
			t := tallies.scan(row)
			return transfer.Row{Counter: t}, transfer.Place(t.Bucket(), t.Environment, t.Name)
		}
	case "webhook_endpoints":
		sql, args, err = exportEndpoints, func() []any { return []any{bucket(mfa.FactorID(id)), id} }, transfer.ReadPlace(place, &id)
		scan = func(row *rowReader) (transfer.Row, string) {
			e := endpoints.scan(row)
			return transfer.Row{Endpoint: e}, transfer.Place(e.ID)
		}
	case "webhook_deliveries":
		sql, args, err = exportDeliveries, func() []any { return []any{bucket(mfa.FactorID(id)), id, second} }, transfer.ReadPlace(place, &id, &second)
		scan = func(row *rowReader) (transfer.Row, string) {
			d := deliveries.scan(row)
			return transfer.Row{Delivery: d}, transfer.Place(d.Endpoint, d.Event)
		}
	case "webhook_attempts":
		sql, args, err = exportAttempts, func() []any { return []any{bucket(mfa.FactorID(id)), id, second} }, transfer.ReadPlace(place, &id, &second)
		scan = func(row *rowReader) (transfer.Row, string) {
			a := attempts.scan(row)
			return transfer.Row{Attempt: a}, transfer.Place(a.Endpoint, a.ID)
		}
	case "operators":
		sql, args, err = exportOperators, func() []any { return []any{name} }, transfer.ReadPlace(place, &name)
		scan = func(row *rowReader) (transfer.Row, string) {
			o := operators.scan(row)
			return transfer.Row{Operator: o}, transfer.Place(o.Name)
		}
	case "operator_passkeys":
		sql, args, err = exportPasskeys, func() []any { return []any{key} }, transfer.ReadPlace(place, &key)
		scan = func(row *rowReader) (transfer.Row, string) {
			k := passkeys.scan(row)
			return transfer.Row{Passkey: k}, transfer.Place(k.ID)
		}
	case "statistics":
		env = math.MinInt64 // some of them are negative
		sql, args = exportStatistics, func() []any { return []any{number, env, name, at} }
		err = transfer.ReadPlace(place, &number, &env, &name, &at)
		scan = func(row *rowReader) (transfer.Row, string) {
			s := statisticRows.scan(row)
			return transfer.Row{Statistic: s}, transfer.Place(stats.BucketOf(s.Environment), s.Environment, s.Series, s.Start)
		}
	case "statistics_positions":
		env = math.MinInt64 // one of them is negative
		sql, args, err = exportCounted, func() []any { return []any{number, env} }, transfer.ReadPlace(place, &number, &env)
		scan = func(row *rowReader) (transfer.Row, string) {
			p := statisticPosition.scan(row)
			return transfer.Row{StatisticPosition: p}, transfer.Place(stats.BucketOf(p.Environment), p.Environment)
		}
	default:
		err = fmt.Errorf("unknown kind of row %q", kind)
	}
	if err != nil {
		return nil, "", err
	}
	var next string
	found, err := collect(ctx, s, func(row *rowReader) (r transfer.Row, err error) {
		r, next = scan(row)
		return r, row.err
	}, sql, append(args(), limit)...)
	return found, next, err
}

// Import stores rows; see transfer.Store.
func (s *Store) Import(ctx context.Context, rows []transfer.Row) error {
	if len(rows) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var newest mfa.EventID
	err := s.begun(ctx, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		for _, r := range rows {
			queueImport(batch, r)
			if r.Event != nil && r.Event.ID.Compare(newest) > 0 {
				newest = r.Event.ID
			}
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil || newest == (mfa.EventID{}) {
		return domainError(err)
	}
	return s.raiseEpochAbove(ctx, newest)
}

func queueImport(batch *pgx.Batch, r transfer.Row) {
	switch {
	case r.Environment != nil:
		e := r.Environment
		batch.Queue(importEnvironment, e.ID, e.Name, e.Production, e.CreatedAt, rows.EncodeSettings(e.Settings))
		batch.Queue(advanceEnvironments, e.ID)
	case r.Key != nil:
		k := r.Key
		batch.Queue(importKey, keyValues(k.Key, k.Hash)...)
	case r.Meta != nil:
		batch.Queue(putMeta, r.Meta.Name, r.Meta.Value)
	case r.Factor != nil:
		queueNew(batch, factors, r.Factor)
	case r.Challenge != nil:
		queueNew(batch, challenges, r.Challenge)
	case r.User != nil:
		queueNew(batch, users, r.User)
	case r.Phone != nil:
		queueNew(batch, phones, r.Phone)
	case r.Replay != nil:
		queueNew(batch, replays, r.Replay)
	case r.Event != nil:
		queueNew(batch, eventRows, r.Event)
	case r.EventContext != nil:
		queueNew(batch, contexts, r.EventContext)
	case r.DeletedFactor != nil:
		queueNew(batch, deletedFactors, r.DeletedFactor)
	case r.Erasure != nil:
		queueNew(batch, erasures, r.Erasure)
	case r.Bypass != nil:
		queueNew(batch, bypasses, r.Bypass)
	case r.Message != nil:
		queueNew(batch, messages, r.Message)
	case r.Counter != nil:
		queueNew(batch, tallies, r.Counter)
	case r.Endpoint != nil:
		queueNew(batch, endpoints, r.Endpoint)
	case r.Delivery != nil:
		queueNew(batch, deliveries, r.Delivery)
	case r.Attempt != nil:
		queueNew(batch, attempts, r.Attempt)
	case r.Operator != nil:
		queueNew(batch, operators, r.Operator)
	case r.Passkey != nil:
		queueNew(batch, passkeys, r.Passkey)
	case r.Statistic != nil:
		queueNew(batch, statisticRows, r.Statistic)
	case r.StatisticPosition != nil:
		queueNew(batch, statisticPosition, r.StatisticPosition)
	}
}

// queueNew adds an insert of a row that does nothing if the key already exists.
func queueNew[R any](batch *pgx.Batch, t *table[R], r *R) { batch.Queue(t.insert+keep, t.values(r)...) }

// DeleteMeta removes the value stored under name.
func (s *Store) DeleteMeta(ctx context.Context, name string) error {
	_, err := s.exec(ctx, deleteMeta, name)
	return domainError(err)
}
