// Package zombiezen adapts zombiezen.com/go/sqlite: a direct API over the C
// sources that modernc.org/sqlite translates to Go. No cgo.
package zombiezen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	drivers "github.com/countersign-mfa/countersign/bench/sqlite-drivers"
)

var Driver = drivers.Driver{Name: "zombiezen", Open: open, Kind: kind}

type conn struct {
	db                   *sqlite.Conn
	insert, read, update *sqlite.Stmt
	control              map[string]*sqlite.Stmt
}

func open(path string) (_ drivers.Conn, err error) {
	db, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	c := &conn{db: db, control: map[string]*sqlite.Stmt{}}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	for _, p := range drivers.Pragmas {
		if err := sqlitex.ExecuteTransient(db, "PRAGMA "+p, nil); err != nil {
			return nil, err
		}
	}
	db.SetBusyTimeout(5 * time.Second) // OpenConn sets a handler without an end
	if err := sqlitex.ExecuteTransient(db, drivers.Schema, nil); err != nil {
		return nil, err
	}
	prepare := func(sql string) *sqlite.Stmt {
		s, e := db.Prepare(sql)
		err = errors.Join(err, e)
		return s
	}
	c.insert, c.read, c.update = prepare(drivers.Insert), prepare(drivers.Select), prepare(drivers.Update)
	for _, sql := range drivers.Controls {
		c.control[sql] = prepare(sql)
	}
	return c, err
}

func (c *conn) Close() error { return c.db.Close() }

func (c *conn) Exec(sql string) error { return sqlitex.ExecuteScript(c.db, sql, nil) }

func (c *conn) Control(statement string) error { return run(c.control[statement]) }

func run(s *sqlite.Stmt) error {
	_, err := s.Step()
	return errors.Join(err, s.Reset())
}

func (c *conn) Insert(r *drivers.Row) error {
	s := c.insert
	s.BindInt64(1, r.Bucket)
	s.BindBytes(2, r.ID[:])
	s.BindInt64(3, r.Environment)
	s.BindInt64(4, r.Type)
	s.BindText(5, r.UserID)
	s.BindBytes(6, r.Sealed[:])
	s.BindInt64(7, r.LastStep)
	s.BindInt64(8, r.Failures)
	s.BindInt64(9, r.LockedUntil)
	s.BindInt64(10, r.CreatedAt)
	s.BindInt64(11, r.UpdatedAt)
	return run(s)
}

func (c *conn) Read(r *drivers.Row) (bool, error) {
	s := c.read
	s.BindInt64(1, r.Bucket)
	s.BindBytes(2, r.ID[:])
	found, err := s.Step()
	if found {
		r.Environment = s.ColumnInt64(0)
		r.Type = s.ColumnInt64(1)
		r.UserID = s.ColumnText(2)
		s.ColumnBytes(3, r.Sealed[:])
		r.LastStep = s.ColumnInt64(4)
		r.Failures = s.ColumnInt64(5)
		r.LockedUntil = s.ColumnInt64(6)
		r.CreatedAt = s.ColumnInt64(7)
		r.UpdatedAt = s.ColumnInt64(8)
	}
	return found, errors.Join(err, s.Reset())
}

func (c *conn) Update(r *drivers.Row) error {
	s := c.update
	s.BindInt64(1, r.LastStep)
	s.BindInt64(2, r.Failures)
	s.BindInt64(3, r.UpdatedAt)
	s.BindInt64(4, r.Bucket)
	s.BindBytes(5, r.ID[:])
	if err := run(s); err != nil {
		return err
	}
	if n := c.db.Changes(); n != 1 {
		return fmt.Errorf("%d rows updated", n)
	}
	return nil
}

func (c *conn) Int(ctx context.Context, sql string) (n int64, err error) {
	defer c.db.SetInterrupt(c.db.SetInterrupt(ctx.Done()))
	s, _, err := c.db.PrepareTransient(sql)
	if err != nil {
		return 0, err
	}
	row, err := s.Step()
	if row {
		n = s.ColumnInt64(0)
	}
	s.Finalize()
	return n, err
}

func (c *conn) Checkpoint(mode string) (busy bool, logged, copied int, err error) {
	err = sqlitex.ExecuteTransient(c.db, "PRAGMA wal_checkpoint("+mode+")", &sqlitex.ExecOptions{
		ResultFunc: func(s *sqlite.Stmt) error {
			busy, logged, copied = s.ColumnBool(0), s.ColumnInt(1), s.ColumnInt(2)
			return nil
		},
	})
	return busy, logged, copied, err
}

func kind(err error) drivers.Kind {
	switch code := sqlite.ErrCode(err); {
	case err == nil:
		return drivers.None
	case code == sqlite.ResultConstraintPrimaryKey, code == sqlite.ResultConstraintUnique:
		return drivers.Unique
	case code.ToPrimary() == sqlite.ResultBusy:
		return drivers.Busy
	case code.ToPrimary() == sqlite.ResultFull:
		return drivers.Full
	case code.ToPrimary() == sqlite.ResultInterrupt:
		return drivers.Interrupted
	}
	return drivers.Other
}
