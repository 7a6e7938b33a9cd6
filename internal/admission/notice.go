package admission

import (
	"sync/atomic"
	"time"
)

// every is how long it is silent after a notice.
const every = 10 * time.Second

// A Notice is said from time to time of what happens thousands of times a second. The
// zero value is ready to use, by any number of goroutines.
type Notice struct{ last atomic.Int64 } // in Unix nanoseconds

// Due reports whether it is to be said now; then it is not for ten seconds.
func (n *Notice) Due(now time.Time) bool {
	last := n.last.Load()
	since := now.UnixNano() - last // negative after the clock was set back
	return (since < 0 || since >= int64(every)) && n.last.CompareAndSwap(last, now.UnixNano())
}
