package sms

import (
	"slices"
	"sync"
	"time"
)

// Health is the state of a provider and the outcomes of its tries since the Router was
// made.
type Health struct {
	Provider string
	State    BreakerState
	Until    time.Time // end of the pause, which may be past; zero while closed
	Asked    bool      // the service asked for the pause

	// Numbers of tries by outcome. Their sum is the number of all tries.
	Accepted, Refused, Unavailable, Uncertain uint64

	Last    Try     // the last try that failed, or the zero Try
	Latency Latency // of all tries, successful or not
}

// A Latency summarizes the durations of tries.
type Latency struct {
	Total    time.Duration // of all tries
	P50, P99 time.Duration // of the last 256 tries
}

// Health returns the health of each provider, in the order of NewRouter. It covers only
// the tries of this process.
func (r *Router) Health() []Health {
	now := r.opts.Now()
	all := make([]Health, len(r.members))
	for i, m := range r.members {
		all[i] = m.counter.health()
		all[i].Provider = m.Name
		all[i].State, all[i].Until, all[i].Asked = m.breaker.standing(now)
	}
	return all
}

// A tryCounter counts the tries of a provider.
type tryCounter struct {
	mu     sync.Mutex
	sum    Health
	took   [256]time.Duration // durations of the last tries, as a ring
	before int                // number of tries so far
}

func (t *tryCounter) add(try Try) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch try.Kind {
	case "":
		t.sum.Accepted++
	case Refused:
		t.sum.Refused++
	case Unavailable:
		t.sum.Unavailable++
	default:
		t.sum.Uncertain++
	}
	if try.Kind != "" {
		t.sum.Last = try
	}
	t.sum.Latency.Total += try.Took
	t.took[t.before%len(t.took)] = try.Took
	t.before++
}

func (t *tryCounter) health() Health {
	t.mu.Lock()
	h := t.sum
	took := slices.Clone(t.took[:min(t.before, len(t.took))])
	t.mu.Unlock()
	if len(took) > 0 {
		slices.Sort(took)
		h.Latency.P50, h.Latency.P99 = rank(took, 50), rank(took, 99)
	}
	return h
}

// rank returns the percentile of sorted values by the nearest rank.
func rank(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}
