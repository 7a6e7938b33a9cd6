package sqlite

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"
)

const (
	// checkpointPages is how long the write-ahead log grows before it is copied
	// into the database, in pages of 4 KiB: 16 MiB.
	checkpointPages = 4096
	// tailPages is how little must be left to copy for the writer to do it.
	tailPages = 512
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

	logged atomic.Int64 // pages in the log after the last commit
	tail   atomic.Bool  // little is left, for the writer to copy
}

func startCheckpointer(c *conn, log *slog.Logger) *checkpointer {
	k := &checkpointer{c: c, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go k.run()
	return k
}

// hook is called on the writer's goroutine after each commit, with the length of
// the log.
func (k *checkpointer) hook(_ *sqlite3.Conn, _ string, pages int) error {
	k.logged.Store(int64(pages))
	if pages >= checkpointPages && !k.tail.Load() {
		select {
		case k.wake <- struct{}{}:
		default: // it is awake
		}
	}
	return nil
}

func (k *checkpointer) run() {
	defer close(k.done)
	for range k.wake {
		start := time.Now()
		_, copied, err := k.c.db.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
		if err != nil {
			k.log.Warn("checkpoint", "error", err)
			continue
		}
		left := int(k.logged.Load()) - copied
		k.log.Debug("checkpoint", "copied", copied, "left", left, "took", time.Since(start))
		// Otherwise the next commit wakes it again.
		k.tail.Store(left <= tailPages)
	}
}

// after is called by the writer between two groups.
func (k *checkpointer) after(writer *conn) {
	if !k.tail.CompareAndSwap(true, false) {
		return
	}
	if _, _, err := writer.db.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE); err != nil {
		k.log.Warn("checkpoint", "error", err)
	}
}

// stop ends the goroutine and closes its connection.
func (k *checkpointer) stop() error {
	close(k.wake)
	<-k.done
	return k.c.close()
}
