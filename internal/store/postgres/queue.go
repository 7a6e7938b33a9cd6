package postgres

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// maxWaiting is how many Updates may wait in all. One more is refused at once,
// since it would be answered too late to be of use.
const maxWaiting = 2048

// A job is one Update that waits for a writer.
type job struct {
	read  mfa.Read
	fn    func(*mfa.Tx) error
	state atomic.Int32
	err   error
	done  chan struct{}
	event mfa.EventID // one that it stores, to tell whether it was committed
	tries int
}

// The states of a job. Whoever moves it from waiting decides: a writer takes it,
// or its caller gives it up. A job that was taken is always answered with what
// became of it.
const (
	waiting int32 = iota
	taken
	abandoned
)

// Update runs fn on one of the writers; see mfa.Store. All Updates of a bucket go
// to the same one, so that those of one node do not wait for each other's locks.
func (s *Store) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{read: r, fn: fn, done: make(chan struct{})}
	if err := s.enqueue(j); err != nil {
		return err
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

func (s *Store) enqueue(j *job) error {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return errClosed
	}
	select {
	case s.queues[int(j.read.Bucket)%len(s.queues)] <- j:
		return nil
	default:
		return fmt.Errorf("%w: %d writes are waiting", mfa.ErrUnavailable, maxWaiting)
	}
}

// serve answers the jobs of a queue until it is closed and none is left.
func (s *Store) serve(queue chan *job) {
	group := make([]*job, 0, s.group)
	for first := range queue {
		group = gather(group[:0], s.group, first, queue)
		s.commit(group)
		for _, j := range group {
			close(j.done)
		}
	}
}

// gather takes first and what else is waiting, but does not wait for more.
func gather(group []*job, most int, first *job, queue <-chan *job) []*job {
	for j := first; ; {
		if j.state.CompareAndSwap(waiting, taken) {
			group = append(group, j)
		}
		if len(group) == most {
			return group
		}
		select {
		case next, ok := <-queue:
			if !ok {
				return group
			}
			j = next
		default:
			return group
		}
	}
}

// decide runs a job's fn and turns a panic into its error, so that one caller's
// bug does not stop a writer for all.
func (j *job) decide(tx *mfa.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return j.fn(tx)
}
