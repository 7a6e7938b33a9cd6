package postgres

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/queue"
)

// maxWaiting is how many Updates, and how many Views, may wait. It is at least the number
// of requests that a server handles at the same time. Further ones are refused.
const maxWaiting = 1 << 14

// longestTurn limits how long other groups wait for a group that waits for a lock or for
// the database.
const longestTurn = 50 * time.Millisecond

// A job is one Update that waits for a writer.
type job struct {
	read  mfa.Read
	fn    func(*mfa.Tx) error
	err   error
	event *mfa.Event // an event that the job stores, which proves the commit; or nil
	tries int

	waiting *queue.Job[*job] // its place in the queue
	moved   bool             // whether the job moved to a lane, which answers it
}

// Update runs fn on one of the writers; see mfa.Store.
func (s *Store) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	if s.stalled.Load() {
		return errStalled
	}
	return s.queue.Do(ctx, &job{read: r, fn: fn})
}

// Waiting returns how many Updates wait for a writer.
func (s *Store) Waiting() int { return s.queue.Waiting() }

// serve answers jobs until the store is closed and no job is left.
func (s *Store) serve() {
	var turn *queue.Turn
	if s.group > 1 {
		turn = &s.turn
	}
	s.queue.Serve(s.group, turn, func(waiting []*queue.Job[*job], hold *queue.Hold) {
		group := make([]*job, len(waiting))
		for i, w := range waiting {
			group[i] = w.Work
			group[i].waiting = w
		}
		if s.single() {
			hold.Release()
			dispatch(s, &s.updating, waiting, func(j *job) mfa.Bucket { return j.read.Bucket }, func(w *queue.Job[*job]) (error, bool) {
				j := w.Work
				s.commit(s.keepFromLanes([]*job{j}), func() {}, s.wait.patience, func(locked []*job, _ error) { s.part(locked) })
				if j.moved {
					return nil, true // the lane sets its error
				}
				return j.err, false
			})
			return
		}
		// The next group is gathered while this one waits for its commit. If it were
		// gathered earlier, both groups would be half as large.
		impatient := time.AfterFunc(longestTurn, hold.Release)
		s.commit(s.keepFromLanes(group), hold.Release, s.wait.patience, func(locked []*job, _ error) { s.part(locked) })
		impatient.Stop()
		for i, j := range group {
			if j.moved {
				waiting[i] = nil
				continue
			}
			waiting[i].Err = j.err
		}
	}, func() {})
}

// decide runs a job's fn and turns a panic into the error of the job, so the bug of one
// caller does not stop the writer.
func (j *job) decide(tx *mfa.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return j.fn(tx)
}
