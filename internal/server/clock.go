package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

const (
	// checkClockEvery is how often the clock of the node is compared with that of
	// the database. It bounds how long a wrong clock goes unnoticed.
	checkClockEvery = 5 * time.Second
	checkClockWait  = 5 * time.Second
	// clockSamples are the most round trips of one comparison. A slow round trip
	// says little about the clock, so the fastest one counts.
	clockSamples = 3
	// farBehind is the least difference from the newest row that stops a server on
	// SQLite: a clock that is stepped back by seconds catches up by itself.
	farBehind = time.Minute
)

// A clockStore has a clock that all nodes share.
type clockStore interface {
	Clock(ctx context.Context) (time.Time, error)
}

// A datedStore knows when its newest row was made.
type datedStore interface {
	Newest(ctx context.Context) (time.Time, error)
}

var errClock = errors.New("the clock of this machine is wrong")

// A clock compares the clock of the node with that of the store.
type clock struct {
	store clockStore // nil if the store has no clock
	now   func() time.Time
	limit time.Duration
	log   *slog.Logger

	ahead atomic.Int64 // of the store's clock at the last comparison, in nanoseconds; negative: behind
	wrong atomic.Bool
}

// newClock returns the clock of a server on store, or an error if the clock of the
// node is wrong by more than limit.
func newClock(ctx context.Context, store any, now func() time.Time, limit time.Duration, log *slog.Logger) (*clock, error) {
	c := &clock{now: now, limit: limit, log: log}
	if dated, ok := store.(datedStore); ok {
		if err := c.follows(ctx, dated); err != nil {
			return nil, err
		}
	}
	var ok bool
	if c.store, ok = store.(clockStore); !ok {
		return c, nil
	}
	ahead, wrong, err := c.compare(ctx)
	if err != nil {
		return nil, err
	}
	if wrong {
		return nil, fmt.Errorf("%w: it is %s that of the database, and max_clock_skew is %v; "+
			"synchronize both clocks, by NTP for example", errClock, difference(ahead), limit)
	}
	c.ahead.Store(int64(ahead))
	return c, nil
}

// follows returns an error if the clock is far behind the newest row of the store.
func (c *clock) follows(ctx context.Context, store datedStore) error {
	newest, err := store.Newest(ctx)
	if err != nil {
		return err
	}
	if behind := newest.Sub(c.now()); behind > max(c.limit, farBehind) {
		return fmt.Errorf("%w: it is %v behind the newest row of the store, which was made at %s; correct the clock, "+
			"or raise max_clock_skew if that row was made while the clock was wrong",
			errClock, behind.Round(time.Second), newest.Format(time.RFC3339))
	}
	return nil
}

// difference describes how far the clock of the node is from another one.
func difference(ahead time.Duration) string {
	if ahead < 0 {
		return (-ahead).Round(time.Millisecond).String() + " behind"
	}
	return ahead.Round(time.Millisecond).String() + " ahead of"
}

// compare returns how far the clock of the node is ahead of that of the store, and
// whether that is more than the limit. The store reads its clock at an unknown
// moment of the round trip: half of it is the uncertainty, which counts in favor of
// the node.
func (c *clock) compare(ctx context.Context) (ahead time.Duration, wrong bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkClockWait)
	defer cancel()
	for i := range clockSamples {
		before, started := c.now(), wallclock.Start()
		there, err := c.store.Clock(ctx)
		if err != nil {
			return 0, false, err
		}
		half := started.Elapsed() / 2
		sample := before.Add(half).Sub(there)
		if i == 0 || sample.Abs()-half < ahead.Abs() {
			ahead = sample
		}
		if wrong = sample.Abs()-half > c.limit; !wrong {
			return sample, false, nil
		}
	}
	return ahead, true, nil
}

// check compares the clocks once. If the store does not answer, the last
// comparison counts.
func (c *clock) check(ctx context.Context) {
	ahead, wrong, err := c.compare(ctx)
	if err != nil {
		return // requests report the outage
	}
	c.ahead.Store(int64(ahead))
	switch was := c.wrong.Swap(wrong); {
	case wrong && !was:
		c.log.Error("the clock of this machine is wrong; requests are refused until it agrees with that of the database",
			"ahead_seconds", ahead.Seconds(), "max_clock_skew", c.limit.String())
	case was && !wrong:
		c.log.Info("the clock of this machine agrees with that of the database again", "ahead_seconds", ahead.Seconds())
	}
}

// watch compares the clocks until ctx ends.
func (c *clock) watch(ctx context.Context) {
	if c.store == nil {
		return
	}
	tick := time.NewTicker(checkClockEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.check(ctx)
		}
	}
}

// err returns an error while the clock is wrong.
func (c *clock) err() error {
	if !c.wrong.Load() {
		return nil
	}
	return fmt.Errorf("%w: %w: it is %s that of the database", mfa.ErrUnavailable, errClock, difference(time.Duration(c.ahead.Load())))
}

// seconds returns how far the clock is ahead of that of the store.
func (c *clock) seconds() float64 { return time.Duration(c.ahead.Load()).Seconds() }

// A timedStore refuses every decision while the clock of the node is wrong: what
// has expired cannot be told then.
type timedStore struct {
	mfa.Store
	clock *clock
}

// Update is mfa.Store.Update.
func (s timedStore) Update(ctx context.Context, r mfa.Read, fn func(tx *mfa.Tx) error) error {
	if err := s.clock.err(); err != nil {
		return err
	}
	return s.Store.Update(ctx, r, fn)
}

// View is mfa.Store.View.
func (s timedStore) View(ctx context.Context, r mfa.Read) (mfa.Rows, error) {
	if err := s.clock.err(); err != nil {
		return mfa.Rows{}, err
	}
	return s.Store.View(ctx, r)
}

// ExpiredFactors is mfa.Store.ExpiredFactors. It lists nothing while the clock is wrong.
func (s timedStore) ExpiredFactors(ctx context.Context, at time.Time, limit int) ([]mfa.Factor, error) {
	if s.clock.err() != nil {
		return nil, nil
	}
	return s.Store.ExpiredFactors(ctx, at, limit)
}

// Sweep is mfa.Store.Sweep. It removes nothing while the clock is wrong.
func (s timedStore) Sweep(ctx context.Context, h mfa.Horizon, limit int) (more bool, err error) {
	if s.clock.err() != nil {
		return false, nil
	}
	return s.Store.Sweep(ctx, h, limit)
}
