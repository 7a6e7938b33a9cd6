// Package ncruces adapts github.com/ncruces/go-sqlite3: SQLite compiled to
// WebAssembly and translated to Go, with a VFS written in Go. No cgo.
package ncruces

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ncruces/go-sqlite3"

	drivers "github.com/countersign-mfa/countersign/bench/sqlite-drivers"
)

var Driver = drivers.Driver{Name: "ncruces", Open: open, Kind: kind}

type conn struct {
	db                   *sqlite3.Conn
	insert, read, update *sqlite3.Stmt
	control              map[string]*sqlite3.Stmt
}

func open(path string) (_ drivers.Conn, err error) {
	db, err := sqlite3.Open(path)
	if err != nil {
		return nil, err
	}
	c := &conn{db: db, control: map[string]*sqlite3.Stmt{}}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	for _, p := range drivers.Pragmas {
		if err := db.Exec("PRAGMA " + p); err != nil {
			return nil, err
		}
	}
	if err := db.Exec(drivers.Schema); err != nil {
		return nil, err
	}
	prepare := func(sql string) *sqlite3.Stmt {
		s, _, e := db.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT)
		err = errors.Join(err, e)
		return s
	}
	c.insert, c.read, c.update = prepare(drivers.Insert), prepare(drivers.Select), prepare(drivers.Update)
	for _, sql := range drivers.Controls {
		c.control[sql] = prepare(sql)
	}
	return c, err
}

// Close finalizes the statements first: a connection with open statements
// answers BUSY and stays open.
func (c *conn) Close() error {
	for _, s := range c.control {
		s.Close()
	}
	return errors.Join(c.insert.Close(), c.read.Close(), c.update.Close(), c.db.Close())
}

func (c *conn) Exec(sql string) error          { return c.db.Exec(sql) }
func (c *conn) Control(statement string) error { return c.control[statement].Exec() }

func (c *conn) Insert(r *drivers.Row) error {
	s := c.insert
	if err := errors.Join(
		s.BindInt64(1, r.Bucket),
		s.BindBlob(2, r.ID[:]),
		s.BindInt64(3, r.Environment),
		s.BindInt64(4, r.Type),
		s.BindText(5, r.UserID),
		s.BindBlob(6, r.Sealed[:]),
		s.BindInt64(7, r.LastStep),
		s.BindInt64(8, r.Failures),
		s.BindInt64(9, r.LockedUntil),
		s.BindInt64(10, r.CreatedAt),
		s.BindInt64(11, r.UpdatedAt),
	); err != nil {
		return err
	}
	return s.Exec()
}

func (c *conn) Read(r *drivers.Row) (bool, error) {
	s := c.read
	if err := errors.Join(s.BindInt64(1, r.Bucket), s.BindBlob(2, r.ID[:])); err != nil {
		return false, err
	}
	found := s.Step()
	if found {
		r.Environment = s.ColumnInt64(0)
		r.Type = s.ColumnInt64(1)
		r.UserID = s.ColumnText(2)
		copy(r.Sealed[:], s.ColumnRawBlob(3))
		r.LastStep = s.ColumnInt64(4)
		r.Failures = s.ColumnInt64(5)
		r.LockedUntil = s.ColumnInt64(6)
		r.CreatedAt = s.ColumnInt64(7)
		r.UpdatedAt = s.ColumnInt64(8)
	}
	err := s.Err() // before Reset, which clears it
	return found, errors.Join(err, s.Reset())
}

func (c *conn) Update(r *drivers.Row) error {
	s := c.update
	if err := errors.Join(
		s.BindInt64(1, r.LastStep),
		s.BindInt64(2, r.Failures),
		s.BindInt64(3, r.UpdatedAt),
		s.BindInt64(4, r.Bucket),
		s.BindBlob(5, r.ID[:]),
	); err != nil {
		return err
	}
	if err := s.Exec(); err != nil {
		return err
	}
	if n := c.db.Changes(); n != 1 {
		return fmt.Errorf("%d rows updated", n)
	}
	return nil
}

func (c *conn) Int(ctx context.Context, sql string) (n int64, err error) {
	defer c.db.SetInterrupt(c.db.SetInterrupt(ctx))
	s, _, err := c.db.Prepare(sql)
	if err != nil {
		return 0, err
	}
	if s.Step() {
		n = s.ColumnInt64(0)
	}
	err = s.Err()
	s.Close()
	return n, err
}

func (c *conn) Checkpoint(mode string) (bool, int, int, error) {
	modes := map[string]sqlite3.CheckpointMode{
		"PASSIVE": sqlite3.CHECKPOINT_PASSIVE, "TRUNCATE": sqlite3.CHECKPOINT_TRUNCATE,
	}
	logged, copied, err := c.db.WALCheckpoint("main", modes[strings.ToUpper(mode)])
	if errors.Is(err, sqlite3.BUSY) {
		return true, logged, copied, nil
	}
	return false, logged, copied, err
}

func kind(err error) drivers.Kind {
	switch {
	case err == nil:
		return drivers.None
	case errors.Is(err, sqlite3.CONSTRAINT_PRIMARYKEY), errors.Is(err, sqlite3.CONSTRAINT_UNIQUE):
		return drivers.Unique
	case errors.Is(err, sqlite3.BUSY):
		return drivers.Busy
	case errors.Is(err, sqlite3.FULL):
		return drivers.Full
	case errors.Is(err, sqlite3.INTERRUPT):
		return drivers.Interrupted
	}
	return drivers.Other
}
