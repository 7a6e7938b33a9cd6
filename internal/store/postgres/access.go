package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	insertEnvironment  = `INSERT INTO environments (name, production, created_at) VALUES ($1, $2, $3) RETURNING id`
	selectEnvironments = `SELECT id, name, production FROM environments ORDER BY id`
	insertKey          = `INSERT INTO api_keys (hash, id, environment, hint, created_at) VALUES ($1, $2, $3, $4, $5)`
	selectKeys         = `SELECT k.id, k.hint, k.created_at, k.revoked_at, e.id, e.name, e.production` +
		` FROM api_keys k JOIN environments e ON e.id = k.environment`
	selectKeyByHash = selectKeys + ` WHERE k.hash = $1`
	selectAllKeys   = selectKeys + ` ORDER BY k.created_at, k.id`
	lockKey         = `SELECT environment, revoked_at FROM api_keys WHERE id = $1 FOR UPDATE`
	revokeKey       = `UPDATE api_keys SET revoked_at = $1 WHERE id = $2`
	selectMeta      = `SELECT value FROM meta WHERE name = $1`
	putMeta         = `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
	insertMeta      = `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`
	swapMeta        = `UPDATE meta SET value = $3 WHERE name = $1 AND value = $2`

	// keysChannel receives a notification when a key is revoked.
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

// InsertKey stores a key; see access.Store.
func (s *Store) InsertKey(ctx context.Context, k access.Key, h access.Hash, created mfa.Event) error {
	return domainError(s.change(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertKey, h[:], k.ID, k.Environment.ID, k.Hint, k.CreatedAt); err != nil {
			return err
		}
		return appendEvent(ctx, tx, created.In(k.Environment.ID))
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
	k := access.Key{ID: access.KeyID(row.text()), Hint: row.text(), CreatedAt: row.time(), RevokedAt: row.time()}
	k.Environment = row.environment()
	return k, row.err
}

func (r *rowReader) environment() mfa.Environment {
	return mfa.Environment{ID: mfa.EnvironmentID(r.bigint()), Name: r.text(), Production: r.bool()}
}

// RevokeKey marks a key as revoked and notifies all nodes; see access.Store. It notifies them
// also of a key that was revoked before: a node may have missed the first notification.
func (s *Store) RevokeKey(ctx context.Context, id access.KeyID, revoked mfa.Event) error {
	return domainError(s.change(ctx, func(tx pgx.Tx) error {
		var env mfa.EnvironmentID
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
		return appendEvent(ctx, tx, revoked.In(env))
	}))
}

// WatchKeys calls changed after each revocation of a key on any node, until ctx ends.
// It misses revocations while its connection is lost. It only makes nodes notice
// revocations sooner.
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
