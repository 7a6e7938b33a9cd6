package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/store/queue"
)

// probeAfter is how long the last commit proves that the store accepts writes. After
// that time Ping makes a test write.
const probeAfter = 2 * time.Second

// health records whether the store accepts writes.
type health struct {
	wrote  atomic.Int64 // time of the last commit, in nanoseconds since 1970
	broken atomic.Bool  // the last write failed
}

// committed records a successful commit.
func (s *Store) committed() {
	s.health.wrote.Store(s.now().UnixNano())
	if s.health.broken.Load() && s.health.broken.Swap(false) {
		s.log.Info("the store can be written to again", "file", s.files.path)
	}
}

// failed records a write that the store could not carry out.
func (s *Store) failed(err error) {
	if !s.health.broken.Swap(true) {
		s.log.Error("the store cannot be written to", "file", s.files.path, "error", errors.Join(err, s.files.tryWriting()))
	}
}

// tryWriting writes some bytes next to the database and returns the error of the
// operating system, which the error of SQLite does not include. It returns nil if the
// write now succeeds.
func (f *files) tryWriting() (err error) {
	for _, suffix := range suffixes[:lock] {
		file, err := os.OpenFile(f.path+suffix, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	temp, err := os.CreateTemp(filepath.Dir(f.path), "."+filepath.Base(f.path)+"-probe-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(make([]byte, 1<<16))
	return errors.Join(err, temp.Sync(), temp.Close())
}

// Ping reports whether the store can be read and written.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.files.check(); err != nil {
		if s.writes.Closed() {
			return queue.ErrClosed
		}
		s.failed(err)
		return err
	}
	err := s.read(ctx, func(c *conn) error {
		return c.prepare("SELECT 1 FROM meta LIMIT 1").each(func(*rowReader) error { return nil })
	})
	if err != nil {
		return err
	}
	if !s.health.broken.Load() && s.now().Sub(time.Unix(0, s.health.wrote.Load())) < probeAfter {
		return nil
	}
	if err := s.write(ctx, (*conn).countLog); err != nil {
		return fmt.Errorf("write to %s: %w", s.files.path, errors.Join(err, s.files.tryWriting()))
	}
	return nil
}

// isOutage reports whether err has a cause outside the database: the disk, its
// permissions, or a lock of another process.
func isOutage(err error) bool {
	if err == nil {
		return false
	}
	for _, code := range []sqlite3.ErrorCode{sqlite3.BUSY, sqlite3.FULL, sqlite3.IOERR, sqlite3.READONLY, sqlite3.CANTOPEN, sqlite3.PERM} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}
