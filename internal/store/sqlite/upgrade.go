package sqlite

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/store/migrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// upgrade updates the schema to the current version.
func upgrade(c *conn) error {
	all, err := loadMigrations()
	if err != nil {
		return err
	}
	// Two processes may start at once, so the version is read under the write lock.
	return c.transaction("BEGIN IMMEDIATE", func() error {
		version, err := c.schema()
		if err != nil {
			return err
		}
		missing, err := migrate.After(all, version)
		if err != nil || len(missing) == 0 {
			return err
		}
		if err := errors.Join(addFunctions(c.db), c.countLog()); err != nil {
			return err
		}
		for _, m := range missing {
			if err := c.db.Exec(m.SQL); err != nil {
				return fmt.Errorf("%04d_%s: %w", m.Version, m.Name, err)
			}
			if err := c.db.Exec(fmt.Sprintf("PRAGMA user_version = %d", m.Version)); err != nil {
				return err
			}
		}
		return nil
	})
}

func loadMigrations() ([]migrate.Migration, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return migrate.Load(dir)
}

// schema returns the version of the schema, or 0 if the database has no schema.
func (c *conn) schema() (version int, err error) {
	err = c.prepare("PRAGMA user_version").each(func(row *rowReader) error {
		version = int(row.int())
		return nil
	})
	return version, err
}

// addFunctions adds the SQL functions that migrations use to convert old values. Each
// function returns NULL for NULL.
func addFunctions(db *sqlite3.Conn) error {
	ofID := func(name string, fn func(id [16]byte) int64) error {
		return db.CreateFunction(name, 1, sqlite3.DETERMINISTIC, func(ctx sqlite3.Context, arg ...sqlite3.Value) {
			if arg[0].Type() != sqlite3.NULL {
				ctx.ResultInt64(fn(last(arg[0].RawBlob())))
			}
		})
	}
	return errors.Join(
		ofID("id_hi", func(id [16]byte) int64 { hi, _ := numbers(id); return hi }),
		ofID("id_lo", func(id [16]byte) int64 { _, lo := numbers(id); return lo }),
		ofID("id_ms", idMillis),
		db.CreateFunction("user_hash", 2, sqlite3.DETERMINISTIC, func(ctx sqlite3.Context, arg ...sqlite3.Value) {
			if arg[1].Type() != sqlite3.NULL {
				ctx.ResultInt64(userHash(arg[0].Int64(), arg[1].Text()))
			}
		}),
		db.CreateFunction("word", 1, sqlite3.DETERMINISTIC, func(ctx sqlite3.Context, arg ...sqlite3.Value) {
			if n := wordNumbers[arg[0].Text()]; n != 0 {
				ctx.ResultInt64(n)
			} else {
				ctx.ResultValue(arg[0])
			}
		}),
	)
}
