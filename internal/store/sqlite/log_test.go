package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// TestLogStartsAgain writes much more than the size limit of the write-ahead log,
// without a pause, and checks the size of the log. Each reader delays checkpoints until
// it has finished.
func TestLogStartsAgain(t *testing.T) {
	for _, tc := range []struct {
		name    string
		readers int
		most    int64
	}{
		{"without readers", 0, 32 << 20},
		{"among readers", 2, 64 << 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := newPath(t)
			s := open(t, path)
			written := flood(t, s, 128<<20, tc.readers)
			log, err := os.Stat(path + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("the log has %d MiB after writing %d MiB", log.Size()>>20, written>>20)
			if log.Size() > tc.most {
				t.Errorf("the log has %d MiB; want at most %d", log.Size()>>20, tc.most>>20)
			}
		})
	}
}

// flood writes from 64 callers, with concurrent readers, until the process has written
// total bytes to files.
func flood(t *testing.T, s *sqlite.Store, total int64, readers int) (written int64) {
	t.Helper()
	start := bytesWritten(t)
	f := storeFactor(t, s)
	var done atomic.Bool
	var wg sync.WaitGroup
	forever := func(fn func() error) {
		wg.Go(func() {
			for !done.Load() {
				if err := fn(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range readers {
		forever(func() error {
			_, err := s.View(t.Context(), readFactor(f.ID))
			return err
		})
	}
	for range 64 {
		forever(func() error {
			done.CompareAndSwap(false, bytesWritten(t)-start > total)
			return insertSome(t.Context(), s)
		})
	}
	wg.Wait()
	return bytesWritten(t) - start
}

// insertSome inserts rows in all parts of the database, each in a separate Update.
func insertSome(ctx context.Context, s *sqlite.Store) error {
	for range 20 {
		f := storetest.NewFactor(storetest.NewUser())
		r := storetest.NewReplay(f.ID.Bucket())
		r.Sealed = make([]byte, 1200) // the size of a stored answer to a challenge
		err := s.Update(ctx, readFactor(f.ID), storetest.Writing(mfa.InsertFactor{Factor: f}, mfa.PutReplay{Replay: r}))
		if err != nil {
			return err
		}
	}
	return nil
}

// bytesWritten returns the number of bytes that this process has written to files.
func bytesWritten(t *testing.T) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip("this system does not say how much was written: ", err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "wchar: %d", &n); err == nil {
			return n
		}
	}
	t.Skip("this system does not say how much was written")
	return 0
}
