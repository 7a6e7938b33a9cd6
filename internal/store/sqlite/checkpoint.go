package sqlite

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"
)

const (
	// checkpointPages is how long the write-ahead log grows before it is copied
	// into the database, in pages of 4 KiB: 16 MiB.
	checkpointPages = 4096
	// tail is the part of the log that may be left to the writer, as a divisor. It
	// grows with the log, so that the log cannot grow for ever.
	tail = 8
	// failurePause is how long no copy is begun after one has failed. On a full disk the
	// attempt to make the database larger takes for a moment what space is left, and the
	// writer's own writes fail.
	failurePause = time.Second
)

// A checkpointer copies the write-ahead log into the database on a connection
// and a goroutine of its own. While writes go on it can never copy the last
// pages, and a log that is not copied whole is never begun anew: so when little
// is left, the writer copies that between two groups, which is quick.
type checkpointer struct {
	c    *conn
	log  *slog.Logger
	wake chan struct{}
	done chan struct{}

	turn   atomic.Int32
	logged atomic.Int64 // pages in the log after the last commit
	pause  atomic.Int64 // until when no copy is begun, in nanoseconds since 1970
	state  *logState
}

// Whose turn it is to copy; two at once would only be refused.
const (
	ofNobody int32 = iota
	ofBackground
	ofWriter
)

func startCheckpointer(c *conn, state *logState, log *slog.Logger) *checkpointer {
	k := &checkpointer{c: c, state: state, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	k.state.due.Store(true)
	go k.run()
	return k
}

// hook is called on the writer's goroutine after each commit, with the length of
// the log.
func (k *checkpointer) hook(pages int) {
	if int64(pages) <= k.logged.Swap(int64(pages)) {
		k.state.begun = true
	}
	if pages >= checkpointPages && time.Now().UnixNano() >= k.pause.Load() && k.turn.CompareAndSwap(ofNobody, ofBackground) {
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
			k.turn.Store(ofNobody) // the next commit wakes it again
		}
	}
}

// after is called by the writer between two groups.
func (k *checkpointer) after(c *conn) {
	if k.turn.Load() == ofWriter {
		k.copy(c)
		k.turn.Store(ofNobody)
	}
}

// copy copies what it can and returns how many pages of the log are copied now.
func (k *checkpointer) copy(c *conn) (copied int, ok bool) {
	start := time.Now()
	defer k.state.due.Store(true)
	_, copied, err := c.db.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
	switch {
	case errors.Is(err, sqlite3.BUSY):
		return 0, false // another process is copying
	case err != nil:
		k.pause.Store(time.Now().Add(failurePause).UnixNano())
		k.log.Warn("checkpoint", "error", err)
		return 0, false
	}
	k.log.Debug("checkpoint", "logged", k.logged.Load(), "copied", copied, "took_ms", float64(time.Since(start).Microseconds())/1000)
	return copied, true
}

// stop ends the goroutine and closes its connection.
func (k *checkpointer) stop() error {
	close(k.wake)
	<-k.done
	return k.c.close()
}
