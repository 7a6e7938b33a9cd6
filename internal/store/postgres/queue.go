package postgres

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/queue"
)

// maxWaiting is how many Updates may wait in all. One more is refused at once,
// since it would be answered too late to be of use.
const maxWaiting = 2048

// A job is one Update that waits for a writer.
type job struct {
	read  mfa.Read
	fn    func(*mfa.Tx) error
	err   error
	event mfa.EventID // one that it stores, to tell whether it was committed
	tries int
}

// Update runs fn on one of the writers; see mfa.Store. All Updates of a bucket go
// to the same one, so that those of one node do not wait for each other's locks.
func (s *Store) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	return s.queues[int(r.Bucket)%len(s.queues)].Do(ctx, &job{read: r, fn: fn})
}

// Waiting returns how many Updates wait for a writer.
func (s *Store) Waiting() (n int) {
	for _, q := range s.queues {
		n += q.Waiting()
	}
	return n
}

// serve answers the jobs of a queue until it is closed and none is left.
func (s *Store) serve(q *queue.Queue[*job]) {
	q.Serve(s.group, func(waiting []*queue.Job[*job]) {
		group := make([]*job, len(waiting))
		for i, w := range waiting {
			group[i] = w.Work
		}
		s.commit(group)
		for _, w := range waiting {
			w.Err = w.Work.err
		}
	}, func() {})
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
