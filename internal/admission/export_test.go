package admission

import (
	"sync/atomic"
	"time"
)

const (
	IdleFor    = idleFor
	SilentFor  = silentFor
	BodyWithin = bodyWithin
	Pause      = pause
)

// A Clock stands still.
type Clock struct{ passed atomic.Int64 }

// Advance moves it.
func (c *Clock) Advance(d time.Duration) { c.passed.Add(int64(d)) }

// StopClock gives connections that are not used yet a clock that stands still.
func (c *Connections) StopClock() *Clock {
	clock, start := &Clock{}, time.Now()
	c.now = func() time.Time { return start.Add(time.Duration(clock.passed.Load())) }
	return clock
}

// Resting returns how many connections are in the rings.
func (c *Connections) Resting() (idle, silent int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := c.idle.next; k != &c.idle; k = k.next {
		idle++
	}
	for k := c.silent.next; k != &c.silent; k = k.next {
		silent++
	}
	return idle, silent
}
