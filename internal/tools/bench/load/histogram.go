package load

import (
	"math/bits"
	"time"
)

const (
	// slotBits gives every power of two 64 slots, for a relative error of at most
	// 1/64.
	slotBits = 6
	// longest is what longer times are counted as: some 18 minutes.
	longest = 1<<40 - 1
	slots   = (40 - slotBits + 1) << slotBits
)

// A Histogram counts durations. The zero value is empty. One goroutine uses it at a
// time; Add joins several histograms.
type Histogram struct {
	counts [slots]uint32
	n      uint64
	max    time.Duration
}

// Record counts d once. A negative time counts as none.
func (h *Histogram) Record(d time.Duration) {
	h.counts[slotOf(uint64(min(max(d, 0), longest)))]++
	h.n++
	h.max = max(h.max, d)
}

// Add counts all that other has counted.
func (h *Histogram) Add(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// Count returns how many times were recorded.
func (h *Histogram) Count() uint64 { return h.n }

// Max returns the longest, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the duration that a share q (0 to 1) of all values did not
// exceed, at most 1/64 too long; 0 for an empty histogram.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	// The smallest count that is at least q of all.
	rank := uint64(q * float64(h.n))
	if float64(rank) < q*float64(h.n) {
		rank++
	}
	rank = max(rank, 1)
	var seen uint64
	for i, n := range h.counts {
		if seen += uint64(n); seen >= rank {
			return min(time.Duration(highestIn(i)), h.max)
		}
	}
	return h.max
}

// slotOf returns the slot of v: values below 128 have one slot each, larger ones
// share 64 slots per power of two.
func slotOf(v uint64) int {
	shift := max(0, bits.Len64(v)-slotBits-1)
	return shift<<slotBits + int(v>>shift)
}

// highestIn returns the highest value that is counted in a slot.
func highestIn(slot int) uint64 {
	shift := max(0, slot>>slotBits-1)
	return uint64(slot-shift<<slotBits+1)<<shift - 1
}
