// Package sqlconn adapts any driver of database/sql in its fastest form: one
// reserved connection and prepared statements, without a pool.
package sqlconn

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	drivers "github.com/countersign-mfa/countersign/bench/sqlite-drivers"
)

type conn struct {
	pool                 *sql.DB
	db                   *sql.Conn
	insert, read, update *sql.Stmt
	control              map[string]*sql.Stmt
}

// Open opens path with a registered driver.
func Open(driver, path string) (_ drivers.Conn, err error) {
	ctx := context.Background()
	pool, err := sql.Open(driver, path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			pool.Close()
		}
	}()
	db, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{pool: pool, db: db, control: map[string]*sql.Stmt{}}
	for _, p := range drivers.Pragmas {
		if _, err := db.ExecContext(ctx, "PRAGMA "+p); err != nil {
			return nil, err
		}
	}
	if _, err := db.ExecContext(ctx, drivers.Schema); err != nil {
		return nil, err
	}
	prepare := func(query string) *sql.Stmt {
		s, e := db.PrepareContext(ctx, query)
		err = errors.Join(err, e)
		return s
	}
	c.insert, c.read, c.update = prepare(drivers.Insert), prepare(drivers.Select), prepare(drivers.Update)
	for _, query := range drivers.Controls {
		c.control[query] = prepare(query)
	}
	return c, err
}

func (c *conn) Close() error {
	for _, s := range c.control {
		s.Close()
	}
	return errors.Join(c.insert.Close(), c.read.Close(), c.update.Close(), c.db.Close(), c.pool.Close())
}

func (c *conn) Exec(query string) error {
	_, err := c.db.ExecContext(context.Background(), query)
	return err
}

func (c *conn) Control(statement string) error {
	_, err := c.control[statement].Exec()
	return err
}

func (c *conn) Insert(r *drivers.Row) error {
	_, err := c.insert.Exec(r.Bucket, r.ID[:], r.Environment, r.Type, r.UserID, r.Sealed[:],
		r.LastStep, r.Failures, r.LockedUntil, r.CreatedAt, r.UpdatedAt)
	return err
}

func (c *conn) Read(r *drivers.Row) (bool, error) {
	var sealed []byte
	err := c.read.QueryRow(r.Bucket, r.ID[:]).Scan(&r.Environment, &r.Type, &r.UserID, &sealed,
		&r.LastStep, &r.Failures, &r.LockedUntil, &r.CreatedAt, &r.UpdatedAt)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	copy(r.Sealed[:], sealed)
	return err == nil, err
}

func (c *conn) Update(r *drivers.Row) error {
	res, err := c.update.Exec(r.LastStep, r.Failures, r.UpdatedAt, r.Bucket, r.ID[:])
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("%d rows updated: %w", n, err)
	}
	return nil
}

func (c *conn) Int(ctx context.Context, query string) (n int64, err error) {
	err = c.db.QueryRowContext(ctx, query).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return n, err
}

func (c *conn) Checkpoint(mode string) (busy bool, logged, copied int, err error) {
	err = c.db.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &logged, &copied)
	return busy, logged, copied, err
}
