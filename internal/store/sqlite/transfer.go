package sqlite

import (
	"context"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

const (
	exportEnvironments = `SELECT id, name, production, created_at FROM environments WHERE id > ? ORDER BY id LIMIT ?`
	exportKeys         = `SELECT k.hash, k.id, k.hint, k.created_at, k.revoked_at, e.id, e.name, e.production` +
		` FROM api_keys k JOIN environments e ON e.id = k.environment WHERE k.hash > ? ORDER BY k.hash LIMIT ?`
	exportMeta       = `SELECT name, value FROM meta WHERE name > ? ORDER BY name LIMIT ?`
	exportChallenges = `SELECT ` + challengeColumns + ` FROM challenges c WHERE (c.hi, c.lo) > (?, ?) ORDER BY c.hi, c.lo LIMIT ?`
	exportUsers      = `SELECT environment, id, failures, bucket, expires_at FROM users WHERE (environment, id) > (?, ?) ORDER BY environment, id LIMIT ?`
	exportPhones     = `SELECT key, sends, expires_at FROM phones WHERE key > ? ORDER BY key LIMIT ?`
	exportReplays    = `SELECT bucket, key, ` + replayColumns + ` FROM replays WHERE length(key) = 16 AND (bucket, key) > (?, ?) ORDER BY bucket, key LIMIT ?`
	exportMessages   = `SELECT key, ` + messageColumns + ` FROM messages WHERE key > ? ORDER BY key LIMIT ?`
	exportTallies    = `SELECT environment, name, sealed, counts, paused_until, expires_at FROM tallies WHERE (environment, name) > (?, ?) ORDER BY environment, name LIMIT ?`

	importEnvironment = `INSERT INTO environments (id, name, production, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
	importKey         = `INSERT INTO api_keys (hash, id, environment, hint, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (hash) DO NOTHING`
	importFormer      = `INSERT INTO users (environment, id, failures, bucket, expires_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	deleteMeta        = `DELETE FROM meta WHERE name = ?`
)

// Export lists rows of a kind; see transfer.Store.
func (s *Store) Export(ctx context.Context, kind transfer.Kind, place string, limit int) (rows []transfer.Row, next string, err error) {
	var number int64
	var name string
	key := []byte{}
	// query lists what lies behind a place, add takes a row and says its place.
	query := func(*conn) *statement { return nil }
	var add func(row *columns) (transfer.Row, string, error)
	switch kind {
	case "environments":
		err = transfer.ReadPlace(place, &number)
		query = func(c *conn) *statement { return c.prepare(exportEnvironments).int(number) }
		add = func(row *columns) (transfer.Row, string, error) {
			e := &transfer.Environment{Environment: scanEnvironment(row), CreatedAt: row.time()}
			return transfer.Row{Environment: e}, transfer.Place(e.ID), nil
		}
	case "api_keys":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(exportKeys).blob(key) }
		add = func(row *columns) (transfer.Row, string, error) {
			k := &transfer.Key{Hash: row.hash()}
			k.ID, k.Hint, k.CreatedAt, k.RevokedAt = access.KeyID(row.text()), row.text(), row.time(), row.time()
			k.Environment = scanEnvironment(row)
			return transfer.Row{Key: k}, transfer.Place(k.Hash[:]), nil
		}
	case "meta":
		err = transfer.ReadPlace(place, &name)
		query = func(c *conn) *statement { return c.prepare(exportMeta).string(name) }
		add = func(row *columns) (transfer.Row, string, error) {
			m := &transfer.Meta{Name: row.text(), Value: row.blob()}
			return transfer.Row{Meta: m}, transfer.Place(m.Name), nil
		}
	case "factors":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(selectFactorsAfter).id(last(key)) }
		add = func(row *columns) (transfer.Row, string, error) {
			f := scanFactor(row)
			return transfer.Row{Factor: f}, transfer.Place(f.ID[:]), nil
		}
	case "challenges":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(exportChallenges).id(last(key)) }
		add = func(row *columns) (transfer.Row, string, error) {
			ch, err := scanChallenge(row)
			return transfer.Row{Challenge: ch}, transfer.Place(ch.ID[:]), err
		}
	case "users":
		err = transfer.ReadPlace(place, &number, &name)
		query = func(c *conn) *statement { return c.prepare(exportUsers).int(number).string(name) }
		add = func(row *columns) (transfer.Row, string, error) {
			u := &mfa.User{UserKey: mfa.UserKey{Environment: mfa.EnvironmentID(row.int()), ID: row.text()}, Failures: int(row.int())}
			u.At, u.ExpiresAt = mfa.Bucket(row.int()), row.time()
			return transfer.Row{User: u}, transfer.Place(u.Environment, u.ID), nil
		}
	case "phones":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(exportPhones).blob(key) }
		add = func(row *columns) (_ transfer.Row, _ string, err error) {
			p := &mfa.PhoneLimit{Key: row.hash()}
			p.Bucket = p.Key.Bucket()
			p.Sends, err = mfa.DecodeSends(row.blob())
			p.ExpiresAt = row.time()
			return transfer.Row{Phone: p}, transfer.Place(p.Key[:]), err
		}
	case "replays":
		err = transfer.ReadPlace(place, &number, &key)
		query = func(c *conn) *statement { return c.prepare(exportReplays).int(number).blob(key) }
		add = func(row *columns) (transfer.Row, string, error) {
			r := &mfa.Replay{
				Bucket: mfa.Bucket(row.int()), Key: row.replay(), Fingerprint: row.hash(), About: row.id(), Sealed: row.blob(), ExpiresAt: row.time(), PendingUntil: row.time(),
			}
			return transfer.Row{Replay: r}, transfer.Place(r.Bucket, r.Key[:]), nil
		}
	case "events":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(selectEvents).id(last(key)) }
		add = func(row *columns) (transfer.Row, string, error) {
			e := scanEvent(row)
			return transfer.Row{Event: &e}, transfer.Place(e.ID[:]), nil
		}
	case "messages":
		err = transfer.ReadPlace(place, &key)
		query = func(c *conn) *statement { return c.prepare(exportMessages).blob(key) }
		add = func(row *columns) (transfer.Row, string, error) {
			m := &mfa.MessageRef{Key: row.hash()}
			m.Bucket = m.Key.Bucket()
			scanMessage(row, m)
			return transfer.Row{Message: m}, transfer.Place(m.Key[:]), nil
		}
	case "tallies":
		err = transfer.ReadPlace(place, &number, &name)
		query = func(c *conn) *statement { return c.prepare(exportTallies).int(number).string(name) }
		add = func(row *columns) (transfer.Row, string, error) {
			t := &mfa.Tally{TallyKey: mfa.TallyKey{Environment: mfa.EnvironmentID(row.int()), Name: row.text()}}
			err := scanTally(row, t)
			return transfer.Row{Tally: t}, transfer.Place(t.Environment, t.Name), err
		}
	default:
		err = fmt.Errorf("unknown kind of row %q", kind)
	}
	if err != nil {
		return nil, "", err
	}
	err = s.scan(ctx, func(c *conn) error {
		return query(c).int(int64(limit)).each(func(row *columns) (err error) {
			var r transfer.Row
			r, next, err = add(row)
			rows = append(rows, r)
			return err
		})
	})
	return rows, next, err
}

// last returns the id at which a place ends, zero at the start.
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
	const keep = " ON CONFLICT DO NOTHING"
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
		_, err = bindFactor(c.prepare(insertFactor+keep), r.Factor).exec()
	case r.Challenge != nil:
		_, err = bindChallenge(c.prepare(insertChallenge+keep), r.Challenge).exec()
	case r.User != nil:
		err = importUser(c, r.User)
	case r.Phone != nil:
		err = apply(c, mfa.PutPhone{PhoneLimit: r.Phone})
	case r.Replay != nil:
		err = apply(c, mfa.PutReplay{Replay: r.Replay})
	case r.Event != nil:
		_, err = bindEvent(c.prepare(insertEvent+keep), *r.Event).exec()
	case r.Message != nil:
		err = apply(c, mfa.PutMessage{MessageRef: r.Message})
	case r.Tally != nil:
		err = apply(c, mfa.PutTally{Tally: r.Tally})
	}
	return err
}

func importUser(c *conn, u *mfa.User) error {
	if u.ExpiresAt.IsZero() {
		return apply(c, mfa.PutUser{User: u})
	}
	_, err := c.prepare(importFormer).int(int64(u.Environment)).text(u.ID).int(int64(u.Failures)).int(int64(u.At)).time(u.ExpiresAt).exec()
	return err
}

// DeleteMeta removes what is stored under name.
func (s *Store) DeleteMeta(ctx context.Context, name string) error {
	return s.write(ctx, func(c *conn) error {
		_, err := c.prepare(deleteMeta).text(name).exec()
		return domainError(err)
	})
}
