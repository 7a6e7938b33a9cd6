// Package mfatest has the fakes that the tests of the domain and of its faces share:
// a clock and a sender of messages. Only tests import it.
package mfatest

import (
	"sync"
	"time"
)

// Start is the first time of a new Clock. It is not a whole second, because stored
// times have milliseconds.
var Start = time.Date(2026, 3, 27, 12, 0, 0, 432e6, time.UTC)

// A Clock shows the same time until a test advances it. It is safe for concurrent
// use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows start.
func NewClock(start time.Time) *Clock { return &Clock{now: start} }

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock forward by d, or back if d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Together calls fn n times at once, with 0 to n-1, and waits for all calls.
func Together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}
