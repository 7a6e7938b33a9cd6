package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/countersign-mfa/countersign/internal/store/queue"
)

const (
	// maxWaiting is how many writes may wait. It is at least the number of requests
	// that a server answers at once. The store refuses further writes.
	maxWaiting = 1 << 14
	// maxGroup is the largest number of writes in one commit. It limits how long the
	// first of them waits.
	maxGroup = 256
)

// A job is a write that waits for the writer, or a read.
type job = queue.Job[func(*conn) error]

// write executes run on the writer and returns after the commit is durable, or with the
// error that prevented the commit. run may change any row.
func (s *Store) write(ctx context.Context, run func(c *conn) error) error {
	return s.writes.Do(ctx, func(c *conn) error {
		c.recent.clear()
		return run(c)
	})
}

// change is like write, but refuses if the store was copied away.
func (s *Store) change(ctx context.Context, run func(c *conn) error) error {
	return s.write(ctx, func(c *conn) error {
		if err := c.recent.mayWrite(c); err != nil {
			return err
		}
		return run(c)
	})
}

// Waiting returns how many writes wait for the writer.
func (s *Store) Waiting() int { return s.writes.Waiting() }

// serve runs jobs on the writer until the store is closed and no job is left.
func (s *Store) serve() {
	s.writes.Serve(maxGroup, nil, func(group []*job, _ *queue.Hold) { s.commit(group) }, func() { s.checkpoint.after(s.writer) })
}

// commit runs a group of jobs and sets the error of each. A job reports success only if
// its rows are in the current files of the store.
func (s *Store) commit(group []*job) {
	if err := s.files.known(); err != nil {
		refuse(group, err)
		return
	}
	commitGroup(s.writer, group)
	if s.checkpoint.state.begun && !s.checkpoint.state.counted {
		// The checkpointer copied the log when the transaction started.
		// Therefore that transaction did not count the new log.
		commitGroup(s.writer, []*job{{Work: (*conn).countLog}})
	}
	for _, j := range group {
		if isOutage(j.Err) {
			s.failed(j.Err)
		}
	}
	if err := s.files.check(); err != nil {
		s.failed(err)
		refuse(group, err)
	}
}

func refuse(group []*job, err error) {
	for _, j := range group {
		j.Err = err
	}
}

// errSpoilt rolls back the transaction of a group because one of its jobs failed after
// a write.
var errSpoilt = errors.New("a job failed halfway")

// commitGroup runs a group of jobs in order in one transaction and sets the error of
// each. A job that fails before its first write leaves nothing to roll back. If a job
// fails later, the whole transaction is rolled back, and each job runs again in a
// separate transaction.
func commitGroup(c *conn, group []*job) {
	if len(group) == 0 {
		return
	}
	c.log.begun, c.log.counted = false, false
	err := c.transaction("BEGIN IMMEDIATE", func() error {
		if err := c.recent.current(c); err != nil {
			return err
		}
		for _, j := range group {
			before := c.wrote
			c.wrote = false
			j.Err = guard(c, j.Work)
			// After some read errors SQLite rolls back the transaction.
			if j.Err != nil && (c.wrote || c.db.GetAutocommit()) {
				return errSpoilt
			}
			c.wrote = c.wrote || before
		}
		if c.wrote && c.log.due.Load() {
			return c.countLog()
		}
		return nil
	})
	if err != nil {
		c.recent.clear()
	}
	switch {
	case err == nil:
		if c.log.counted {
			c.log.due.Store(false)
		}
	case errors.Is(err, errSpoilt) && len(group) > 1:
		for _, j := range group {
			commitGroup(c, []*job{j})
		}
	case errors.Is(err, errSpoilt):
		// The job already has its own error.
	default:
		// The jobs' results, including refusals, come from a transaction that was not
		// committed.
		for _, j := range group {
			j.Err = domainError(err)
		}
	}
}

// guard runs a job and turns a panic into its error, so a bug in one caller does not
// stop the writer for all callers.
func guard(c *conn, run func(*conn) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.wrote = true // it may have written before the panic
			err = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return run(c)
}
