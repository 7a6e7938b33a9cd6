package sqlite

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/store/queue"
)

const (
	// maxShared bounds how many reads share a transaction, and so how long the first
	// of them waits.
	maxShared = 64
	// scanners is how many long reads there may be at a time.
	scanners = 2
)

// read runs fn together with the other waiting reads, in one transaction: to
// begin and end one costs as much as reading a row. fn reads a
// bounded number of rows and is not interrupted when ctx ends: an interrupted transaction
// could not be rolled back.
func (s *Store) read(ctx context.Context, fn func(*conn) error) error {
	return domainError(s.reads.Do(ctx, fn))
}

// readGroup runs the jobs of a group in one transaction and sets the error of each.
func readGroup(c *conn, group []*job) {
	err := c.transaction("BEGIN", func() error {
		for _, j := range group {
			j.Err = guard(c, j.Work)
			// Some errors make SQLite roll back by itself. Later reads would see
			// another moment.
			if j.Err != nil && c.db.GetAutocommit() {
				return j.Err
			}
		}
		return nil
	})
	if err != nil {
		for _, j := range group {
			j.Err = err
		}
	}
}

// scan runs fn, which reads much, on a connection that no request waits for.
func (s *Store) scan(ctx context.Context, fn func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c *conn
	var open bool
	select {
	case c, open = <-s.scanners:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !open {
		return queue.ErrClosed
	}
	defer func() { s.scanners <- c }()
	return domainError(fn(c))
}
