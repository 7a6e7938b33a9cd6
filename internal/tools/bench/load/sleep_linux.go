package load

import (
	"runtime"
	"syscall"
	"time"
)

// sleeper returns how to sleep to within some 60 µs, for one goroutine, until done
// is called. A timer of the runtime may be a millisecond late, as it waits by
// epoll_wait. A signal may end a sleep early.
func sleeper() (sleep func(time.Duration), done func()) {
	runtime.LockOSThread()
	return func(d time.Duration) {
		t := syscall.NsecToTimespec(int64(d))
		syscall.Nanosleep(&t, nil)
	}, runtime.UnlockOSThread
}
