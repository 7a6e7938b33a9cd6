package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/store/migrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrOutdated means that the schema is older than this program.
var ErrOutdated = errors.New("the schema of the store is out of date; run 'countersign migrate' on it")

const (
	createVersions = `CREATE TABLE IF NOT EXISTS schema_versions (version integer PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now())`
	selectVersion  = `SELECT coalesce(max(version), 0) FROM schema_versions`
	insertVersion  = `INSERT INTO schema_versions (version, name) VALUES ($1, $2)`
	hasVersions    = `SELECT to_regclass('schema_versions') IS NOT NULL`
	// migrateLock makes nodes that start at the same time migrate one after another.
	migrateLock    = `SELECT pg_advisory_xact_lock($1)`
	migrateLockKey = 0x636f756e746d6731 // "countmg1"
)

// Exists reports whether the database at url has a schema of Countersign.
func Exists(ctx context.Context, url string) (exists bool, err error) {
	cfg, err := configure(url)
	if err != nil {
		return false, err
	}
	conn, err := dial(ctx, cfg)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, hasVersions).Scan(&exists)
	return exists, err
}

// Migrate brings the schema of the database at url up to date. Any number of
// nodes may call it at the same time. It returns migrate.ErrNewer for a schema that
// this program does not know.
func Migrate(ctx context.Context, url string) error {
	cfg, err := configure(url)
	if err != nil {
		return err
	}
	conn, err := dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	all, err := known()
	if err != nil {
		return err
	}
	// A node that waited for the lock must see the migrations of the nodes before it.
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, migrateLock, int64(migrateLockKey)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, createVersions); err != nil {
			return err
		}
		var version int
		if err := tx.QueryRow(ctx, selectVersion).Scan(&version); err != nil {
			return err
		}
		missing, err := migrate.After(all, version)
		if err != nil {
			return err
		}
		for _, m := range missing {
			if _, err := tx.Exec(ctx, m.SQL); err != nil {
				return fmt.Errorf("%04d_%s: %w", m.Version, m.Name, err)
			}
			if _, err := tx.Exec(ctx, insertVersion, m.Version, m.Name); err != nil {
				return err
			}
		}
		return nil
	})
	if isPooler(err) {
		return domainError(err)
	}
	return err
}

func known() ([]migrate.Migration, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return migrate.Load(dir)
}

// checkSchema returns ErrOutdated for a schema that lacks a migration, and
// migrate.ErrNewer for one that this program does not know.
func (s *Store) checkSchema(ctx context.Context) error {
	all, err := known()
	if err != nil {
		return err
	}
	var there bool
	if err := s.pool.QueryRow(ctx, hasVersions).Scan(&there); err != nil {
		return domainError(err)
	}
	if !there {
		return ErrOutdated
	}
	var version int
	if err := s.pool.QueryRow(ctx, selectVersion).Scan(&version); err != nil {
		return domainError(err)
	}
	missing, err := migrate.After(all, version)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return ErrOutdated
	}
	return nil
}
