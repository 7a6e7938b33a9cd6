package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/countersign-mfa/countersign/internal/store/queue"
)

const (
	// maxWaiting is how many writes may wait: as many as a server answers requests at
	// once, or more. One more is refused.
	maxWaiting = 1 << 14
	// maxGroup bounds how many writes share a commit, and so how long the first
	// of them waits.
	maxGroup = 256
)

// A job is a write that waits for the writer, or a read.
type job = queue.Job[func(*conn) error]

// write has run executed by the writer and returns when it is durable, or with
// the error that kept it from being stored. It may change what it likes.
func (s *Store) write(ctx context.Context, run func(c *conn) error) error {
	return s.writes.Do(ctx, func(c *conn) error {
		c.recent.clear()
		return run(c)
	})
}

// change is write, but is refused if the store was copied away.
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

// serve runs jobs on the writer until the store is closed and none is left.
func (s *Store) serve() {
	s.writes.Serve(maxGroup, nil, func(group []*job, _ *queue.Hold) { s.commit(group) }, func() { s.checkpoint.after(s.writer) })
}

// commit runs the jobs of a group and sets the error of each. None is reported as
// stored in files that are no longer those of the store.
func (s *Store) commit(group []*job) {
	if err := s.files.known(); err != nil {
		refuse(group, err)
		return
	}
	commitGroup(s.writer, group)
	if s.checkpoint.state.begun && !s.checkpoint.state.counted {
		// The background has copied the log at the moment when the transaction began.
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

// errSpoilt undoes the transaction of a group because one of its jobs failed
// after it had written something.
var errSpoilt = errors.New("a job failed halfway")

// commitGroup runs the jobs of a group in order in one transaction and sets the
// error of each. A job that fails before it writes leaves nothing to undo. One
// that fails later takes the whole transaction with it; then each job is run
// again, in a separate transaction.
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
			// Some errors of reading make SQLite roll back by itself.
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
		// The job has its own error.
	default:
		// What a job found out came from a transaction that was not stored, a
		// refusal as well.
		for _, j := range group {
			j.Err = domainError(err)
		}
	}
}

// guard runs a job and turns a panic into its error. A bug of one caller then does not
// stop the writer for all.
func guard(c *conn, run func(*conn) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.wrote = true // it may have written
			err = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return run(c)
}
