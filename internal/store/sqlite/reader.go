package sqlite

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/store/queue"
)

const (
	// maxShared is the largest number of reads in one transaction. It limits how long
	// the first of them waits.
	maxShared = 64
	// scanners is the largest number of concurrent long reads.
	scanners = 2
)

// read runs fn together with the other waiting reads in one transaction, because
// starting and ending a transaction costs as much as reading a row. fn reads a limited
// number of rows. It is not interrupted when ctx ends, because an interrupted
// transaction could not be rolled back.
func (s *Store) read(ctx context.Context, fn func(*conn) error) error {
	return domainError(s.reads.Do(ctx, fn))
}

// readGroup runs a group of jobs in one transaction and sets the error of each job.
func readGroup(c *conn, group []*job) {
	err := c.transaction("BEGIN", func() error {
		for _, j := range group {
			j.Err = guard(c, j.Work)
			// After some errors SQLite rolls back the transaction. Later reads would
			// see a different snapshot.
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

// scan runs fn, a long read, on a connection that no request uses.
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
