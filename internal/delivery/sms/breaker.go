package sms

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// BreakerOptions say when a failing provider is paused; zero fields take their defaults.
// A try fails if its Kind is Unavailable or Uncertain. Refused and Healthy errors do not
// count as failures: the service works.
//
// Two rules find two kinds of failure. Consecutive failures find an outage after a few
// messages, also with little traffic. The ratio of failures finds a provider that fails
// partly, where single successes keep ending the run of failures. The ratio needs a
// minimum number of tries, or chance could trip it: if one try in twenty fails, ten of
// twenty fail once in a hundred million times.
type BreakerOptions struct {
	Failures int           // consecutive failures that pause the provider; default 5
	Ratio    float64       // ratio of failures within Window that pauses it, above 0 to 1; default 0.5
	MinTries int           // tries within Window that Ratio needs; default 20
	Window   time.Duration // default 30 s
	Pause    time.Duration // the first pause; each failed probe doubles it; default 5 s
	MaxPause time.Duration // the longest pause, also if the service asks for more; default 5 min
}

func (o BreakerOptions) withDefaults() (BreakerOptions, error) {
	orElse(&o.Failures, 5)
	orElse(&o.Ratio, 0.5)
	orElse(&o.MinTries, 20)
	orElse(&o.Window, 30*time.Second)
	orElse(&o.Pause, 5*time.Second)
	orElse(&o.MaxPause, max(5*time.Minute, o.Pause))
	switch {
	case o.Failures < 0:
		return o, fmt.Errorf("breaker failures is %d; it must be at least 1", o.Failures)
	case !(o.Ratio > 0 && o.Ratio <= 1): // written this way to refuse NaN
		return o, fmt.Errorf("breaker ratio is %v; it must be above 0 and at most 1", o.Ratio)
	case o.MinTries < 0:
		return o, fmt.Errorf("breaker min tries is %d; it must be at least 1", o.MinTries)
	case o.Window < time.Millisecond:
		return o, fmt.Errorf("breaker window is %v; it must be at least 1 ms", o.Window)
	case o.Pause < 0:
		return o, fmt.Errorf("breaker pause is %v; it must be positive", o.Pause)
	case o.MaxPause < o.Pause:
		return o, fmt.Errorf("breaker max pause is %v, less than the pause of %v", o.MaxPause, o.Pause)
	}
	return o, nil
}

// orElse gives a field that is zero its default.
func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// A BreakerState decides whether a provider is chosen.
type BreakerState string

const (
	Closed   BreakerState = "closed"    // the provider gets messages
	Open     BreakerState = "open"      // the provider is paused: others come first
	HalfOpen BreakerState = "half_open" // the pause is over, and one message at a time probes the provider
)

// A breaker records the outcomes of a provider's tries and decides which tries it admits.
type breaker struct {
	opts BreakerOptions

	mu      sync.Mutex
	until   time.Time // the end of the pause; zero while closed
	resting bool      // the service asked for the pause
	probing bool      // a probe is in progress
	pauses  int       // pauses that open chose since it was last closed
	row     int       // consecutive failures while closed
	recent  window    // since it was last closed
	stretch int       // number of the current period: it grows when the breaker closes or stops being closed
}

func newBreaker(o BreakerOptions, now time.Time) *breaker {
	return &breaker{opts: o, recent: window{start: now, width: o.Window / slots}}
}

// A pass is the permission to try a provider once. It must be returned with done.
type pass struct {
	stretch int
	probe   bool
}

// A verdict is what the outcome of a try means for the health of the provider.
type verdict int

const (
	nothing verdict = iota // the caller gave up
	healthy
	failing
)

// admit returns a pass if the provider may be tried now.
func (b *breaker) admit(now time.Time) (pass, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state(now) {
	case Closed:
		return pass{stretch: b.stretch}, true
	case HalfOpen:
		if !b.probing {
			b.probing = true
			return pass{stretch: b.stretch, probe: true}, true
		}
	}
	return pass{}, false
}

// force returns a pass in any state.
func (b *breaker) force() pass {
	b.mu.Lock()
	defer b.mu.Unlock()
	return pass{stretch: b.stretch}
}

// done returns a pass with the verdict of its try. retryAfter is the pause that the
// service asks for, or 0.
func (b *breaker) done(p pass, now time.Time, v verdict, retryAfter time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	late := p.stretch != b.stretch // the try began before the state last changed
	if p.probe && !late {
		b.probing = false
	}
	switch {
	case v == nothing:
	case v == failing && retryAfter > 0:
		b.rest(now, retryAfter) // also counts for a late answer
	case late:
	case b.until.IsZero():
		b.count(now, v)
	case v == healthy:
		b.close()
	case p.probe:
		b.open(now)
	}
}

// count records a try of a closed breaker.
func (b *breaker) count(now time.Time, v verdict) {
	b.recent.add(now, v == failing)
	if v == healthy {
		b.row = 0
		return
	}
	b.row++
	failed, tries := b.recent.sum(now)
	if b.row >= b.opts.Failures || tries >= b.opts.MinTries && float64(failed) >= b.opts.Ratio*float64(tries) {
		b.open(now)
	}
}

// open pauses the provider, for twice as long as the last time.
func (b *breaker) open(now time.Time) {
	b.leave()
	pause := b.opts.MaxPause
	if factor := math.Exp2(float64(b.pauses)); factor < float64(b.opts.MaxPause)/float64(b.opts.Pause) {
		pause = time.Duration(factor) * b.opts.Pause
	}
	b.pauses++
	b.until, b.resting = now.Add(pause), false
}

// rest pauses the provider for as long as the service asked. It does not lengthen the
// next pause of open.
func (b *breaker) rest(now time.Time, d time.Duration) {
	b.leave()
	until := now.Add(min(d, b.opts.MaxPause))
	if until.After(b.until) {
		b.until, b.resting = until, true
	}
}

// leave ends the current period if the breaker is closed.
func (b *breaker) leave() {
	if b.until.IsZero() {
		b.stretch++
		b.probing = false
	}
}

func (b *breaker) close() {
	b.stretch++
	b.until, b.resting, b.probing = time.Time{}, false, false
	b.pauses, b.row = 0, 0
	b.recent.clear()
}

// standing returns the state, the end of the pause, which may be past, and whether the
// service asked for the pause.
func (b *breaker) standing(now time.Time) (s BreakerState, until time.Time, resting bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s = b.state(now)
	return s, b.until, b.resting && s == Open
}

func (b *breaker) state(now time.Time) BreakerState {
	switch {
	case b.until.IsZero():
		return Closed
	case now.Before(b.until):
		return Open
	}
	return HalfOpen
}

// slots is the number of parts of a window. The window moves by one part at a time.
const slots = 10

// A window counts the tries of the last period of slots times width.
type window struct {
	start time.Time
	width time.Duration
	slots [slots]struct {
		number        int64 // since start
		tries, failed int
	}
}

func (w *window) add(now time.Time, failed bool) {
	n := w.number(now)
	s := &w.slots[n%slots]
	if s.number != n {
		s.number, s.tries, s.failed = n, 0, 0
	}
	s.tries++
	if failed {
		s.failed++
	}
}

func (w *window) sum(now time.Time) (failed, tries int) {
	n := w.number(now)
	for _, s := range w.slots {
		if s.number > n-slots && s.number <= n {
			failed, tries = failed+s.failed, tries+s.tries
		}
	}
	return failed, tries
}

func (w *window) clear() { clear(w.slots[:]) }

// number returns the number of the slot of a time. A time before the start counts as
// the start.
func (w *window) number(now time.Time) int64 { return int64(max(0, now.Sub(w.start)) / w.width) }
