package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

const (
	insertEnvironment  = `INSERT INTO environments (name, production, created_at) VALUES ($1, $2, $3) RETURNING id`
	selectEnvironments = `SELECT id, name, production, settings FROM environments ORDER BY id`
	lockEnvironments   = selectEnvironments + ` FOR UPDATE`
	updateEnvironment  = `UPDATE environments SET settings = $1 WHERE id = $2`
	insertKey          = `INSERT INTO api_keys (hash, id, environment, name, scopes, hint, created_at, expires_at, revoked_at, last_used_at)` +
		` VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
	keyColumns      = `k.id, k.name, k.scopes, k.hint, k.created_at, k.expires_at, k.revoked_at, k.last_used_at, coalesce(e.id, 0), coalesce(e.name, ''), coalesce(e.production, false), coalesce(e.settings, '')`
	fromKeys        = ` FROM api_keys k LEFT JOIN environments e ON e.id = k.environment`
	selectKeys      = `SELECT ` + keyColumns + fromKeys
	selectKeyByHash = selectKeys + ` WHERE k.hash = $1`
	selectAllKeys   = selectKeys + ` ORDER BY k.created_at, k.id`
	lockKey         = `SELECT environment, revoked_at FROM api_keys WHERE id = $1 FOR UPDATE`
	lockKeyName     = `SELECT environment, coalesce(name, '') FROM api_keys WHERE id = $1 FOR UPDATE`
	renameKey       = `UPDATE api_keys SET name = $1 WHERE id = $2`
	revokeKey       = `UPDATE api_keys SET revoked_at = $1 WHERE id = $2`
	touchKey        = `UPDATE api_keys SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)`
	selectMeta      = `SELECT value FROM meta WHERE name = $1`
	putMeta         = `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
	insertMeta      = `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`
	swapMeta        = `UPDATE meta SET value = $3 WHERE name = $1 AND value = $2`

	// keysChannel receives a notification when a key is revoked, and when settings are changed.
	keysChannel = "countersign_keys"
)

// InsertEnvironment stores an environment; see access.Store.
func (s *Store) InsertEnvironment(ctx context.Context, e mfa.Environment, created mfa.Event) (mfa.Environment, error) {
	err := s.change(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, insertEnvironment, e.Name, e.Production, created.At).Scan(&e.ID)
		if err != nil {
			return err
		}
		return appendEvent(ctx, tx, created.In(e.ID))
	})
	if sqlState(err) == uniqueViolation {
		return e, access.ErrExists
	}
	return e, domainError(err)
}

// Environments lists all environments; see access.Store.
func (s *Store) Environments(ctx context.Context) ([]mfa.Environment, error) {
	return collect(ctx, s, func(row *rowReader) (mfa.Environment, error) { return row.environment(), row.err }, selectEnvironments)
}

// UpdateEnvironment changes an environment and notifies all nodes; see access.Store.
func (s *Store) UpdateEnvironment(ctx context.Context, id mfa.EnvironmentID, change func(*mfa.Environment, []mfa.Environment) (*mfa.Event, error)) (e mfa.Environment, err error) {
	err = domainError(s.change(ctx, func(tx pgx.Tx) error {
		found, err := tx.Query(ctx, lockEnvironments)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (e mfa.Environment, err error) {
			var settings string
			if err = row.Scan(&e.ID, &e.Name, &e.Production, &settings); err == nil {
				e.Settings, err = rows.DecodeSettings(settings)
			}
			return e, err
		})
		if err != nil {
			return err
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
		if _, err := tx.Exec(ctx, "SELECT pg_notify($1, '')", keysChannel); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, updateEnvironment, rows.EncodeSettings(e.Settings), id); err != nil {
			return err
		}
		return appendEvent(ctx, tx, updated.In(id))
	}))
	return e, err
}

// InsertKey stores a key; see access.Store.
func (s *Store) InsertKey(ctx context.Context, k access.Key, h access.Hash, created mfa.Event) error {
	return domainError(s.change(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertKey, keyValues(k, h)...); err != nil {
			return err
		}
		return appendEvent(ctx, tx, created.In(k.Environment.ID))
	}))
}

// keyValues returns the parameters of insertKey.
func keyValues(k access.Key, h access.Hash) []any {
	var env *int64 // NULL: all environments
	if id := int64(k.Environment.ID); id != 0 {
		env = &id
	}
	return []any{h[:], k.ID, env, k.Name, int16(k.Scopes), k.Hint, k.CreatedAt, instant(k.ExpiresAt), instant(k.RevokedAt), instant(k.LastUsedAt)}
}

// TouchKeys stores last uses; see access.Store. Nodes lock the keys in the order of their
// ids, so they do not wait for one another in a circle.
func (s *Store) TouchKeys(ctx context.Context, used []access.Use) error {
	used = slices.SortedFunc(slices.Values(used), func(a, b access.Use) int { return cmp.Compare(a.Key, b.Key) })
	return domainError(s.change(ctx, func(tx pgx.Tx) error {
		for _, u := range used {
			if _, err := tx.Exec(ctx, touchKey, u.At, u.Key); err != nil {
				return err
			}
		}
		return nil
	}))
}

// KeyByHash finds a key; see access.Store.
func (s *Store) KeyByHash(ctx context.Context, h access.Hash) (access.Key, error) {
	k, err := collectOne(ctx, s, scanKey, selectKeyByHash, h[:])
	if errors.Is(err, pgx.ErrNoRows) {
		return access.Key{}, access.ErrNotFound
	}
	return k, err
}

// Keys lists all keys; see access.Store.
func (s *Store) Keys(ctx context.Context) ([]access.Key, error) {
	return collect(ctx, s, scanKey, selectAllKeys)
}

func scanKey(row *rowReader) (access.Key, error) {
	k := access.Key{
		ID: access.KeyID(row.text()), Name: row.text(), Scopes: access.Scopes(row.smallint()), Hint: row.text(),
		CreatedAt: row.time(), ExpiresAt: row.time(), RevokedAt: row.time(), LastUsedAt: row.time(),
	}
	k.Environment = row.environment()
	return k, row.err
}

func (r *rowReader) environment() mfa.Environment {
	e := mfa.Environment{ID: mfa.EnvironmentID(r.bigint()), Name: r.text(), Production: r.bool()}
	settings, err := rows.DecodeSettings(r.text())
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("environment %q: %w", e.Name, err)
	}
	e.Settings = settings
	return e
}

// RevokeKey marks a key as revoked and notifies all nodes; see access.Store. It notifies them
// also of a key that was revoked before: a node may have missed the first notification.
func (s *Store) RevokeKey(ctx context.Context, id access.KeyID, revoked mfa.Event) error {
	return domainError(s.change(ctx, func(tx pgx.Tx) error {
		var env *int64
		var before *time.Time
		err := tx.QueryRow(ctx, lockKey, id).Scan(&env, &before)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return access.ErrNotFound
		case err != nil:
			return err
		}
		if _, err = tx.Exec(ctx, "SELECT pg_notify($1, $2)", keysChannel, string(id)); err != nil || before != nil {
			return err
		}
		if _, err := tx.Exec(ctx, revokeKey, revoked.At, id); err != nil {
			return err
		}
		var of mfa.EnvironmentID
		if env != nil {
			of = mfa.EnvironmentID(*env)
		}
		return appendEvent(ctx, tx, revoked.In(of))
	}))
}

// RenameKey gives a key another name and notifies all nodes; see access.Store.
func (s *Store) RenameKey(ctx context.Context, id access.KeyID, name string, renamed mfa.Event) error {
	return domainError(s.change(ctx, func(tx pgx.Tx) error {
		var env *int64
		var before string
		err := tx.QueryRow(ctx, lockKeyName, id).Scan(&env, &before)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return access.ErrNotFound
		case err != nil || before == name:
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_notify($1, $2)", keysChannel, string(id)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, renameKey, name, id); err != nil {
			return err
		}
		var of mfa.EnvironmentID
		if env != nil {
			of = mfa.EnvironmentID(*env)
		}
		return appendEvent(ctx, tx, renamed.In(of))
	}))
}

// WatchKeys calls changed after each revocation of a key and each change of settings on any
// node, until ctx ends. It misses them while its connection is lost. It only makes nodes
// notice them sooner.
func (s *Store) WatchKeys(ctx context.Context, changed func()) {
	for ctx.Err() == nil {
		if err := s.listen(ctx, changed); err != nil && ctx.Err() == nil {
			s.log.Warn("listen for revoked keys", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(connectTimeout):
		}
	}
}

func (s *Store) listen(ctx context.Context, changed func()) error {
	conn, err := dial(ctx, s.pool.Config())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN "+keysChannel); err != nil {
		return err
	}
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
		changed()
	}
}

// Meta returns the value stored under name, or nil if name has no value.
func (s *Store) Meta(ctx context.Context, name string) (value []byte, err error) {
	value, err = collectOne(ctx, s, func(row *rowReader) ([]byte, error) { return row.bytea(), row.err }, selectMeta, name)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return value, err
}

// PutMeta stores value under name and replaces an earlier value.
func (s *Store) PutMeta(ctx context.Context, name string, value []byte) error {
	if _, err := s.exec(ctx, putMeta, name, value); err != nil {
		return fmt.Errorf("put %s: %w", name, domainError(err))
	}
	return nil
}

// SwapMeta stores value under name if the current value is old; see transfer.Store.
func (s *Store) SwapMeta(ctx context.Context, name string, old, value []byte) (bool, error) {
	sql, args := swapMeta, []any{name, old, value}
	if old == nil {
		sql, args = insertMeta, []any{name, value}
	}
	tag, err := s.exec(ctx, sql, args...)
	if err != nil {
		return false, fmt.Errorf("swap %s: %w", name, domainError(err))
	}
	return tag.RowsAffected() == 1, nil
}
