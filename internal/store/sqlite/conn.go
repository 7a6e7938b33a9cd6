package sqlite

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// A conn is one connection with the statements prepared on it. One goroutine
// uses it at a time.
type conn struct {
	db         *sqlite3.Conn
	statements map[string]*sqlite3.Stmt
	wrote      bool // since the transaction began
}

// busyTimeout is how long to wait for another process, which holds the write
// lock for the time of a commit.
const busyTimeout = 10 * time.Second

// dial opens path. Commits are durable when they return: WAL with synchronous=FULL.
func dial(path string, cachePages int) (*conn, error) {
	db, err := sqlite3.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	c := &conn{db: db, statements: make(map[string]*sqlite3.Stmt)}
	pragmas := []string{
		"journal_mode = WAL",
		"synchronous = FULL",
		"foreign_keys = ON",
		"secure_delete = FAST", // a deleted secret is overwritten where it stood
		"wal_autocheckpoint = 0",
		"temp_store = MEMORY",
		fmt.Sprintf("cache_size = %d", cachePages),
	}
	if err = db.BusyTimeout(busyTimeout); err == nil {
		err = patiently(func() error { return db.Exec("PRAGMA " + strings.Join(pragmas, "; PRAGMA ")) })
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up %s: %w", path, err), c.close())
	}
	return c, nil
}

// patiently repeats fn while the database is locked: SQLite does not wait when
// another process is just making the database or closing it.
func patiently(fn func() error) error {
	start := time.Now()
	for {
		err := fn()
		if !errors.Is(err, sqlite3.BUSY) || time.Since(start) > busyTimeout {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.db.Close())...)
}

// A statement is being given its values: prepare it, bind them in order, then
// exec it or read its rows.
type statement struct {
	*sqlite3.Stmt
	c   *conn
	n   int
	err error
}

// prepare returns the statement of sql, parsed at its first use.
func (c *conn) prepare(sql string) *statement {
	s := c.statements[sql]
	if s == nil {
		var err error
		s, _, err = c.db.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT)
		if err != nil {
			return &statement{err: fmt.Errorf("prepare: %w", err)}
		}
		c.statements[sql] = s
	}
	return &statement{Stmt: s, c: c}
}

func (s *statement) bind(to func(n int) error) *statement {
	if s.err == nil {
		s.n++
		s.err = to(s.n)
	}
	return s
}

func (s *statement) int(v int64) *statement {
	return s.bind(func(n int) error { return s.BindInt64(n, v) })
}

// time binds milliseconds since 1970, 0 for the zero time.
func (s *statement) time(t time.Time) *statement { return s.int(millis(t)) }

// text binds v, NULL if it is empty.
func (s *statement) text(v string) *statement {
	if v == "" {
		return s.bind(func(n int) error { return s.BindNull(n) })
	}
	return s.bind(func(n int) error { return s.BindText(n, v) })
}

// string binds v, which may be empty.
func (s *statement) string(v string) *statement {
	return s.bind(func(n int) error { return s.BindText(n, v) })
}

// blob binds v, NULL if it is nil.
func (s *statement) blob(v []byte) *statement {
	if v == nil {
		return s.bind(func(n int) error { return s.BindNull(n) })
	}
	return s.bind(func(n int) error { return s.BindBlob(n, v) })
}

// id binds an id, NULL if it is none.
func (s *statement) id(v [16]byte) *statement {
	if v == ([16]byte{}) {
		return s.blob(nil)
	}
	return s.blob(v[:])
}

// hash binds a hash, NULL if it is none.
func (s *statement) hash(v [32]byte) *statement {
	if v == ([32]byte{}) {
		return s.blob(nil)
	}
	return s.blob(v[:])
}

// exec runs a statement that returns no rows and reports how many it changed.
func (s *statement) exec() (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.c.wrote = true
	if err := s.Exec(); err != nil {
		return 0, err
	}
	return int(s.c.db.Changes()), nil
}

// one runs an exec that must change exactly one row.
func (s *statement) one() error {
	n, err := s.exec()
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows changed; want 1", n)
	}
	return err
}

// each calls row for every row of a query.
func (s *statement) each(row func(*columns) error) error {
	if s.err != nil {
		return s.err
	}
	for s.Step() {
		if err := row(&columns{s.Stmt, 0}); err != nil {
			return errors.Join(err, s.Reset())
		}
	}
	return errors.Join(s.Err(), s.Reset())
}

// columns reads the values of a row from left to right.
type columns struct {
	*sqlite3.Stmt
	n int
}

func (c *columns) next() int { c.n++; return c.n - 1 }

func (c *columns) int() int64 { return c.ColumnInt64(c.next()) }

func (c *columns) bool() bool { return c.int() != 0 }

func (c *columns) text() string { return c.ColumnText(c.next()) }

// blob returns a copy, nil for NULL alone.
func (c *columns) blob() []byte {
	n := c.next()
	b := c.ColumnBlob(n, nil)
	if b == nil && c.ColumnType(n) != sqlite3.NULL {
		return []byte{}
	}
	return b
}

func (c *columns) id() (id [16]byte) { copy(id[:], c.ColumnRawBlob(c.next())); return id }

func (c *columns) hash() (h [32]byte) { copy(h[:], c.ColumnRawBlob(c.next())); return h }

func (c *columns) time() time.Time { return fromMillis(c.int()) }

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// transaction runs fn between begin and COMMIT, or ROLLBACK if it fails.
func (c *conn) transaction(begin string, fn func() error) error {
	c.wrote = false
	if _, err := c.prepare(begin).exec(); err != nil {
		return err
	}
	c.wrote = false
	err := fn()
	if err == nil {
		_, err = c.prepare("COMMIT").exec()
	}
	if err != nil && !c.db.GetAutocommit() {
		_, undo := c.prepare("ROLLBACK").exec()
		err = errors.Join(err, undo)
	}
	return err
}
