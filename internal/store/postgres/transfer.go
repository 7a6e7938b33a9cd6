package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

const (
	exportEnvironments = `SELECT id, name, production, created_at FROM environments WHERE id > $1 ORDER BY id LIMIT $2`
	exportKeys         = `SELECT k.hash, k.id, k.hint, k.created_at, k.revoked_at, e.id, e.name, e.production` +
		` FROM api_keys k JOIN environments e ON e.id = k.environment WHERE k.hash > $1 ORDER BY k.hash LIMIT $2`
	exportMeta       = `SELECT name, value FROM meta WHERE name COLLATE "C" > $1 ORDER BY name COLLATE "C" LIMIT $2`
	exportChallenges = `SELECT ` + challengeColumns + ` FROM challenges c WHERE (c.bucket, c.id) > ($1, $2) ORDER BY c.bucket, c.id LIMIT $3`
	exportUsers      = `SELECT bucket, environment, id, failures, expires_at FROM users WHERE (bucket, environment, id) > ($1, $2, $3) ORDER BY bucket, environment, id LIMIT $4`
	exportPhones     = `SELECT bucket, key, sends, expires_at FROM phones WHERE (bucket, key) > ($1, $2) ORDER BY bucket, key LIMIT $3`
	exportReplays    = `SELECT bucket, key, fingerprint, factor, sealed, expires_at, pending FROM replays WHERE length(key) = 16 AND (bucket, key) > ($1, $2) ORDER BY bucket, key LIMIT $3`
	exportMessages   = `SELECT m.bucket, m.key, m.challenge, m.number, coalesce(m.state, ''), coalesce(m.reason, ''), m.expires_at FROM messages m WHERE (m.bucket, m.key) > ($1, $2) ORDER BY m.bucket, m.key LIMIT $3`
	exportTallies    = `SELECT bucket, environment, name, sealed, counts, paused_until, expires_at FROM tallies WHERE (bucket, environment, name) > ($1, $2, $3) ORDER BY bucket, environment, name LIMIT $4`

	importEnvironment = `INSERT INTO environments (id, name, production, created_at) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
	// The next environment is numbered behind those that were brought along.
	advanceEnvironments = `SELECT setval(pg_get_serial_sequence('environments', 'id'), greatest($1::bigint, (SELECT max(id) FROM environments)))`
	importKey           = `INSERT INTO api_keys (hash, id, environment, hint, created_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`
	deleteMeta          = `DELETE FROM meta WHERE name = $1`
	keep                = ` ON CONFLICT DO NOTHING`
)

// Export lists rows of a kind; see transfer.Store.
func (s *Store) Export(ctx context.Context, kind transfer.Kind, place string, limit int) ([]transfer.Row, string, error) {
	var number, env int64
	var name string
	var id [16]byte
	key := []byte{}
	var err error
	var sql string
	var args func() []any
	// scan reads a row and says its place.
	var scan func(pgx.CollectableRow) (transfer.Row, string, error)
	switch kind {
	case "environments":
		sql, args, err = exportEnvironments, func() []any { return []any{number} }, transfer.ReadPlace(place, &number)
		scan = func(row pgx.CollectableRow) (transfer.Row, string, error) {
			e := new(transfer.Environment)
			err := row.Scan(&e.ID, &e.Name, &e.Production, (*moment)(&e.CreatedAt))
			return transfer.Row{Environment: e}, transfer.Place(e.ID), err
		}
	case "api_keys":
		sql, args, err = exportKeys, func() []any { return []any{key} }, transfer.ReadPlace(place, &key)
		scan = func(row pgx.CollectableRow) (transfer.Row, string, error) {
			k := new(transfer.Key)
			e := &k.Environment
			err := row.Scan((*hash)(&k.Hash), &k.ID, &k.Hint, (*moment)(&k.CreatedAt), (*moment)(&k.RevokedAt), &e.ID, &e.Name, &e.Production)
			return transfer.Row{Key: k}, transfer.Place(k.Hash[:]), err
		}
	case "meta":
		sql, args, err = exportMeta, func() []any { return []any{name} }, transfer.ReadPlace(place, &name)
		scan = func(row pgx.CollectableRow) (transfer.Row, string, error) {
			m := new(transfer.Meta)
			err := row.Scan(&m.Name, &m.Value)
			return transfer.Row{Meta: m}, transfer.Place(m.Name), err
		}
	case "factors":
		sql, args, err = selectFactorsAfter, func() []any { return []any{bucket(mfa.FactorID(id)), id} }, transfer.ReadPlace(place, &id)
		scan = func(row pgx.CollectableRow) (transfer.Row, string, error) {
			cells := cellsOf(row)
			f := cells.factor()
			return transfer.Row{Factor: f}, transfer.Place(f.ID), cells.err
		}
	case "challenges":
		sql, args, err = exportChallenges, func() []any { return []any{bucket(mfa.ChallengeID(id)), id} }, transfer.ReadPlace(place, &id)
		scan = func(row pgx.CollectableRow) (transfer.Row, string, error) {
			cells := cellsOf(row)
			c, err := cells.challenge()
			return transfer.Row{Challenge: c}, transfer.Place(c.ID), errors.Join(err, cells.err)
		}
	case "users":
		sql, args, err = exportUsers, func() []any { return []any{number, env, name} }, transfer.ReadPlace(place, &number, &env, &name)
		scan = func(row pgx.CollectableRow) (transfer.Row, string, error) {
			u := new(mfa.User)
			var b mfa.Bucket
			err := row.Scan(&b, &u.Environment, &u.ID, &u.Failures, (*moment)(&u.ExpiresAt))
			if !u.ExpiresAt.IsZero() {
				u.At = b
			}
			return transfer.Row{User: u}, transfer.Place(b, u.Environment, u.ID), err
		}
	case "phones":
		sql, args, err = exportPhones, func() []any { return []any{number, key} }, transfer.ReadPlace(place, &number, &key)
		scan = func(row pgx.CollectableRow) (transfer.Row, string, error) {
			p := new(mfa.PhoneLimit)
			var sends []byte
			err := row.Scan(&p.Bucket, (*hash)(&p.Key), &sends, (*moment)(&p.ExpiresAt))
			if err == nil {
				p.Sends, err = mfa.DecodeSends(sends)
			}
			return transfer.Row{Phone: p}, transfer.Place(p.Bucket, p.Key[:]), err
		}
	case "replays":
		sql, args, err = exportReplays, func() []any { return []any{number, key} }, transfer.ReadPlace(place, &number, &key)
		scan = func(row pgx.CollectableRow) (transfer.Row, string, error) {
			r := new(mfa.Replay)
			var about *[16]byte
			err := row.Scan(&r.Bucket, (*replayKey)(&r.Key), (*hash)(&r.Fingerprint), &about, &r.Sealed, (*moment)(&r.ExpiresAt), (*moment)(&r.PendingUntil))
			if about != nil {
				r.About = *about
			}
			return transfer.Row{Replay: r}, transfer.Place(r.Bucket, r.Key[:]), err
		}
	case "events":
		sql, args, err = selectEventsAfter, func() []any { return []any{bucket(mfa.EventID(id)), id} }, transfer.ReadPlace(place, &id)
		scan = func(row pgx.CollectableRow) (transfer.Row, string, error) {
			e, err := scanEvent(row)
			return transfer.Row{Event: &e}, transfer.Place(e.ID), err
		}
	case "messages":
		sql, args, err = exportMessages, func() []any { return []any{number, key} }, transfer.ReadPlace(place, &number, &key)
		scan = func(row pgx.CollectableRow) (transfer.Row, string, error) {
			m := new(mfa.MessageRef)
			err := row.Scan(append([]any{&m.Bucket, (*hash)(&m.Key)}, messageFields(m)...)...)
			return transfer.Row{Message: m}, transfer.Place(m.Bucket, m.Key[:]), err
		}
	case "tallies":
		sql, args, err = exportTallies, func() []any { return []any{number, env, name} }, transfer.ReadPlace(place, &number, &env, &name)
		scan = func(row pgx.CollectableRow) (transfer.Row, string, error) {
			t := new(mfa.Tally)
			var b int64
			err := row.Scan(append([]any{&b, &t.Environment}, tallyFields(t)...)...)
			return transfer.Row{Tally: t}, transfer.Place(b, t.Environment, t.Name), err
		}
	default:
		err = fmt.Errorf("unknown kind of row %q", kind)
	}
	if err != nil {
		return nil, "", err
	}
	var next string
	found, err := collect(ctx, s, func(row pgx.CollectableRow) (r transfer.Row, err error) {
		r, next, err = scan(row)
		return r, err
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
	return domainError(s.begun(ctx, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		for _, r := range rows {
			queueImport(batch, r)
		}
		return tx.SendBatch(ctx, batch).Close()
	}))
}

func queueImport(batch *pgx.Batch, r transfer.Row) {
	switch {
	case r.Environment != nil:
		e := r.Environment
		batch.Queue(importEnvironment, e.ID, e.Name, e.Production, e.CreatedAt)
		batch.Queue(advanceEnvironments, e.ID)
	case r.Key != nil:
		k := r.Key
		batch.Queue(importKey, k.Hash[:], k.ID, k.Environment.ID, k.Hint, k.CreatedAt, instant(k.RevokedAt))
	case r.Meta != nil:
		batch.Queue(putMeta, r.Meta.Name, r.Meta.Value)
	case r.Factor != nil:
		batch.Queue(insertFactor+keep, factorValues(r.Factor)...)
	case r.Challenge != nil:
		batch.Queue(insertChallenge+keep, challengeValues(r.Challenge)...)
	case r.User != nil:
		b := r.User.Bucket()
		if !r.User.ExpiresAt.IsZero() {
			b = r.User.At
		}
		batch.Queue(insertUser+keep, int16(b), r.User.Environment, r.User.ID, r.User.Failures, instant(r.User.ExpiresAt))
	case r.Phone != nil:
		batch.Queue(insertPhone+keep, int16(r.Phone.Bucket), r.Phone.Key[:], mfa.EncodeSends(r.Phone.Sends), r.Phone.ExpiresAt)
	case r.Replay != nil:
		batch.Queue(insertReplay+keep, replayValues(r.Replay)...)
	case r.Event != nil:
		batch.Queue(insertEvent+keep, eventValues(*r.Event)...)
	case r.Message != nil:
		batch.Queue(insertMessage+keep, messageValues(r.Message)...)
	case r.Tally != nil:
		batch.Queue(insertTally+keep, tallyValues(r.Tally)...)
	}
}

// DeleteMeta removes what is stored under name.
func (s *Store) DeleteMeta(ctx context.Context, name string) error {
	_, err := s.exec(ctx, deleteMeta, name)
	return domainError(err)
}
