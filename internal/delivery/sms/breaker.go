package sms

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// BreakerOptions say when a provider is passed over for a while; zero fields take
// their defaults. A failure is an answer or a silence of the kinds Unavailable and
// Uncertain. Refused is none, nor is what is Healthy: the service did its work.
//
// Two rules find two kinds of trouble. Failures in a row find an outage after a few
// messages, however little traffic there is. The share of failures finds a provider
// that is half broken, where one success after another would end every row; it asks
// for a number of tries so that chance alone does not trip it: with one failure in
// twenty, ten of twenty fail once in a hundred million times.
type BreakerOptions struct {
	Failures int           // how many in a row pause the provider; default 5
	Ratio    float64       // the share of failures within Window that does, above 0 to 1; default 0.5
	MinTries int           // how many tries within Window Ratio takes; default 20
	Window   time.Duration // default 30 s
	Pause    time.Duration // the first one; each failed probe doubles it; default 5 s
	MaxPause time.Duration // the longest, also if the service asks for more; default 5 min
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
	case !(o.Ratio > 0 && o.Ratio <= 1): // so that NaN is none
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

// A BreakerState says how a provider is chosen.
type BreakerState string

const (
	Closed   BreakerState = "closed"    // it takes messages
	Open     BreakerState = "open"      // it is paused: others come first
	HalfOpen BreakerState = "half_open" // its pause is over, and one message at a time probes it
)

// A breaker remembers how a provider fared and admits tries accordingly.
type breaker struct {
	opts BreakerOptions

	mu      sync.Mutex
	until   time.Time // the end of the pause; zero while closed
	resting bool      // the service itself asked for the pause
	probing bool      // a probe is under way
	pauses  int       // guessed ones since it was last closed
	row     int       // failures in a row while closed
	recent  window    // since it was last closed
	stretch int       // counts changes between closed and not closed
}

func newBreaker(o BreakerOptions, now time.Time) *breaker {
	return &breaker{opts: o, recent: window{start: now, width: o.Window / slots}}
}

// A pass is the leave to try a provider once; it must be handed back to done.
type pass struct {
	stretch int
	probe   bool
}

// A verdict is what a try says about the provider.
type verdict int

const (
	nothing verdict = iota // the caller broke it off
	healthy
	failing
)

// admit returns a pass if the provider is to be tried now.
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

// force returns a pass whatever the state.
func (b *breaker) force() pass {
	b.mu.Lock()
	defer b.mu.Unlock()
	return pass{stretch: b.stretch}
}

// done takes a pass back with what the try said. retryAfter is how long the service
// wants to be left alone, or 0.
func (b *breaker) done(p pass, now time.Time, v verdict, retryAfter time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	late := p.stretch != b.stretch // it began before the state last changed
	if p.probe && !late {
		b.probing = false
	}
	switch {
	case v == nothing:
	case v == failing && retryAfter > 0:
		b.rest(now, retryAfter) // a wish is never late
	case late:
	case b.until.IsZero():
		b.count(now, v)
	case v == healthy:
		b.close()
	case p.probe:
		b.open(now)
	}
}

// count takes in a try of a closed breaker.
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

// open pauses the provider for a guessed time, twice that of the last guess.
func (b *breaker) open(now time.Time) {
	b.leave()
	pause := b.opts.MaxPause
	if factor := math.Exp2(float64(b.pauses)); factor < float64(b.opts.MaxPause)/float64(b.opts.Pause) {
		pause = time.Duration(factor) * b.opts.Pause
	}
	b.pauses++
	b.until, b.resting = now.Add(pause), false
}

// rest pauses the provider for as long as the service asked, which needs no guess
// and is no reason to guess longer next time.
func (b *breaker) rest(now time.Time, d time.Duration) {
	b.leave()
	until := now.Add(min(d, b.opts.MaxPause))
	if until.After(b.until) {
		b.until, b.resting = until, true
	}
}

// leave ends a closed stretch, if it is one.
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

// standing returns the state, when the pause ends or ended, and whether the service
// itself asked for it.
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

// slots is how many parts a window has: it moves on by one part at a time.
const slots = 10

// A window counts the tries of the last slots times width.
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

// number is that of the slot of a time; a clock that went back before the start
// counts as being there.
func (w *window) number(now time.Time) int64 { return int64(max(0, now.Sub(w.start)) / w.width) }
