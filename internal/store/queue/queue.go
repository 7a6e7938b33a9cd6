// Package queue gathers the writes that wait for a store into groups, which
// share a commit.
package queue

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// ErrClosed is the error of what is asked of a store that was closed.
var ErrClosed = fmt.Errorf("%w: it is closed", mfa.ErrUnavailable)

// A Job is one write that waits. Whoever serves it sets Err.
type Job[W any] struct {
	Work W
	Err  error

	state atomic.Int32
	done  chan struct{} // holds one: that it was served
}

// The states of a job. Whoever moves it from waiting decides: the server takes
// it, or its caller gives it up. A job that was taken is always answered with
// what became of it.
const (
	waiting int32 = iota
	taken
	abandoned
)

// A Queue is where jobs wait. It is safe for concurrent use by any number of
// callers and servers.
type Queue[W any] struct {
	jobs    chan *Job[W]
	used    sync.Pool // of *Job[W] that were served
	closing sync.RWMutex
	closed  bool
}

// New returns a queue in which up to most jobs may wait. One more is refused at
// once.
func New[W any](most int) *Queue[W] { return &Queue[W]{jobs: make(chan *Job[W], most)} }

// Do has work done and returns its error. The error of ctx means that it was not
// begun; mfa.ErrUnavailable that too many jobs are waiting, or that the queue is
// closed.
func (q *Queue[W]) Do(ctx context.Context, work W) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j, _ := q.used.Get().(*Job[W])
	if j == nil {
		j = &Job[W]{done: make(chan struct{}, 1)}
	}
	j.Work = work
	if err := q.add(j); err != nil {
		return err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(waiting, abandoned) {
			return ctx.Err() // the job is still in the queue
		}
		<-j.done
	}
	err := j.Err
	var none W
	j.Work, j.Err = none, nil
	j.state.Store(waiting)
	q.used.Put(j)
	return err
}

func (q *Queue[W]) add(j *Job[W]) error {
	q.closing.RLock()
	defer q.closing.RUnlock()
	if q.closed {
		return ErrClosed
	}
	select {
	case q.jobs <- j:
		return nil
	default:
		return fmt.Errorf("%w: %d writes are waiting", mfa.ErrUnavailable, cap(q.jobs))
	}
}

// Close lets nothing more in. Serve returns when what waits has been answered.
func (q *Queue[W]) Close() {
	q.closing.Lock()
	defer q.closing.Unlock()
	if !q.closed {
		q.closed = true
		close(q.jobs)
	}
}

// Answer answers the caller of a job that was removed from its group; see Serve.
func (j *Job[W]) Answer(err error) {
	j.Err = err
	j.done <- struct{}{}
}

// Serve hands groups of up to most jobs to do, answers their callers and then
// calls after, until the queue is closed and empty. A group is what is waiting;
// nothing is waited for to fill it. Of several servers only the one that holds turn
// gathers a group; do gives it back, early or late. A nil turn is not taken. A job that
// do replaces by nil in its group is not answered: Answer is then called for it later.
func (q *Queue[W]) Serve(most int, turn sync.Locker, do func(group []*Job[W]), after func()) {
	group := make([]*Job[W], 0, most)
	for first := range q.jobs {
		if turn != nil {
			turn.Lock()
		}
		q.yield(most)
		if group = q.gather(group[:0], most, first); len(group) == 0 {
			if turn != nil {
				turn.Unlock()
			}
			continue
		}
		do(group)
		for _, j := range group {
			if j != nil {
				j.done <- struct{}{}
			}
		}
		after()
	}
}

// Refuse answers the jobs that are waiting now with err.
func (q *Queue[W]) Refuse(err error) {
	for range len(q.jobs) {
		select {
		case j, ok := <-q.jobs:
			if !ok {
				return
			}
			if j.state.CompareAndSwap(waiting, taken) {
				j.Err = err
				j.done <- struct{}{}
			}
		default:
			return
		}
	}
}

// yield lets whoever can run do so, as long as that brings more jobs. Where
// processors are short, a larger group is worth more than an early start (a tenth of
// all flows); where they are not, nobody waits to run.
func (q *Queue[W]) yield(most int) {
	for n := -1; n < len(q.jobs) && len(q.jobs) < most; {
		n = len(q.jobs)
		runtime.Gosched()
	}
}

// Waiting returns how many jobs are waiting.
func (q *Queue[W]) Waiting() int { return len(q.jobs) }

// Closed reports whether Close was called.
func (q *Queue[W]) Closed() bool {
	q.closing.RLock()
	defer q.closing.RUnlock()
	return q.closed
}

func (q *Queue[W]) gather(group []*Job[W], most int, first *Job[W]) []*Job[W] {
	for j := first; ; {
		if j.state.CompareAndSwap(waiting, taken) {
			group = append(group, j)
		}
		if len(group) == most {
			return group
		}
		select {
		case next, ok := <-q.jobs:
			if !ok {
				return group
			}
			j = next
		default:
			return group
		}
	}
}
