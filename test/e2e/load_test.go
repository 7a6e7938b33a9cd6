package e2e_test

import (
	"context"
	"sync"
	"testing"
	"time"
)

// A load is a crowd that makes requests to servers that may fail.
type load struct {
	t      testing.TB
	all    crowd
	end    func()        // makes no more requests and waits for all answers
	ending chan struct{} // closed when no more requests are to be made

	mu      sync.Mutex
	answers int
	lost    int           // requests without an answer
	changed chan struct{} // closed at the next answer or loss
	last    time.Time     // when the last answer came
	gap     time.Duration // the longest time without any
	wait    time.Duration // the longest time of one customer without any
}

// work makes the crowd send requests until the load or the test ends. A missing
// answer does not stop a customer. The customer repeats a request with an
// idempotency key until it is answered.
func (all crowd) work(t testing.TB) *load {
	l := &load{t: t, all: all, ending: make(chan struct{}), changed: make(chan struct{}), last: time.Now()}
	ended := make(chan struct{})
	l.end = sync.OnceFunc(func() {
		close(l.ending)
		<-ended
	})
	go func() {
		defer close(ended)
		all.each(func(c *customer) { c.endure(t.Context(), l) })
	}()
	t.Cleanup(l.end)
	return l
}

// endure makes requests, like live, until the load ends.
func (c *customer) endure(ctx context.Context, l *load) {
	last := time.Now()
	for !l.isEnding() && ctx.Err() == nil {
		op := c.unanswered
		if c.unanswered = nil; op == nil {
			op = c.next()
		}
		if c.do(ctx, op) {
			last = l.heard(last)
			continue
		}
		l.missed()
		select {
		case <-time.After(20 * time.Millisecond): // as a client would, to let others in
		case <-l.ending:
		}
	}
}

func (l *load) isEnding() bool {
	select {
	case <-l.ending:
		return true
	default:
		return false
	}
}

// heard counts an answer to a customer whose previous answer came at last. It
// returns the time of this answer.
func (l *load) heard(last time.Time) (now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now = time.Now()
	l.gap = max(l.gap, now.Sub(l.last))
	l.wait = max(l.wait, now.Sub(last))
	l.last = now
	l.answers++
	l.wake()
	return now
}

func (l *load) missed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost++
	l.wake()
}

func (l *load) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *load) look() (answers, lost int, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers, l.lost, l.changed
}

// awaitAnswers waits until n more answers have come.
func (l *load) awaitAnswers(more int) {
	l.t.Helper()
	before, _, _ := l.look()
	l.await(func(answers, _ int) bool { return answers-before >= more })
}

// awaitLosses waits until n more requests have had no answer.
func (l *load) awaitLosses(more int) {
	l.t.Helper()
	_, before, _ := l.look()
	l.await(func(_, lost int) bool { return lost-before >= more })
}

func (l *load) await(enough func(answers, lost int) bool) {
	l.t.Helper()
	deadline := time.After(2 * patience)
	for {
		answers, lost, changed := l.look()
		if enough(answers, lost) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			l.t.Fatalf("%d answers came and %d were lost; that was to change within %v", answers, lost, 2*patience)
		}
	}
}

// longest returns the longest time without any answer, and the longest time that one
// customer had no answer, since the last call.
func (l *load) longest() (gap, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gap, wait = l.gap, l.wait
	l.gap, l.wait = 0, 0
	return gap, wait
}
