// Package drivers states the operations that the store needs of an SQLite driver,
// to compare drivers on the same work. Each adapter is one small package.
package drivers

import "context"

// Schema is a table of the store's shape: no rowid, bucket first in the key.
const Schema = `CREATE TABLE IF NOT EXISTS factors (
	bucket       INTEGER NOT NULL,
	id           BLOB    NOT NULL,
	environment  INTEGER NOT NULL,
	type         INTEGER NOT NULL,
	user_id      TEXT,
	sealed       BLOB    NOT NULL,
	last_step    INTEGER NOT NULL,
	failures     INTEGER NOT NULL,
	locked_until INTEGER NOT NULL,
	created_at   INTEGER NOT NULL,
	updated_at   INTEGER NOT NULL,
	PRIMARY KEY (bucket, id)
) WITHOUT ROWID`

// The statements every adapter prepares once and uses again.
const (
	Insert    = `INSERT INTO factors VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	Select    = `SELECT environment, type, user_id, sealed, last_step, failures, locked_until, created_at, updated_at FROM factors WHERE bucket = ? AND id = ?`
	Update    = `UPDATE factors SET last_step = ?, failures = ?, updated_at = ? WHERE bucket = ? AND id = ?`
	Begin     = `BEGIN IMMEDIATE`
	Commit    = `COMMIT`
	Rollback  = `ROLLBACK`
	Savepoint = `SAVEPOINT one`
	Release   = `RELEASE one`
	Undo      = `ROLLBACK TO one`
)

// Controls are the statements that Conn.Control accepts.
var Controls = []string{Begin, Commit, Rollback, Savepoint, Release, Undo}

// Pragmas open every connection alike. Checkpoints are asked for, never taken by
// a commit. SQLite's default cache is 2,000 KiB; 16 MiB serves the reader better.
var Pragmas = []string{
	"busy_timeout = 5000",
	"journal_mode = WAL",
	"synchronous = FULL",
	"wal_autocheckpoint = 0",
	"cache_size = -16384",
	"foreign_keys = ON",
	"temp_store = MEMORY",
}

// A Row is one factor.
type Row struct {
	Bucket               int64
	ID                   [16]byte
	Environment, Type    int64
	UserID               string
	Sealed               [53]byte
	LastStep, Failures   int64
	LockedUntil          int64
	CreatedAt, UpdatedAt int64
}

// A Conn is one connection with its prepared statements. One goroutine may use
// it at a time.
type Conn interface {
	Exec(sql string) error
	Control(statement string) error // one of Controls, prepared
	Insert(r *Row) error
	Read(r *Row) (found bool, err error) // by r.Bucket and r.ID, filling the rest
	Update(r *Row) error                 // LastStep, Failures and UpdatedAt
	// Int returns the first column of the first row as a number, or 0. It stops
	// with Interrupted when ctx is done.
	Int(ctx context.Context, sql string) (int64, error)
	// Checkpoint runs PRAGMA wal_checkpoint(mode): frames in the log, frames copied.
	Checkpoint(mode string) (busy bool, logged, copied int, err error)
	Close() error
}

// A Kind is what the store must tell apart in an error.
type Kind string

const (
	None        Kind = ""
	Unique      Kind = "unique"
	Busy        Kind = "busy"
	Full        Kind = "full"
	Interrupted Kind = "interrupted"
	Other       Kind = "other"
)

// A Driver opens connections and reads its own errors.
type Driver struct {
	Name string
	Open func(path string) (Conn, error)
	Kind func(error) Kind
}
