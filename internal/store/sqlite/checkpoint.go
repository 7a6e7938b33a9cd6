package sqlite

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/wallclock"
)

const (
	// checkpointPages is the length of the write-ahead log, in pages of 4 KiB, at which
	// the checkpointer copies it into the database: 16 MiB.
	checkpointPages = 4096
	// tail is a divisor. If at most 1/tail of the log is not copied yet, the writer
	// copies that part. This bound grows with the log, so the log cannot grow without
	// limit.
	tail = 8
	// failurePause is the time after a failed copy in which no new copy starts. On a
	// full disk, the attempt to make the database larger uses up the remaining space
	// for a moment, and the writer's own writes fail.
	failurePause = time.Second
)

// A checkpointer copies the write-ahead log into the database on its own connection and
// goroutine. During writes it can never copy the last pages, and SQLite does not
// restart a log that is not completely copied. Therefore the writer copies a short
// remaining part between two groups, which is quick.
type checkpointer struct {
	c    *conn
	log  *slog.Logger
	now  func() time.Time
	wake chan struct{}
	done chan struct{}

	turn   atomic.Int32
	logged atomic.Int64 // pages in the log after the last commit
	pause  atomic.Int64 // no copy starts before this time, in nanoseconds since 1970
	state  *logState
}

// The side whose turn it is to copy. SQLite would refuse a second copy at the same
// time.
const (
	ofNobody int32 = iota
	ofBackground
	ofWriter
)

func startCheckpointer(c *conn, state *logState, log *slog.Logger) *checkpointer {
	k := &checkpointer{c: c, now: wallclock.Or(nil), state: state, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	k.state.due.Store(true)
	go k.run()
	return k
}

// hook receives the length of the log after each commit, on the writer's goroutine.
func (k *checkpointer) hook(pages int) {
	if int64(pages) <= k.logged.Swap(int64(pages)) {
		k.state.begun = true
	}
	if pages >= checkpointPages && k.now().UnixNano() >= k.pause.Load() && k.turn.CompareAndSwap(ofNobody, ofBackground) {
		k.wake <- struct{}{}
	}
}

func (k *checkpointer) run() {
	defer close(k.done)
	for range k.wake {
		copied, ok := k.copy(k.c)
		if logged := k.logged.Load(); ok && logged-int64(copied) <= logged/tail {
			k.turn.Store(ofWriter)
		} else {
			k.turn.Store(ofNobody) // the next commit wakes the goroutine again
		}
	}
}

// after runs on the writer between two groups.
func (k *checkpointer) after(c *conn) {
	if k.turn.Load() == ofWriter {
		k.copy(c)
		k.turn.Store(ofNobody)
	}
}

// copy copies as many pages of the log as it can and returns the number of all copied
// pages.
func (k *checkpointer) copy(c *conn) (copied int, ok bool) {
	start := wallclock.Start()
	defer k.state.due.Store(true)
	_, copied, err := c.db.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
	switch {
	case errors.Is(err, sqlite3.BUSY):
		return 0, false // another process is copying
	case err != nil:
		k.pause.Store(k.now().Add(failurePause).UnixNano())
		k.log.Warn("checkpoint", "error", err)
		return 0, false
	}
	k.log.Debug("checkpoint", "logged", k.logged.Load(), "copied", copied, "took_ms", float64(start.Elapsed().Microseconds())/1000)
	return copied, true
}

// stop ends the goroutine and closes its connection.
func (k *checkpointer) stop() error {
	close(k.wake)
	<-k.done
	return k.c.close()
}
