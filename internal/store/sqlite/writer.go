package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	// maxWaiting is how many writes may wait. One more is refused at once, since
	// it would be answered too late to be of use.
	maxWaiting = 2048
	// maxGroup bounds how many writes share a commit, and so how long the first
	// of them waits.
	maxGroup = 256
)

var errClosed = fmt.Errorf("%w: it is closed", mfa.ErrUnavailable)

// A job is one write that waits for the writer.
type job struct {
	run   func(c *conn) error
	state atomic.Int32
	err   error
	done  chan struct{}
}

// The states of a job. Whoever moves it from waiting decides: the writer takes
// it, or its caller gives it up. A job that was taken is always answered with
// what became of it.
const (
	waiting int32 = iota
	taken
	abandoned
)

// write has run executed by the writer and returns when it is durable, or with
// the error that kept it from being stored.
func (s *Store) write(ctx context.Context, run func(c *conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{run: run, done: make(chan struct{})}
	s.closing.RLock()
	if s.closed {
		s.closing.RUnlock()
		return errClosed
	}
	select {
	case s.jobs <- j:
		s.closing.RUnlock()
	default:
		s.closing.RUnlock()
		return fmt.Errorf("%w: %d writes are waiting", mfa.ErrUnavailable, maxWaiting)
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
	}
	if j.state.CompareAndSwap(waiting, abandoned) {
		return ctx.Err()
	}
	<-j.done
	return j.err
}

// serve runs jobs on c until the store is closed and none is left.
func (s *Store) serve(c *conn) {
	defer close(s.served)
	group := make([]*job, 0, maxGroup)
	for first := range s.jobs {
		group = gather(group[:0], first, s.jobs)
		commitGroup(c, group)
		for _, j := range group {
			close(j.done)
		}
		s.checkpoint.after(c)
	}
}

// gather takes first and what else is waiting, but does not wait for more.
func gather(group []*job, first *job, jobs <-chan *job) []*job {
	for j := first; ; {
		if j.state.CompareAndSwap(waiting, taken) {
			group = append(group, j)
		}
		if len(group) == maxGroup {
			return group
		}
		select {
		case next, ok := <-jobs:
			if !ok {
				return group
			}
			j = next
		default:
			return group
		}
	}
}

// errSpoilt undoes the transaction of a group because one of its jobs failed
// after it had written something.
var errSpoilt = errors.New("a job failed halfway")

// commitGroup runs the jobs of a group in order in one transaction and sets the
// error of each. A job that fails before it writes leaves nothing to undo. One
// that fails later takes the whole transaction with it; then each job is run
// again, in a transaction of its own.
func commitGroup(c *conn, group []*job) {
	if len(group) == 0 {
		return
	}
	err := c.transaction("BEGIN IMMEDIATE", func() error {
		for _, j := range group {
			before := c.wrote
			c.wrote = false
			j.err = guard(c, j.run)
			// Some errors of reading make SQLite roll back by itself.
			if j.err != nil && (c.wrote || c.db.GetAutocommit()) {
				return errSpoilt
			}
			c.wrote = c.wrote || before
		}
		return nil
	})
	switch {
	case err == nil:
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
			j.err = domainError(err)
		}
	}
}

// guard runs a job and turns a panic into its error, so that one caller's bug
// does not stop the writer for all.
func guard(c *conn, run func(*conn) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.wrote = true // perhaps
			err = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return run(c)
}
