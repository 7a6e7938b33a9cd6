// Package ratelimit limits how often each of many keys may do something, within
// one process.
package ratelimit

import (
	"fmt"
	"sync"
	"time"
)

// A Limiter gives every key a bucket of tokens. A bucket starts full, with as many
// tokens as the limit per minute, and refills evenly: in any span of time a key is
// allowed at most that many plus the tokens refilled in that span.
//
// A Limiter drops buckets that are full again during normal calls. It holds at most
// the keys of the last two minutes of use and runs no goroutine. It is safe for
// concurrent use.
type Limiter[K comparable] struct {
	interval time.Duration // in which one token flows back
	window   time.Duration // in which an empty bucket fills; about a minute

	mu    sync.Mutex
	start time.Time     // the first time seen; all others are kept as distances from it
	now   time.Duration // the latest time seen
	turn  time.Duration // when young took over from old

	// A bucket is stored as the time at which it is full again: each token taken
	// delays that time by one interval, and it is at most one window away. A bucket
	// that was not used for a window is therefore full. Two generations of maps, each
	// one window long, drop full buckets without a search.
	young, old map[K]time.Duration
}

// New returns a Limiter of perMinute tokens per minute. A number below one is an
// error, because it would switch the limit off by accident. A number above one
// token per nanosecond is also an error.
func New[K comparable](perMinute int) (*Limiter[K], error) {
	if perMinute < 1 || int64(perMinute) > int64(time.Minute) {
		return nil, fmt.Errorf("rate limit of %d a minute: want 1 to %d", perMinute, int64(time.Minute))
	}
	n := time.Duration(perMinute)
	interval := (time.Minute + n - 1) / n // rounded up, never to allow too much
	return &Limiter[K]{
		interval: interval,
		window:   interval * n,
		young:    make(map[K]time.Duration),
	}, nil
}

// Allow takes a token from the bucket of key at now and reports true. If the bucket
// is empty, Allow returns false and the time until it has a token.
//
// A clock that is set back costs a key at most the wait for one token.
func (l *Limiter[K]) Allow(key K, now time.Time) (retryAfter time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.advance(now)
	full := l.bucket(key, t)
	if wait := full + l.interval - l.window - t; wait > 0 {
		l.young[key] = full
		return wait, false
	}
	l.young[key] = full + l.interval
	return 0, true
}

// Len returns the number of buckets in memory.
func (l *Limiter[K]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.young)
	for key := range l.old {
		if _, both := l.young[key]; !both {
			n++
		}
	}
	return n
}

// Seconds rounds a wait up to whole seconds, as Retry-After wants them, and to one
// at least.
func Seconds(wait time.Duration) int {
	return int(max(1, (wait+time.Second-1)/time.Second))
}

// settleTime is how far time may seem to run back because of callers that read the
// clock in one order and arrive in another. Beyond it, the clock was set back.
const settleTime = time.Second

// advance returns now as a distance from the first time seen, and drops the
// generation whose buckets are full by then.
func (l *Limiter[K]) advance(now time.Time) time.Duration {
	if l.start.IsZero() {
		l.start = now
	}
	t := now.Sub(l.start)
	switch {
	case t >= l.now:
		l.now = t
	case l.now-t < settleTime:
		t = l.now
	default:
		l.now, l.turn = t, t
	}
	switch age := t - l.turn; {
	case age >= 2*l.window: // nothing was touched for a window
		l.young, l.old = make(map[K]time.Duration), nil
		l.turn = t
	case age >= l.window:
		l.young, l.old = make(map[K]time.Duration), l.young
		l.turn = t
	}
	return t
}

// bucket returns when the bucket of key is full: at t, or up to a window later.
func (l *Limiter[K]) bucket(key K, t time.Duration) time.Duration {
	full, known := l.young[key]
	if !known {
		if full, known = l.old[key]; !known {
			return t
		}
	}
	return min(max(full, t), t+l.window)
}
