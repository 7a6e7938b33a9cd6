package sms_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"pgregory.net/rapid"
)

// A routerClock changes only by move.
type routerClock struct{ now time.Time }

func newRouterClock() *routerClock {
	return &routerClock{time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
}

func (c *routerClock) move(d time.Duration) { c.now = c.now.Add(d) }

func (c *routerClock) options(b sms.BreakerOptions) sms.RouterOptions {
	return sms.RouterOptions{Now: func() time.Time { return c.now }, Breaker: b}
}

func (f *fakeRouter) standing(t *testing.T, i int, state sms.BreakerState, until time.Time, asked bool) {
	t.Helper()
	if h := f.Health()[i]; h.State != state || !h.Until.Equal(until) || h.Asked != asked {
		t.Errorf("%s is %v until %v, asked %v; want %v until %v, %v", h.Provider, h.State, h.Until, h.Asked, state, until, asked)
	}
}

func TestBreakerOpensAfterFailuresInARow(t *testing.T) {
	clock := newRouterClock()
	r := newFakeRouter(t, nil, clock.options(sms.BreakerOptions{}), fails(sms.Unavailable, "500"), accepts)
	for range 4 {
		r.wants(t, "a unavailable, b accepted")
	}
	r.services[0].says(fails(sms.Refused, "21211"), fails(sms.Uncertain, ""))
	r.wants(t, "a refused") // not a failure: it ends the run of failures
	for range 5 {
		r.standing(t, 0, sms.Closed, time.Time{}, false)
		r.wants(t, "a uncertain, b accepted")
	}
	r.standing(t, 0, sms.Open, clock.now.Add(5*time.Second), false)
	r.wants(t, "b accepted")

	clock.move(5 * time.Second)
	r.services[0].says(accepts, fails(sms.Unavailable, "500"))
	r.wants(t, "a accepted")
	for range 5 { // a whole run of failures is needed again
		r.standing(t, 0, sms.Closed, time.Time{}, false)
		r.wants(t, "a unavailable, b accepted")
	}
	r.standing(t, 0, sms.Open, clock.now.Add(5*time.Second), false)
}

func TestBreakerOpensByRatio(t *testing.T) {
	clock := newRouterClock()
	r := newFakeRouter(t, nil, clock.options(sms.BreakerOptions{}), accepts, accepts)
	a := r.services[0]
	for range 10 { // 19 tries with 9 failures, then the 20th is the 10th
		r.standing(t, 0, sms.Closed, time.Time{}, false)
		a.says(accepts, fails(sms.Unavailable, "500"))
		r.wants(t, "a accepted")
		r.wants(t, "a unavailable, b accepted")
	}
	r.standing(t, 0, sms.Open, clock.now.Add(5*time.Second), false)

	clock.move(5 * time.Second)
	a.says(accepts, fails(sms.Unavailable, "500"))
	r.wants(t, "a accepted")
	r.wants(t, "a unavailable, b accepted")
	r.standing(t, 0, sms.Closed, time.Time{}, false) // earlier tries no longer count
}

// Every second try fails. With one pair every 3 s the window of 30 s holds the twenty
// tries that the ratio needs; at a slower rate it never does.
func TestBreakerForgetsTriesOutsideTheWindow(t *testing.T) {
	for _, tc := range []struct {
		pace  time.Duration
		opens bool
	}{
		{3 * time.Second, true},
		{3500 * time.Millisecond, false},
	} {
		t.Run(tc.pace.String(), func(t *testing.T) {
			clock := newRouterClock()
			r := newFakeRouter(t, nil, clock.options(sms.BreakerOptions{}), accepts, accepts)
			for range 10 {
				r.standing(t, 0, sms.Closed, time.Time{}, false)
				clock.move(tc.pace)
				r.services[0].says(accepts, fails(sms.Unavailable, "500"))
				r.wants(t, "a accepted")
				r.wants(t, "a unavailable, b accepted")
			}
			if open := r.Health()[0].State == sms.Open; open != tc.opens {
				t.Errorf("open = %v; want %v", open, tc.opens)
			}
		})
	}
}

func TestBreakerPauseDoublesToItsCap(t *testing.T) {
	clock := newRouterClock()
	r := newFakeRouter(t, nil, clock.options(sms.BreakerOptions{Failures: 1, Pause: time.Second, MaxPause: 7 * time.Second}), fails(sms.Unavailable, "500"), accepts)
	for _, pause := range []time.Duration{1, 2, 4, 7, 7} {
		r.wants(t, "a unavailable, b accepted")
		end := clock.now.Add(pause * time.Second)
		r.standing(t, 0, sms.Open, end, false)
		clock.move(pause*time.Second - 1)
		r.wants(t, "b accepted")
		clock.move(1)
		r.standing(t, 0, sms.HalfOpen, end, false)
	}
	r.services[0].says(accepts, fails(sms.Unavailable, "500"))
	r.wants(t, "a accepted")
	r.standing(t, 0, sms.Closed, time.Time{}, false)
	r.wants(t, "a unavailable, b accepted")
	r.standing(t, 0, sms.Open, clock.now.Add(time.Second), false) // it starts again from the first pause
}

func TestBreakerProbeThatIsRefusedCloses(t *testing.T) {
	clock := newRouterClock()
	r := newFakeRouter(t, nil, clock.options(sms.BreakerOptions{Failures: 1}), fails(sms.Unavailable, "500"), accepts)
	r.wants(t, "a unavailable, b accepted")
	clock.move(5 * time.Second)
	r.services[0].says(fails(sms.Refused, "21211"))
	r.wants(t, "a refused")
	r.standing(t, 0, sms.Closed, time.Time{}, false)
}

func TestBreakerCountsNoFailureOfAHealthyService(t *testing.T) {
	unserved := func(context.Context) (string, error) {
		return "", &sms.Error{Kind: sms.Unavailable, Code: "21408", Reason: "because", Healthy: true}
	}
	clock := newRouterClock()
	r := newFakeRouter(t, nil, clock.options(sms.BreakerOptions{Failures: 2, MinTries: 3}), unserved, accepts)
	for range 10 {
		r.wants(t, "a unavailable, b accepted")
		r.standing(t, 0, sms.Closed, time.Time{}, false)
	}
	r.services[0].says(fails(sms.Unavailable, "500"), fails(sms.Unavailable, "500"), unserved)
	r.wants(t, "a unavailable, b accepted")
	r.wants(t, "a unavailable, b accepted")
	r.standing(t, 0, sms.Open, clock.now.Add(5*time.Second), false)
	clock.move(5 * time.Second)
	r.wants(t, "a unavailable, b accepted") // a probe with an answer
	r.standing(t, 0, sms.Closed, time.Time{}, false)
}

func TestBreakerHonorsRetryAfter(t *testing.T) {
	clock := newRouterClock()
	r := newFakeRouter(t, nil, clock.options(sms.BreakerOptions{}), throttles(90*time.Second), accepts)
	r.wants(t, "a unavailable, b accepted") // one failure is enough
	r.standing(t, 0, sms.Open, clock.now.Add(90*time.Second), true)
	clock.move(90*time.Second - 1)
	r.wants(t, "b accepted")
	clock.move(1)
	r.services[0].says(throttles(time.Hour))
	r.wants(t, "a unavailable, b accepted")                        // the probe
	r.standing(t, 0, sms.Open, clock.now.Add(5*time.Minute), true) // the cap
	clock.move(5 * time.Minute)
	r.services[0].says(fails(sms.Unavailable, "500"))
	r.wants(t, "a unavailable, b accepted")
	r.standing(t, 0, sms.Open, clock.now.Add(5*time.Second), false) // the requested pause does not double the next one
}

func TestBreakersThatAreAllOpen(t *testing.T) {
	clock := newRouterClock()
	r := newFakeRouter(t, nil, clock.options(sms.BreakerOptions{Failures: 1}), fails(sms.Unavailable, "500"), fails(sms.Unavailable, "500"), throttles(2*time.Second))
	r.wants(t, "a unavailable, b unavailable, c unavailable")
	a, b, c := r.services[0], r.services[1], r.services[2]

	t.Run("the first pause to end comes first, and a provider that asked for a pause is not tried", func(t *testing.T) {
		clock.move(time.Second)
		r.wants(t, "a unavailable (forced), b unavailable (forced)")
		r.standing(t, 0, sms.Open, clock.now.Add(4*time.Second), false) // a forced failure does not extend the pause
	})
	t.Run("a probe comes before a forced try", func(t *testing.T) {
		clock.move(time.Second)
		r.wants(t, "c unavailable, a unavailable (forced), b unavailable (forced)")
	})
	t.Run("a longer pause comes later", func(t *testing.T) {
		clock.move(3 * time.Second) // the pauses of a and b are over
		b.says(accepts)
		r.wants(t, "a unavailable, b accepted")
		b.says(fails(sms.Unavailable, "500"))
		r.wants(t, "b unavailable, c unavailable, a unavailable (forced)")
		r.wants(t, "b unavailable (forced), a unavailable (forced)") // b has a pause of 5 s, a one of 10 s
	})
	t.Run("a forced try that succeeds closes", func(t *testing.T) {
		b.says(accepts)
		r.wants(t, "b accepted (forced)")
		r.standing(t, 1, sms.Closed, time.Time{}, false)
	})
	t.Run("a provider that asked for a pause is tried if no other is left", func(t *testing.T) {
		a.says(throttles(20 * time.Second))
		b.says(throttles(30 * time.Second))
		c.says(throttles(40 * time.Second))
		clock.move(time.Minute)
		r.wants(t, "a unavailable, b unavailable, c unavailable")
		r.wants(t, "a unavailable (forced)")
		r.standing(t, 0, sms.Open, clock.now.Add(20*time.Second), true)
	})
	t.Run("but one that did not ask is tried before it", func(t *testing.T) {
		clock.move(30 * time.Second) // the pauses of a and b are over, c is paused for 10 s more
		a.says(throttles(time.Second))
		b.says(fails(sms.Unavailable, "500"))
		r.wants(t, "a unavailable, b unavailable")
		r.wants(t, "b unavailable (forced)")
	})
	t.Run("a wish shorter than the pause changes nothing", func(t *testing.T) {
		until := r.Health()[1].Until
		b.says(throttles(time.Second))
		r.wants(t, "b unavailable (forced)")
		r.standing(t, 1, sms.Open, until, false)
	})
}

func TestBreakerForcedTryWaitsNoLongerThanOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRouter(t, nil, sms.RouterOptions{Breaker: sms.BreakerOptions{Failures: 1}}, hangs)
		for _, want := range []time.Duration{11500 * time.Millisecond, 4 * time.Second} {
			start := time.Now()
			r.Send(t.Context(), routedMessage())
			if took := time.Since(start); took != want {
				t.Errorf("Send took %v; want %v", took, want)
			}
		}
	})
}

func TestBreakerLetsOneProbeThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRouter(t, nil, sms.RouterOptions{Breaker: sms.BreakerOptions{Failures: 1}}, fails(sms.Unavailable, "500"), accepts)
		r.wants(t, "a unavailable, b accepted")
		time.Sleep(5 * time.Second) // of the bubble's clock
		r.services[0].says(takes(time.Second, fails(sms.Unavailable, "500")), accepts)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { r.Send(t.Context(), routedMessage()) })
		}
		all.Wait()
		if asked := r.services[0].asked; asked != 2 {
			t.Errorf("a was asked %d times; want once, and once more as a probe", asked)
		}
		r.standing(t, 0, sms.Open, time.Now().Add(10*time.Second), false)
		time.Sleep(10 * time.Second)
		r.wants(t, "a accepted")
	})
}

func TestBreakerFreesThePlaceOfACanceledProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRouter(t, nil, sms.RouterOptions{Breaker: sms.BreakerOptions{Failures: 1}}, fails(sms.Unavailable, "500"), accepts)
		r.wants(t, "a unavailable, b accepted")
		time.Sleep(5 * time.Second)
		r.services[0].says(hangs, accepts)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		r.Send(ctx, routedMessage())
		r.wants(t, "a accepted")
	})
}

// A try that began before the breaker opened or closed does not change its state.
func TestBreakerIgnoresLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRouter(t, nil, sms.RouterOptions{Breaker: sms.BreakerOptions{Failures: 1, Pause: time.Second}}, accepts, accepts)
		a := r.services[0]
		var all sync.WaitGroup
		defer all.Wait()
		begin := func(say reply) {
			a.says(say)
			all.Go(func() { r.Send(t.Context(), routedMessage()) })
			synctest.Wait()
		}
		begin(takes(500*time.Millisecond, accepts))
		begin(takes(2*time.Second, fails(sms.Unavailable, "500")))
		begin(takes(3*time.Second, throttles(time.Minute)))
		begin(fails(sms.Unavailable, "500"))
		opened := time.Now()
		time.Sleep(600 * time.Millisecond)
		r.standing(t, 0, sms.Open, opened.Add(time.Second), false) // the late success does not close it
		time.Sleep(600 * time.Millisecond)
		begin(accepts)
		r.standing(t, 0, sms.Closed, time.Time{}, false)
		time.Sleep(time.Second)
		r.standing(t, 0, sms.Closed, time.Time{}, false) // the late failure does not open it
		begin(fails(sms.Unavailable, "500"))
		time.Sleep(900 * time.Millisecond)
		r.standing(t, 0, sms.Open, opened.Add(3*time.Second+time.Minute), true) // but a Retry-After counts while open
	})
}

func TestBreakerIgnoresForcedTriesThatFailLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRouter(t, nil, sms.RouterOptions{Breaker: sms.BreakerOptions{Failures: 1, Pause: time.Second}}, fails(sms.Unavailable, "500"))
		r.wants(t, "a unavailable")
		r.services[0].says(takes(1500*time.Millisecond, fails(sms.Unavailable, "500")))
		var all sync.WaitGroup
		all.Go(func() { r.Send(t.Context(), routedMessage()) })
		time.Sleep(time.Second)
		r.services[0].says(accepts)
		r.Send(t.Context(), routedMessage())
		all.Wait()
		r.standing(t, 0, sms.Closed, time.Time{}, false)
	})
}

// A breakerModel behaves as a breaker in the simplest way: it keeps every try since it
// was last closed.
type breakerModel struct {
	opts   sms.BreakerOptions
	start  time.Time
	tries  []modelTry
	until  time.Time
	asked  bool
	pauses int
}

type modelTry struct {
	slot   int
	failed bool
}

func (m *breakerModel) admits(now time.Time) bool { return !now.Before(m.until) }

func (m *breakerModel) slot(now time.Time) int { return int(now.Sub(m.start) / (m.opts.Window / 10)) }

func (m *breakerModel) take(now time.Time, failed bool, retryAfter time.Duration) {
	probe := !m.until.IsZero()
	switch {
	case retryAfter > 0:
		m.until, m.asked = now.Add(min(retryAfter, m.opts.MaxPause)), true
	case probe && failed:
		m.pause(now)
	case probe:
		*m = breakerModel{opts: m.opts, start: m.start}
	default:
		m.tries = append(m.tries, modelTry{m.slot(now), failed})
		if failed && m.trips(now) {
			m.pause(now)
		}
	}
}

func (m *breakerModel) pause(now time.Time) {
	pause := m.opts.Pause
	for range m.pauses {
		pause = min(2*pause, m.opts.MaxPause)
	}
	m.pauses++
	m.until, m.asked = now.Add(pause), false
}

func (m *breakerModel) trips(now time.Time) bool {
	row, failed, tries := 0, 0, 0
	for _, try := range m.tries {
		row++
		if !try.failed {
			row = 0
		}
		if try.slot > m.slot(now)-10 {
			tries++
			if try.failed {
				failed++
			}
		}
	}
	return row >= m.opts.Failures || tries >= m.opts.MinTries && float64(failed)/float64(tries) >= m.opts.Ratio
}

func TestBreakerModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clock := newRouterClock()
		opts := sms.BreakerOptions{
			Failures: rapid.IntRange(1, 6).Draw(rt, "failures"),
			Ratio:    rapid.SampledFrom([]float64{0.25, 0.5, 1}).Draw(rt, "ratio"),
			MinTries: rapid.IntRange(1, 12).Draw(rt, "min tries"),
			Window:   10 * time.Second,
			Pause:    4 * time.Second,
			MaxPause: 30 * time.Second,
		}
		r := newFakeRouter(t, nil, clock.options(opts), accepts, accepts)
		model := &breakerModel{opts: opts, start: clock.now}
		send := func(say reply, failed bool, retryAfter time.Duration) {
			r.services[0].says(say)
			asked, admits := r.services[0].asked, model.admits(clock.now)
			r.Send(t.Context(), routedMessage())
			if got := r.services[0].asked > asked; got != admits {
				rt.Fatalf("asked = %v; the model admits: %v", got, admits)
			}
			if admits {
				model.take(clock.now, failed, retryAfter)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"accept":      func(*rapid.T) { send(accepts, false, 0) },
			"refuse":      func(*rapid.T) { send(fails(sms.Refused, ""), false, 0) },
			"unavailable": func(*rapid.T) { send(fails(sms.Unavailable, ""), true, 0) },
			"uncertain":   func(*rapid.T) { send(fails(sms.Uncertain, ""), true, 0) },
			"throttle": func(rt *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 40).Draw(rt, "seconds")) * time.Second
				send(throttles(d), true, d)
			},
			"wait": func(rt *rapid.T) {
				clock.move(time.Duration(rapid.IntRange(1, 12_000).Draw(rt, "ms")) * time.Millisecond)
			},
			"": func(rt *rapid.T) {
				want := sms.Closed
				switch {
				case !model.until.IsZero() && model.admits(clock.now):
					want = sms.HalfOpen
				case !model.until.IsZero():
					want = sms.Open
				}
				h := r.Health()[0]
				if h.State != want || !h.Until.Equal(model.until) || h.Asked != (model.asked && want == sms.Open) {
					rt.Fatalf("it is %v until %v, asked %v; the model: %v until %v, %v", h.State, h.Until, h.Asked, want, model.until, model.asked)
				}
			},
		})
	})
}
