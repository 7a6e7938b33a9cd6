package postgres

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	// maxLanes limits the number of lanes. Each lane uses a separate connection to
	// wait for its row.
	maxLanes = 4
	// laneLength is how many Updates may wait for one row.
	laneLength = 128
	// probeWait is how long a probe waits for a lock.
	probeWait = 5 * time.Millisecond
)

var errLocked = fmt.Errorf("%w: another transaction keeps a row locked, and enough requests wait for it", mfa.ErrUnavailable)

// lanes hold the Updates that wait for rows locked by other transactions, so the groups
// of all other Updates continue. The zero value is ready to use.
type lanes struct {
	n    atomic.Int32 // len(rows), for reads without mu
	mu   sync.Mutex
	rows map[string][]*job // the jobs that wait for each row; a goroutine serves each row
}

// join adds a job to the lane of a row if that lane exists, or refuses the job if the lane
// is full. It reports whether the lane exists.
func (l *lanes) join(row string, j *job) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.rows[row]
	if ok {
		l.add(row, j)
	}
	return ok
}

// open adds a job to the lane of a row, and makes the lane if it does not exist. It
// reports whether it made the lane; the caller must then start a goroutine that serves it.
// If there are too many lanes, open refuses the job.
func (l *lanes) open(row string, j *job) (made bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.rows[row]; !ok {
		if len(l.rows) == maxLanes {
			j.err = errLocked
			return false
		}
		if l.rows == nil {
			l.rows = make(map[string][]*job)
		}
		made = true
	}
	l.add(row, j)
	l.n.Store(int32(len(l.rows)))
	return made
}

// add adds a job to a lane, or refuses it if the lane is full. The caller must hold mu.
func (l *lanes) add(row string, j *job) {
	if len(l.rows[row]) == laneLength {
		j.err = errLocked
		return
	}
	l.rows[row] = append(l.rows[row], j)
	j.moved = true
}

// take removes up to most jobs from a lane. If the lane is empty, take removes the lane
// and returns nil.
func (l *lanes) take(row string, most int) []*job {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := l.rows[row]
	if len(waiting) == 0 {
		delete(l.rows, row)
		l.n.Store(int32(len(l.rows)))
		return nil
	}
	n := min(most, len(waiting))
	l.rows[row] = waiting[n:]
	return waiting[:n]
}

// rowName returns the name of the row that a read of one row names. A read of several factors
// has the name of the first of Others: requests of one user, which wait for the same rows,
// then share a lane.
func rowName(r mfa.Read) string {
	if len(r.Others) > 0 {
		return fmt.Sprint(r.Bucket, r.Others[0])
	}
	return fmt.Sprint(r.Bucket, r.Challenge, r.Factor, r.User, r.Recovery, r.Phone, r.Counters, r.Message, r.Bypass, r.Replay, r.Owned)
}

// keepFromLanes moves the jobs of a group that name a row with a lane to that lane, and
// returns the others.
func (s *Store) keepFromLanes(group []*job) []*job {
	if s.lanes.n.Load() == 0 {
		return group
	}
	free := make([]*job, 0, len(group))
	for _, j := range group {
		if !s.joinLane(j) {
			free = append(free, j)
		}
	}
	return free
}

func (s *Store) joinLane(j *job) bool {
	for _, r := range rowsOf([]*job{j}) {
		if s.lanes.join(rowName(r), j) {
			return true
		}
	}
	return false
}

// part finds out which jobs of a group wait for locked rows, and moves them to lanes.
// The others are committed together.
func (s *Store) part(group []*job) {
	var free []*job
	for _, j := range group {
		if s.joinLane(j) {
			continue
		}
		row, locked := s.probe(j)
		if !locked {
			free = append(free, j)
			continue
		}
		s.openLane(row, j)
	}
	if len(free) == 0 {
		return
	}
	// A probe does not find a row that another transaction has inserted and not
	// committed. A job that inserts the same row waits, and is found when it runs in a
	// separate transaction.
	s.commit(free, func() {}, s.wait.patience, func(group []*job, err error) {
		if len(group) > 1 {
			s.commitEach(group, s.wait.patience, s.openOwnLane)
			return
		}
		s.openOwnLane(group, err)
	})
}

// openOwnLane moves a job to the lane of its first row.
func (s *Store) openOwnLane(group []*job, err error) {
	for _, j := range group {
		rows := rowsOf([]*job{j})
		if len(rows) == 0 {
			j.err = domainError(err)
			continue
		}
		s.openLane(rowName(rows[0]), j)
	}
}

// openLane moves a job to the lane of a row. Several writers may do so at the same time.
func (s *Store) openLane(row string, j *job) {
	if s.lanes.open(row, j) {
		s.serving.Go(func() { s.serveLane(row) })
	}
}

// serveLane commits the jobs that wait for a row, a group at a time, until the lane is
// empty. If a group cannot lock the row in time, its jobs fail.
func (s *Store) serveLane(row string) {
	for {
		group := s.lanes.take(row, s.together())
		if len(group) == 0 {
			return
		}
		s.commit(group, func() {}, s.wait.roundTrip*2/5, func(group []*job, err error) {
			for _, j := range group {
				j.err = domainError(err)
			}
		})
		for _, j := range group {
			j.waiting.Answer(j.err)
		}
	}
}

// probe reports which row of a job is locked, if any. It locks all rows of the job and
// releases them.
func (s *Store) probe(j *job) (row string, locked bool) {
	ctx, cancel := context.WithTimeout(context.Background(), s.wait.roundTrip/2)
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return "", false // the job will see the same error
	}
	defer conn.Release()
	batch, h := &pgx.Batch{}, newTxRows()
	batch.Queue(beginCommitted)
	if s.spread.Load() {
		boundWorkers(batch, probeWait, s.wait.roundTrip)
	}
	batch.Queue(boundLocks, milliseconds(probeWait), milliseconds(s.wait.roundTrip))
	for _, r := range rowsOf([]*job{j}) {
		first := batch.Len()
		h.read(batch, r, forUpdate)
		for _, q := range batch.QueuedQueries[first:] {
			scan := q.Fn
			q.Fn = func(results pgx.BatchResults) error {
				err := scan(results)
				if sqlState(err) == lockNotAvailable {
					row = rowName(r)
				}
				return err
			}
		}
	}
	batch.Queue("ROLLBACK")
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		s.rollback(ctx, conn.Conn())
	}
	return row, row != ""
}
