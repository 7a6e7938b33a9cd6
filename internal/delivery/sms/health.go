package sms

import (
	"slices"
	"sync"
	"time"
)

// Health says how a provider fares since the Router was made.
type Health struct {
	Provider string
	State    BreakerState
	Until    time.Time // when the pause ends or ended; zero while closed
	Asked    bool      // the service itself asked for the pause

	// What the tries came to; together they are all tries.
	Accepted, Refused, Unavailable, Uncertain uint64

	Last    Try     // the last one that was not accepted, or zero
	Latency Latency // of all tries, whatever they came to
}

// A Latency sums up how long tries took.
type Latency struct {
	Total    time.Duration // of all tries
	P50, P99 time.Duration // of the last 256
}

// Health returns how each provider fares, in the order of NewRouter. It is what
// this process saw: other nodes may see something else.
func (r *Router) Health() []Health {
	now := r.opts.Now()
	all := make([]Health, len(r.members))
	for i, m := range r.members {
		all[i] = m.tally.health()
		all[i].Provider = m.Name
		all[i].State, all[i].Until, all[i].Asked = m.breaker.standing(now)
	}
	return all
}

// A tally counts the tries of a provider.
type tally struct {
	mu     sync.Mutex
	sum    Health
	took   [256]time.Duration // a ring of the last tries
	before int                // how many tries there were
}

func (t *tally) add(try Try) {
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

func (t *tally) health() Health {
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

// rank returns the smallest value that percent of all do not exceed.
func rank(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}
