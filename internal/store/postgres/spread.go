package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/queue"
)

const (
	// perMachine is how many Updates, and how many Views, a node has on one machine of
	// several at the same time. Further ones wait. A machine that does not answer so keeps
	// only a part of the connections.
	perMachine = 8
	// machineSlow is how long a machine with perMachine requests may answer none of them. After
	// that, further requests for its buckets are refused.
	machineSlow = time.Second
	// noticeWithin limits the time to find out whether the tables were distributed.
	noticeWithin = 3 * time.Second
)

var errSlowMachine = fmt.Errorf("%w: the machine that has the rows does not answer", mfa.ErrUnavailable)

// single reports whether each Update and each View has a separate transaction, because it
// concerns one of several machines.
func (s *Store) single() bool { return s.auto && s.spread.Load() }

// together returns how many Updates may share a transaction.
func (s *Store) together() int {
	if s.single() {
		return 1
	}
	return s.group
}

// notice finds out whether the tables were distributed, or became local, since the node last
// looked. It reports whether the node now works differently, so what failed may run again.
func (s *Store) notice(ctx context.Context) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, noticeWithin)
	defer cancel()
	spread, err := s.distributed(ctx)
	if err != nil || !s.spread.CompareAndSwap(!spread, spread) {
		return false, err
	}
	s.machines.Store(nil)
	s.log.Info("the tables were distributed or became local since the node last looked", "distributed", spread)
	return true, s.locate(ctx)
}

// missed reports whether a statement failed because the tables were distributed after the
// node looked last. The node has noticed it now, and the request may run again.
func (s *Store) missed(err error) bool {
	if sqlState(err) != notSupported {
		return false
	}
	if !s.spread.Load() {
		if _, err := s.notice(context.Background()); err != nil {
			s.log.Warn("find out whether the tables are distributed", "error", err)
		}
	}
	return s.spread.Load()
}

// locate reads the machines of distributed tables, if they are not known.
func (s *Store) locate(ctx context.Context) error {
	if !s.spread.Load() || s.machines.Load() != nil {
		return nil
	}
	return s.on(ctx, func(conn *pgx.Conn) error {
		m, err := readMachines(ctx, conn)
		if err == nil {
			s.machines.Store(m)
		}
		return domainError(err)
	})
}

// A dispatcher runs the requests of each machine separately: a machine that does not
// answer delays only the requests for its buckets. The zero value is ready to use.
type dispatcher struct {
	mu    sync.Mutex
	lines map[int32]*line // by machine
}

// A line is the requests of one machine.
type line struct {
	running  int
	answered time.Time // when the machine last answered, or was last idle
	waiting  []request
}

type request struct {
	run    func() error // its error is an outage if the machine did not answer
	refuse func(error)
}

// do runs r in a goroutine that start makes, now or when fewer requests run on its machine. It
// refuses the requests of a machine that does not answer.
func (d *dispatcher) do(machine int32, most int, now func() time.Time, start func(func()), r request) {
	d.mu.Lock()
	if d.lines == nil {
		d.lines = make(map[int32]*line)
	}
	l := d.lines[machine]
	if l == nil {
		l = &line{}
		d.lines[machine] = l
	}
	var refused []request
	switch {
	case l.running < most:
		if l.running++; l.running == 1 {
			l.answered = now()
		}
		start(func() { d.run(l, now, r) })
	case now().Sub(l.answered) > machineSlow:
		refused, l.waiting = append(l.waiting, r), nil
	default:
		l.waiting = append(l.waiting, r)
	}
	d.mu.Unlock()
	for _, r := range refused {
		r.refuse(errSlowMachine)
	}
}

// run runs requests of a line until none waits.
func (d *dispatcher) run(l *line, now func() time.Time, r request) {
	for more := true; more; {
		err := r.run()
		d.mu.Lock()
		var refused []request
		if err == nil || !isOutage(err) {
			l.answered = now()
		} else if now().Sub(l.answered) > machineSlow {
			refused, l.waiting = l.waiting, nil
		}
		if more = len(l.waiting) > 0; more {
			r, l.waiting = l.waiting[0], l.waiting[1:]
		} else {
			l.running--
		}
		d.mu.Unlock()
		for _, w := range refused {
			w.refuse(errSlowMachine)
		}
	}
}

// dispatch runs the requests of a group, each in a separate transaction. It removes them from
// the group and answers them later.
func dispatch[W any](s *Store, d *dispatcher, group []*queue.Job[W], bucket func(W) mfa.Bucket, run func(*queue.Job[W]) (err error, answered bool)) {
	m, most := s.machines.Load(), lonelyWriters
	if m != nil && len(m.buckets) > 1 {
		most = perMachine
	}
	for i, w := range group {
		group[i] = nil
		machine := int32(0)
		if m != nil {
			machine = m.of[bucket(w.Work)]
		}
		d.do(machine, most, s.now, s.serving.Go, request{
			run: func() error {
				err, answered := run(w)
				if !answered {
					w.Answer(err)
				}
				return err
			},
			refuse: w.Answer,
		})
	}
}
