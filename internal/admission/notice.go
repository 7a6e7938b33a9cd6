package admission

import (
	"sync/atomic"
	"time"
)

// interval is the shortest time between two messages of a Notice.
const interval = 10 * time.Second

// A Notice rate-limits a log message for frequent conditions. The zero value is ready to
// use. A Notice is safe for concurrent use.
type Notice struct{ last atomic.Int64 } // Unix nanoseconds

// Due reports whether the message should be logged now. After it has returned true, it
// returns false for ten seconds.
func (n *Notice) Due(now time.Time) bool {
	last := n.last.Load()
	since := now.UnixNano() - last // negative if the clock was set back
	return (since < 0 || since >= int64(interval)) && n.last.CompareAndSwap(last, now.UnixNano())
}
