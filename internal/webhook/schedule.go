package webhook

import (
	"encoding/binary"
	"io"
	"time"
)

// The waits before each attempt. Those of production are the example of Standard Webhooks;
// together they take about three days. Those of sandboxes take at most ten minutes.
var (
	productionWaits = []time.Duration{
		0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
	sandboxWaits = []time.Duration{0, 5 * time.Second, 8 * time.Minute}
)

const (
	// downAfter is how many failed attempts in a row show that an endpoint is down, and not
	// only unable to process some event. Then the events after the cursor wait.
	downAfter = 5
	// probeEvery is how long they wait before one more of them is tried.
	probeEvery = 15 * time.Minute
	// disableAfter is how long attempts fail before an endpoint is disabled.
	disableAfter = 5 * 24 * time.Hour

	// maxRetryAfter bounds the wait that a receiver can ask for with Retry-After before the
	// same event is sent again, and maxHold before any other event is.
	maxRetryAfter = 24 * time.Hour
	maxHold       = time.Hour

	// maxWaiting bounds the waiting deliveries of an endpoint. With more, the cursor does not
	// move. maxWaitingDown is the bound for an endpoint that is down.
	maxWaiting     = 1000
	maxWaitingDown = 100
)

// waits returns the waits before each attempt.
func waits(sandbox bool) []time.Duration {
	if sandbox {
		return sandboxWaits
	}
	return productionWaits
}

// wait returns the time between attempt n and the next one, with jitter r from 0 to 1. It
// returns false if n was the last attempt.
func wait(sandbox bool, n int, r float64) (time.Duration, bool) {
	all := waits(sandbox)
	if n >= len(all) {
		return 0, false
	}
	// 20 % less to 20 % more: endpoints that failed together are not tried together.
	return time.Duration(float64(all[n]) * (0.8 + 0.4*r)).Truncate(time.Millisecond), true
}

// fraction draws a number from 0 to 1.
func fraction(rand io.Reader) (float64, error) {
	var b [8]byte
	_, err := io.ReadFull(rand, b[:])
	return float64(binary.BigEndian.Uint64(b[:])>>11) / (1 << 53), err
}
