package load_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/tools/bench/load"
)

var quantiles = []float64{0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1}

func TestQuantilesAreThoseOfTheSortedTimes(t *testing.T) {
	for _, tc := range []struct {
		name  string
		times func(*rand.Rand) time.Duration
		n     int
	}{
		{"one", func(*rand.Rand) time.Duration { return 1234 * time.Microsecond }, 1},
		{"two", func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(2)) * time.Second }, 2},
		{"a few far apart", func(r *rand.Rand) time.Duration { return time.Duration(1) << r.IntN(40) }, 7},
		{"nanoseconds", func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(300)) }, 10_000},
		{"milliseconds", func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * 3e6) }, 100_000},
		{"minutes", func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(15 * time.Minute))) }, 1000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var h load.Histogram
			var sorted []time.Duration
			for range tc.n {
				d := tc.times(r)
				sorted = append(sorted, d)
				h.Record(d)
			}
			slices.Sort(sorted)
			for _, q := range quantiles {
				// The smallest that a share q did not exceed.
				rank := max(0, int(float64(tc.n)*q+0.999999)-1)
				want := sorted[rank]
				if got := h.Quantile(q); got < want || got > want+want/64 {
					t.Errorf("Quantile(%v) = %v; want %v, or up to 1/64 more", q, got, want)
				}
			}
			if h.Max() != sorted[len(sorted)-1] || h.Count() != uint64(tc.n) {
				t.Errorf("Max = %v, Count = %d; want %v, %d", h.Max(), h.Count(), sorted[len(sorted)-1], tc.n)
			}
		})
	}
}

func TestAddedHistogramsAreOneOfAll(t *testing.T) {
	var parts [3]load.Histogram
	var all load.Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		parts[i%3].Record(d)
		all.Record(d)
	}
	var sum load.Histogram
	for i := range parts {
		sum.Add(&parts[i])
	}
	if sum != all {
		t.Error("the sum of three differs from one that counted all")
	}
}

func TestHistogramTakesAnyTime(t *testing.T) {
	var h load.Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 {
		t.Error("an empty histogram knows a time")
	}
	h.Record(-time.Second)
	if got := h.Quantile(1); got != 0 {
		t.Errorf("a negative time counts as %v", got)
	}
	h.Record(100 * time.Hour)
	if got := h.Quantile(1); h.Max() != 100*time.Hour || got < 18*time.Minute {
		t.Errorf("after 100 h Max = %v, Quantile(1) = %v", h.Max(), got)
	}
}
