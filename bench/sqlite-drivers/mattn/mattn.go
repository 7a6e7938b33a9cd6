// Package mattn adapts github.com/mattn/go-sqlite3: SQLite itself through cgo,
// behind database/sql.
package mattn

import (
	"context"
	"errors"

	"github.com/mattn/go-sqlite3"

	drivers "github.com/countersign-mfa/countersign/bench/sqlite-drivers"
	"github.com/countersign-mfa/countersign/bench/sqlite-drivers/sqlconn"
)

var Driver = drivers.Driver{
	Name: "mattn",
	Open: func(path string) (drivers.Conn, error) { return sqlconn.Open("sqlite3", path) },
	Kind: kind,
}

func kind(err error) drivers.Kind {
	if err == nil {
		return drivers.None
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return drivers.Interrupted
	}
	e, ok := errors.AsType[sqlite3.Error](err)
	if !ok {
		return drivers.Other
	}
	switch {
	case e.ExtendedCode == sqlite3.ErrConstraintPrimaryKey, e.ExtendedCode == sqlite3.ErrConstraintUnique:
		return drivers.Unique
	case e.Code == sqlite3.ErrBusy:
		return drivers.Busy
	case e.Code == sqlite3.ErrFull:
		return drivers.Full
	case e.Code == sqlite3.ErrInterrupt:
		return drivers.Interrupted
	}
	return drivers.Other
}
