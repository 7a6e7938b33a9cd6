// Package wallclock is the only place that reads the clock of the machine. Rules take the time
// from a function that their constructor receives, so tests choose it. A Stopwatch and a
// Deadline are about real time, which no test chooses.
package wallclock

import "time"

// Or returns now, or the clock of the machine if now is nil.
func Or(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

// Deadline returns the time after d from now, for a connection, whose deadlines follow the
// clock of the machine.
func Deadline(d time.Duration) time.Time { return time.Now().Add(d) }

// A Stopwatch measures how long something takes.
type Stopwatch struct{ start time.Time }

// Start returns a Stopwatch that runs from now on.
func Start() Stopwatch { return Stopwatch{time.Now()} }

// Elapsed returns the time since the start. It does not change when the clock of the machine
// is set.
func (s Stopwatch) Elapsed() time.Duration { return time.Since(s.start) }
