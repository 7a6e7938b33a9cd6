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
