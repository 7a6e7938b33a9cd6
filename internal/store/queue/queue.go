// Package queue collects the waiting writes of a store into groups. Each group shares a
// commit.
package queue

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// ErrClosed is the error of calls after Close.
var ErrClosed = fmt.Errorf("%w: it is closed", mfa.ErrUnavailable)

// A Job is one waiting write. The server sets Err.
type Job[W any] struct {
	Work W
	Err  error

	state atomic.Int32
	done  chan struct{} // receives one value after a server has finished the job
}

// The states of a job. Either a server takes it, or its caller abandons it. A job that
// a server has taken is always answered with its result.
const (
	waiting int32 = iota
	taken
	abandoned
)

// A Queue holds jobs until a server takes them. It is safe for concurrent use by any number of
// callers and servers.
type Queue[W any] struct {
	jobs    chan *Job[W]
	used    sync.Pool // of finished *Job[W]
	closing sync.RWMutex
	closed  bool
}

// New returns a queue in which up to most jobs may wait. Do refuses further jobs at once.
func New[W any](most int) *Queue[W] { return &Queue[W]{jobs: make(chan *Job[W], most)} }

// Do waits until a server has done work and returns its error. The error of ctx means
// that no server took the work. mfa.ErrUnavailable means that too many jobs are waiting,
// or that the queue is closed.
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

// Close refuses further jobs. Serve returns after the waiting jobs are answered.
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

// A Turn lets one of several servers gather a group at a time. The zero value is ready
// to use.
type Turn struct{ mu sync.Mutex }

// take waits for the turn. A nil Turn returns a nil Hold at once.
func (t *Turn) take() *Hold {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	return &Hold{turn: t}
}

// A Hold is the right to gather a group. It is safe for concurrent use. A nil Hold holds
// nothing.
type Hold struct {
	turn *Turn
	once sync.Once
}

// Release passes the turn to the next server. Further calls do nothing.
func (h *Hold) Release() {
	if h != nil {
		h.once.Do(h.turn.mu.Unlock)
	}
}

// Serve passes groups of up to most jobs to do, answers their callers and then calls
// after, until the queue is closed and empty. A group is the jobs that are waiting; Serve
// does not wait to fill it. If servers share a turn, the next one gathers a group after do
// has released the hold, or has returned. Servers with a nil turn do not wait for each
// other. If do replaces a job by nil in its group, Serve does not answer the job: the
// caller of Serve must call Answer for it later.
func (q *Queue[W]) Serve(most int, turn *Turn, do func(group []*Job[W], hold *Hold), after func()) {
	group := make([]*Job[W], 0, most)
	for first := range q.jobs {
		hold := turn.take()
		q.yield(most)
		if group = q.gather(group[:0], most, first); len(group) == 0 {
			hold.Release()
			continue
		}
		do(group, hold)
		hold.Release()
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

// yield runs other goroutines as long as they add jobs. If processors are busy, a larger
// group is worth more than an early start (10 % of all flows). If they are idle, no
// goroutine waits to run and yield returns at once.
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
