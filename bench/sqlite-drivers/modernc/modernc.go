// Package modernc adapts modernc.org/sqlite: the C sources translated to Go,
// behind database/sql. No cgo.
package modernc

import (
	"context"
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	drivers "github.com/countersign-mfa/countersign/bench/sqlite-drivers"
	"github.com/countersign-mfa/countersign/bench/sqlite-drivers/sqlconn"
)

var Driver = drivers.Driver{
	Name: "modernc",
	Open: func(path string) (drivers.Conn, error) { return sqlconn.Open("sqlite", path) },
	Kind: kind,
}

func kind(err error) drivers.Kind {
	if err == nil {
		return drivers.None
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return drivers.Interrupted
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return drivers.Other
	}
	switch {
	case e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return drivers.Unique
	case e.Code()&0xff == sqlite3.SQLITE_BUSY:
		return drivers.Busy
	case e.Code()&0xff == sqlite3.SQLITE_FULL:
		return drivers.Full
	case e.Code()&0xff == sqlite3.SQLITE_INTERRUPT:
		return drivers.Interrupted
	}
	return drivers.Other
}
