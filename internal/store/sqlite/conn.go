package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/rows"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A conn is one connection with its prepared statements. Only one goroutine may use it
// at a time.
type conn struct {
	db         *sqlite3.Conn
	statements map[string]*statement
	wrote      bool // since the start of the transaction
	files      *files
	recent     *memory // only the writer has one
	log        *logState
}

// busyTimeout is the longest wait for another process, which holds the write lock for
// the duration of a commit.
const busyTimeout = 10 * time.Second

// dial connects to a database. Commits are durable when they return, because it uses a
// write-ahead log with synchronous=FULL.
func dial(files *files, cachePages int) (*conn, error) {
	path := files.path
	db, err := sqlite3.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	c := &conn{db: db, statements: make(map[string]*statement), files: files, log: new(logState)}
	pragmas := []string{
		"journal_mode = WAL",
		"synchronous = FULL",
		"foreign_keys = ON",
		"secure_delete = FAST", // overwrites a deleted secret in place
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

// patiently repeats fn while the database is locked. SQLite does not wait while another
// process creates or closes the database.
func patiently(fn func() error) error {
	start := wallclock.Start()
	for {
		err := fn()
		if !errors.Is(err, sqlite3.BUSY) || start.Elapsed() > busyTimeout {
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
	if c.files.lost.Load() != nil {
		// Other files may have these names now, and SQLite would remove them.
		_, err := c.db.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true)
		_, also := c.db.FileControl("main", sqlite3.FCNTL_PERSIST_WAL, true)
		errs = append(errs, err, also)
	}
	return errors.Join(append(errs, c.db.Close())...)
}

// A statement collects the values of a prepared statement: call prepare, bind the
// values in order, and then call exec or read the rows.
type statement struct {
	*sqlite3.Stmt
	c   *conn
	n   int
	key rows.Key // of the bound row, zero for a row without a key
	err error
}

// prepare returns the statement for sql and parses sql only at the first use. The
// statement is valid until the next call with the same sql.
func (c *conn) prepare(sql string) *statement {
	s := c.statements[sql]
	if s == nil {
		stmt, _, err := c.db.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT)
		if err != nil {
			return &statement{err: fmt.Errorf("prepare: %w", err)}
		}
		s = &statement{Stmt: stmt, c: c}
		c.statements[sql] = s
	}
	s.n, s.key, s.err = 0, rows.Key{}, nil
	return s
}

func (s *statement) int(v int64) *statement {
	if s.err == nil {
		s.n++
		s.err = s.BindInt64(s.n, v)
	}
	return s
}

func (s *statement) null() *statement {
	if s.err == nil {
		s.n++
		s.err = s.BindNull(s.n)
	}
	return s
}

// time binds milliseconds since 1970, or 0 for the zero time.
func (s *statement) time(t time.Time) *statement { return s.int(millis(t)) }

// since binds milliseconds since the time in an id, or NULL for the zero time.
func (s *statement) since(id [16]byte, t time.Time) *statement {
	if t.IsZero() {
		return s.null()
	}
	return s.int(t.UnixMilli() - idMillis(id))
}

// text binds v, or NULL if it is empty.
func (s *statement) text(v string) *statement {
	if v == "" {
		return s.null()
	}
	return s.string(v)
}

// string binds v, which may be empty.
func (s *statement) string(v string) *statement {
	if s.err == nil {
		s.n++
		s.err = s.BindText(s.n, v)
	}
	return s
}

// word binds the number of v in words, v itself if it is not in words, or NULL if it is
// empty.
func (s *statement) word(v string) *statement {
	if n := wordNumbers[v]; n != 0 {
		return s.int(n)
	}
	return s.text(v)
}

// blob binds v, or NULL if it is nil.
func (s *statement) blob(v []byte) *statement {
	if v == nil {
		return s.null()
	}
	if s.err == nil {
		s.n++
		s.err = s.BindBlob(s.n, v)
	}
	return s
}

// id binds the two numbers of an id.
func (s *statement) id(v [16]byte) *statement {
	hi, lo := numbers(v)
	return s.int(hi).int(lo)
}

// upper binds the first number of an id.
func (s *statement) upper(v [16]byte) *statement {
	hi, _ := numbers(v)
	return s.int(hi)
}

// idOrNull binds the numbers of an id, or NULL for the zero id.
func (s *statement) idOrNull(v [16]byte) *statement {
	if v == ([16]byte{}) {
		return s.null().null()
	}
	return s.id(v)
}

// replay binds the key of a replay record, or NULL if it is zero.
func (s *statement) replay(v mfa.ReplayKey) *statement {
	if v == (mfa.ReplayKey{}) {
		return s.null()
	}
	return s.blob(v[:])
}

// signBit is the sign bit of each number of an id. The stored numbers have it inverted,
// so signed integers sort in the order of the bytes.
const signBit = 1 << 63

// numbers returns the two integers that represent an id in the file.
func numbers(id [16]byte) (hi, lo int64) {
	return int64(binary.BigEndian.Uint64(id[:8]) ^ signBit), int64(binary.BigEndian.Uint64(id[8:]) ^ signBit)
}

// idOf returns the id for two numbers.
func idOf(hi, lo int64) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], uint64(hi)^signBit)
	binary.BigEndian.PutUint64(id[8:], uint64(lo)^signBit)
	return id
}

// idMillis returns the time in an id, in milliseconds since 1970.
func idMillis(id [16]byte) int64 { return int64(binary.BigEndian.Uint64(id[:8]) >> 16) }

// exec runs a statement that returns no rows and returns the number of changed rows.
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

// one runs exec and returns an error unless exactly one row changed.
func (s *statement) one() error {
	n, err := s.exec()
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows changed; want 1", n)
	}
	return err
}

// each calls row for every row of a query.
func (s *statement) each(row func(*rowReader) error) error {
	if s.err != nil {
		return s.err
	}
	for s.Step() {
		if err := row(&rowReader{Stmt: s.Stmt}); err != nil {
			return errors.Join(err, s.Reset())
		}
	}
	return errors.Join(s.Err(), s.Reset())
}

// A rowReader reads the values of one row from left to right.
type rowReader struct {
	*sqlite3.Stmt
	n   int
	key rows.Key // of the row, zero for a row without a key
	err error    // of the first value that could not be read
}

func (c *rowReader) next() int { c.n++; return c.n - 1 }

func (c *rowReader) int() int64 { return c.ColumnInt64(c.next()) }

func (c *rowReader) bool() bool { return c.int() != 0 }

func (c *rowReader) text() string { return c.ColumnText(c.next()) }

// blob returns a copy of the bytes, or nil for NULL.
func (c *rowReader) blob() []byte {
	n := c.next()
	b := c.ColumnBlob(n, nil)
	if b == nil && c.ColumnType(n) != sqlite3.NULL {
		return []byte{}
	}
	return b
}

// word reads a value that statement.word bound.
func (c *rowReader) word() string {
	n := c.next()
	if c.ColumnType(n) != sqlite3.INTEGER {
		return c.ColumnText(n)
	}
	if i := c.ColumnInt64(n); i >= 1 && i <= int64(len(words)) {
		return words[i-1]
	}
	return "" // only a newer program stores it, and Open refuses its schema
}

// id reads a value that statement.id or statement.idOrNull bound.
func (c *rowReader) id() [16]byte {
	hi, lo := c.next(), c.next()
	if c.ColumnType(hi) == sqlite3.NULL {
		return [16]byte{}
	}
	return idOf(c.ColumnInt64(hi), c.ColumnInt64(lo))
}

func (c *rowReader) hash() (h [32]byte) { copy(h[:], c.ColumnRawBlob(c.next())); return h }

func (c *rowReader) time() time.Time { return fromMillis(c.int()) }

// since reads a value that statement.since bound.
func (c *rowReader) since(id [16]byte) time.Time {
	n := c.next()
	if c.ColumnType(n) == sqlite3.NULL {
		return time.Time{}
	}
	return time.UnixMilli(idMillis(id) + c.ColumnInt64(n)).UTC()
}

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

// transaction runs begin, fn and COMMIT. If fn or COMMIT fails, it rolls back.
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
