package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/rows"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

const (
	insertEnvironment  = `INSERT INTO environments (name, production, created_at) VALUES (?, ?, ?)`
	selectEnvironments = `SELECT id, name, production, settings FROM environments ORDER BY id`
	updateEnvironment  = `UPDATE environments SET settings = ? WHERE id = ?`
	insertKey          = `INSERT INTO api_keys (hash, id, environment, name, scopes, hint, created_at, expires_at, revoked_at, last_used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	keyColumns         = `k.id, k.name, k.scopes, k.hint, k.created_at, k.expires_at, k.revoked_at, k.last_used_at, coalesce(e.id, 0), coalesce(e.name, ''), coalesce(e.production, 0), coalesce(e.settings, '')`
	fromKeys           = ` FROM api_keys k LEFT JOIN environments e ON e.id = k.environment`
	selectFromKeys     = `SELECT ` + keyColumns + fromKeys
	selectKey          = selectFromKeys + ` WHERE k.hash = ?`
	selectKeyByID      = selectFromKeys + ` WHERE k.id = ?`
	selectKeys         = selectFromKeys + ` ORDER BY k.created_at, k.id`
	renameKey          = `UPDATE api_keys SET name = ? WHERE id = ?`
	revokeKey          = `UPDATE api_keys SET revoked_at = ? WHERE id = ?`
	touchKey           = `UPDATE api_keys SET last_used_at = ? WHERE id = ? AND last_used_at < ?`
	selectMeta         = `SELECT value FROM meta WHERE name = ?`
	putMeta            = `INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`
	insertMeta         = `INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING`
	swapMeta           = `UPDATE meta SET value = ? WHERE name = ? AND value = ?`
)

// InsertEnvironment stores an environment; see access.Store.
func (s *Store) InsertEnvironment(ctx context.Context, e mfa.Environment, created mfa.Event) (mfa.Environment, error) {
	err := s.change(ctx, func(c *conn) error {
		err := c.prepare(insertEnvironment).text(e.Name).int(boolean(e.Production)).time(created.At).one()
		if errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) {
			return access.ErrExists
		}
		if err != nil {
			return domainError(err)
		}
		e.ID = mfa.EnvironmentID(c.db.LastInsertRowID())
		return appendEvent(c, created.In(e.ID), nil)
	})
	return e, err
}

// Environments lists all environments; see access.Store.
func (s *Store) Environments(ctx context.Context) (found []mfa.Environment, err error) {
	err = s.scan(ctx, func(c *conn) (err error) {
		found, err = listEnvironments(c)
		return err
	})
	return found, err
}

func listEnvironments(c *conn) (found []mfa.Environment, err error) {
	err = c.prepare(selectEnvironments).each(func(row *rowReader) error {
		e, err := scanEnvironment(row)
		found = append(found, e)
		return err
	})
	return found, err
}

// UpdateEnvironment changes an environment; see access.Store.
func (s *Store) UpdateEnvironment(ctx context.Context, id mfa.EnvironmentID, change func(*mfa.Environment, []mfa.Environment) (*mfa.Event, error)) (e mfa.Environment, err error) {
	err = s.change(ctx, func(c *conn) error {
		all, err := listEnvironments(c)
		if err != nil {
			return domainError(err)
		}
		i := slices.IndexFunc(all, func(e mfa.Environment) bool { return e.ID == id })
		if i < 0 {
			return access.ErrNotFound
		}
		e = all[i]
		updated, err := change(&e, all)
		if updated == nil || err != nil {
			return err
		}
		if err := c.prepare(updateEnvironment).string(rows.EncodeSettings(e.Settings)).int(int64(id)).one(); err != nil {
			return domainError(err)
		}
		return appendEvent(c, updated.In(id), nil)
	})
	return e, err
}

// InsertKey stores a key; see access.Store.
func (s *Store) InsertKey(ctx context.Context, k access.Key, h access.Hash, created mfa.Event) error {
	return s.change(ctx, func(c *conn) error {
		if err := bindKey(c.prepare(insertKey), k, h).one(); err != nil {
			return domainError(err)
		}
		return appendEvent(c, created.In(k.Environment.ID), nil)
	})
}

// bindKey binds a key to the parameters of insertKey.
func bindKey(s *statement, k access.Key, h access.Hash) *statement {
	s = s.blob(h[:]).text(string(k.ID))
	if k.Environment.ID == 0 {
		s = s.null()
	} else {
		s = s.int(int64(k.Environment.ID))
	}
	return s.string(k.Name).int(int64(k.Scopes)).text(k.Hint).time(k.CreatedAt).time(k.ExpiresAt).time(k.RevokedAt).time(k.LastUsedAt)
}

// TouchKeys stores last uses; see access.Store.
func (s *Store) TouchKeys(ctx context.Context, used []access.Use) error {
	return s.change(ctx, func(c *conn) error {
		for _, u := range used {
			if _, err := c.prepare(touchKey).time(u.At).text(string(u.Key)).time(u.At).exec(); err != nil {
				return domainError(err)
			}
		}
		return nil
	})
}

// KeyByHash finds a key; see access.Store.
func (s *Store) KeyByHash(ctx context.Context, h access.Hash) (access.Key, error) {
	var found []access.Key
	err := s.read(ctx, func(c *conn) error { return listKeys(c.prepare(selectKey).blob(h[:]), &found) })
	if err == nil && len(found) == 0 {
		err = access.ErrNotFound
	}
	if err != nil {
		return access.Key{}, err
	}
	return found[0], nil
}

// Keys lists all keys; see access.Store.
func (s *Store) Keys(ctx context.Context) (found []access.Key, err error) {
	err = s.scan(ctx, func(c *conn) error { return listKeys(c.prepare(selectKeys), &found) })
	return found, err
}

func listKeys(query *statement, found *[]access.Key) error {
	return query.each(func(row *rowReader) error {
		k, err := scanKey(row)
		*found = append(*found, k)
		return err
	})
}

// scanKey reads keyColumns.
func scanKey(row *rowReader) (k access.Key, err error) {
	k = access.Key{
		ID: access.KeyID(row.text()), Name: row.text(), Scopes: access.Scopes(row.int()), Hint: row.text(),
		CreatedAt: row.time(), ExpiresAt: row.time(), RevokedAt: row.time(), LastUsedAt: row.time(),
	}
	k.Environment, err = scanEnvironment(row)
	return k, err
}

// RevokeKey marks a key as revoked; see access.Store.
func (s *Store) RevokeKey(ctx context.Context, id access.KeyID, revoked mfa.Event) error {
	return s.change(ctx, func(c *conn) error {
		var found []access.Key
		err := listKeys(c.prepare(selectKeyByID).text(string(id)), &found)
		switch {
		case err != nil:
			return domainError(err)
		case len(found) == 0:
			return access.ErrNotFound
		case !found[0].RevokedAt.IsZero():
			return nil
		}
		if err := c.prepare(revokeKey).time(revoked.At).text(string(id)).one(); err != nil {
			return domainError(err)
		}
		return appendEvent(c, revoked.In(found[0].Environment.ID), nil)
	})
}

// RenameKey gives a key another name; see access.Store.
func (s *Store) RenameKey(ctx context.Context, id access.KeyID, name string, renamed mfa.Event) error {
	return s.change(ctx, func(c *conn) error {
		var found []access.Key
		err := listKeys(c.prepare(selectKeyByID).text(string(id)), &found)
		switch {
		case err != nil:
			return domainError(err)
		case len(found) == 0:
			return access.ErrNotFound
		case found[0].Name == name:
			return nil
		}
		if err := c.prepare(renameKey).string(name).text(string(id)).one(); err != nil {
			return domainError(err)
		}
		return appendEvent(c, renamed.In(found[0].Environment.ID), nil)
	})
}

// Meta returns the value with that name, or nil if it does not exist.
func (s *Store) Meta(ctx context.Context, name string) (value []byte, err error) {
	err = s.read(ctx, func(c *conn) (err error) {
		value, err = readMeta(c, name)
		return err
	})
	return value, err
}

func readMeta(c *conn, name string) (value []byte, err error) {
	err = c.prepare(selectMeta).text(name).each(func(row *rowReader) error {
		value = row.blob()
		return nil
	})
	return value, err
}

// MarkMoved stores the name of the target of a copy; see transfer.Store. Transactions
// run one after another, so the next one sees the mark.
func (s *Store) MarkMoved(ctx context.Context, target string) error {
	return s.PutMeta(ctx, transfer.MetaMoved, []byte(target))
}

// PutMeta stores value under name and replaces the previous value.
func (s *Store) PutMeta(ctx context.Context, name string, value []byte) error {
	return s.write(ctx, func(c *conn) error {
		_, err := c.prepare(putMeta).text(name).blob(value).exec()
		return domainError(err)
	})
}

// SwapMeta stores value under name if the stored value is old; see transfer.Store.
func (s *Store) SwapMeta(ctx context.Context, name string, old, value []byte) (swapped bool, err error) {
	err = s.write(ctx, func(c *conn) error {
		change := c.prepare(insertMeta).text(name).blob(value)
		if old != nil {
			change = c.prepare(swapMeta).blob(value).text(name).blob(old)
		}
		n, err := change.exec()
		swapped = n == 1
		return domainError(err)
	})
	return swapped, err
}

func scanEnvironment(row *rowReader) (e mfa.Environment, err error) {
	e = mfa.Environment{ID: mfa.EnvironmentID(row.int()), Name: row.text(), Production: row.bool()}
	if e.Settings, err = rows.DecodeSettings(row.text()); err != nil {
		err = fmt.Errorf("environment %q: %w", e.Name, err)
	}
	return e, err
}

func boolean(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
