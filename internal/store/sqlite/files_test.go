package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// crash copies the files of an open store, as they would be after a crash.
func crash(t *testing.T, path string) (copied string) {
	t.Helper()
	copied = newPath(t)
	if err := os.Mkdir(filepath.Dir(copied), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		move(t, path+suffix, copied+suffix)
	}
	return copied
}

// move replaces the file to with a copy of the file from.
func move(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func backUp(t *testing.T, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "backup.db")
	if _, err := sqlite.Backup(t.Context(), path, to, false, nil); err != nil {
		t.Fatal(err)
	}
	return to
}

func restore(t *testing.T, from, path string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	var done, total int64
	if _, err := sqlite.Restore(t.Context(), from, path, time.Now(), nil, func(d, of int64) { done, total = d, of }); err != nil {
		t.Fatal(err)
	}
	if done != info.Size() || total != info.Size() {
		t.Errorf("the last report of a restore is %d of %d bytes; want %d", done, total, info.Size())
	}
}

// copyWith copies a database with do, one of SQLite's ways to copy.
func copyWith(t *testing.T, path string, do func(db *sqlite3.Conn, to string) error) (to string) {
	t.Helper()
	to = filepath.Join(t.TempDir(), "copy.db")
	db, err := sqlite3.Open(path)
	if err == nil {
		err = errors.Join(do(db, to), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestForeignLogIsRefused opens databases with their own logs and with logs of other
// databases.
func TestForeignLogIsRefused(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	fresh := crash(t, path)
	storeFactor(t, s)
	first := backUp(t, path)
	flood(t, s, 40<<20, 0) // SQLite has restarted the log several times
	storeFactor(t, s)
	last := backUp(t, path)
	other := newPath(t)
	storeFactor(t, open(t, other))
	for _, tc := range []struct {
		name     string
		database func(crashed string) // puts a database in the place of the crashed one
		want     error
	}{
		{"its own", func(string) {}, nil},
		{"the first backup", func(p string) { move(t, first, p) }, sqlite.ErrForeignLog},
		{"the last backup", func(p string) { move(t, last, p) }, sqlite.ErrForeignLog},
		{"the database as it was at first", func(p string) { move(t, fresh, p) }, sqlite.ErrForeignLog},
		{"another store", func(p string) { move(t, other, p) }, sqlite.ErrForeignLog},
		{"a copy by SQLite", func(p string) {
			move(t, copyWith(t, path, func(db *sqlite3.Conn, to string) error { return db.Backup("main", to) }), p)
		}, sqlite.ErrForeignLog},
		{"a copy by VACUUM", func(p string) {
			move(t, copyWith(t, path, func(db *sqlite3.Conn, to string) error { return db.Exec("VACUUM INTO " + sqlite3.Quote(to)) }), p)
		}, sqlite.ErrForeignLog},
	} {
		t.Run(tc.name, func(t *testing.T) {
			crashed := crash(t, path)
			tc.database(crashed)
			s, err := sqlite.Open(crashed, nil)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Open = %v; want %v", err, tc.want)
			}
			if err == nil {
				err = errors.Join(s.Check(t.Context()), s.Close())
			}
			if tc.want == nil && err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEveryLogIsCounted crashes a store after each of many commits around a restart of
// the log. The log must always belong to the database.
func TestEveryLogIsCounted(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	for range 6 {
		flood(t, s, 18<<20, 0)
		for range 3 {
			f := storeFactor(t, s)
			crashed := open(t, crash(t, path))
			holds(t, crashed, f)
			if err := crashed.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRestoreTwice(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	kept := storeFactor(t, s)
	backup := backUp(t, path)
	for range 2 {
		lost := storeFactor(t, s)
		if _, err := sqlite.Restore(t.Context(), backup, path, time.Now(), nil, nil); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Fatalf("Restore to a store in use = %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		restore(t, backup, path)
		s = open(t, path)
		holds(t, s, kept)
		if rows, err := s.View(t.Context(), readFactor(lost.ID)); err != nil || rows.Factor != nil {
			t.Errorf("a factor that is not in the backup: %v, %v", rows.Factor, err)
		}
	}
}

// TestInterruptedRestoreIsCompleted leaves the same files as a restore that is killed
// between two steps.
func TestInterruptedRestoreIsCompleted(t *testing.T) {
	const at = "20260329T083000.000Z"
	for _, tc := range []struct {
		name  string
		moved []string // suffixes of the files that are already set aside
	}{
		{"before all steps", nil},
		{"after the log", []string{"-wal"}},
		{"after the database", []string{"-wal", ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := newPath(t)
			live := open(t, path)
			f := storeFactor(t, live)
			backup := backUp(t, path)
			storeFactor(t, live)
			crashed := crash(t, path)
			// Restore gives the copy its own identity.
			ready := newPath(t)
			restore(t, backup, ready)
			move(t, ready, crashed+"-restored-"+at)
			for _, suffix := range tc.moved {
				if err := os.Rename(crashed+suffix, crashed+".replaced-"+at+suffix); err != nil {
					t.Fatal(err)
				}
			}
			s := open(t, crashed)
			holds(t, s, f)
			if err := s.Check(t.Context()); err != nil {
				t.Error(err)
			}
			for _, suffix := range []string{"", "-wal"} {
				if _, err := os.Stat(crashed + ".replaced-" + at + suffix); err != nil {
					t.Errorf("the old store is not kept: %v", err)
				}
			}
		})
	}
}

// TestInterruptedRestoreReplacesDamage leaves a restored copy next to a damaged
// database. This is the state after a restore that is killed before it sets the old
// file aside.
func TestInterruptedRestoreReplacesDamage(t *testing.T) {
	path, damaged := newPath(t), filepath.Join(t.TempDir(), "damaged.db")
	live := open(t, path)
	f := storeFactor(t, live)
	ready := newPath(t)
	restore(t, backUp(t, path), ready)
	if err := os.WriteFile(damaged, bytes.Repeat([]byte("damage"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	move(t, ready, damaged+"-restored-20260329T083000.000Z")
	holds(t, open(t, damaged), f)
}

// TestFailedRestoreLeavesStore makes a restore fail while it sets the old files aside,
// before the copy has its final name. The store's name must always refer to a file, or
// the next process finds no store.
func TestFailedRestoreLeavesStore(t *testing.T) {
	path, target := newPath(t), filepath.Join(t.TempDir(), "target.db")
	f := storeFactor(t, open(t, path))
	backup := backUp(t, path)
	restore(t, backup, target)
	if err := os.MkdirAll(target+"-shm/in the way", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Restore(t.Context(), backup, target, time.Now(), nil, nil); err == nil {
		t.Fatal("Restore = nil; want an error")
	}
	if _, err := os.Stat(target); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(target + "-shm"); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.OpenExisting(target, slog.New(slog.NewTextHandler(logcapture.Log(t, t.Name()), nil)))
	if err != nil {
		t.Fatal(err)
	}
	holds(t, s, f)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestStoreIsMadeWhereLinkPoints creates a store through a symbolic link. If the target
// directory is missing, for example because a volume is not mounted, the link must not
// be replaced.
func TestStoreIsMadeWhereLinkPoints(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(filepath.Join("volume", "store.db"), link); err != nil {
		t.Fatal(err)
	}
	if s, err := sqlite.Open(link, nil); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("Open without the directory = %v, %v; want %v", s, err, os.ErrNotExist)
	}
	if err := os.Mkdir(filepath.Join(dir, "volume"), 0o700); err != nil {
		t.Fatal(err)
	}
	f := storeFactor(t, open(t, link))
	holds(t, open(t, filepath.Join(dir, "volume", "store.db")), f)
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
}

// TestBackupUnderLoad makes a backup during writes, and cancels another backup.
func TestBackupUnderLoad(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	f := storeFactor(t, s)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := insertSome(t.Context(), s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		restored := newPath(t)
		restore(t, backUp(t, path), restored)
		holds(t, open(t, restored), f)
	}
	stop()
	wg.Wait()
	to := filepath.Join(t.TempDir(), "canceled")
	if _, err := sqlite.Backup(ctx, path, to, false, nil); err == nil {
		t.Error("a canceled backup succeeds")
	}
	if left, err := os.ReadDir(filepath.Dir(to)); err != nil || len(left) > 0 {
		t.Errorf("a canceled backup leaves %v, %v", left, err)
	}
}

// TestFilesAreNeverOpenToOthers watches the permissions of the files while stores open,
// with a umask that allows everything.
func TestFilesAreNeverOpenToOthers(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if info, err := e.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s has mode %v", e.Name(), info.Mode())
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for i := range 40 {
		s, err := sqlite.Open(filepath.Join(dir, fmt.Sprint(i%4, ".db")), nil)
		if err != nil {
			t.Fatal(err)
		}
		storeFactor(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
}

// TestFullDiskIsNotReady fills a disk until no write succeeds, and then makes room.
func TestFullDiskIsNotReady(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("mount a small disk: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(lockedBuilder)
	path := filepath.Join(dir, "countersign.db")
	s, err := sqlite.Open(path, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var ready error
	for range 2000 {
		f := storetest.NewFactor(storetest.NewUser())
		if err := s.Update(t.Context(), readFactor(f.ID), storetest.Writing(mfa.InsertFactor{Factor: f})); err == nil {
			continue
		}
		if ready = s.Ping(t.Context()); ready != nil {
			break
		}
	}
	if ready == nil || !strings.Contains(ready.Error(), "no space left on device") || !strings.Contains(ready.Error(), path) {
		t.Errorf("Ping = %v; want the error of the system, and the path", ready)
	}
	if text := log.String(); !strings.Contains(text, "no space left on device") || !strings.Contains(text, path) {
		t.Errorf("the log has neither the error of the system nor the path:\n%s", text)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("with room again: Ping = %v", err)
	}
	storeFactor(t, s)
}

// A lockedBuilder collects a log and can be read during writes.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestOpenExistingMakesNothing(t *testing.T) {
	for _, name := range []string{"missing", "empty"} {
		path := filepath.Join(t.TempDir(), name)
		if name == "empty" {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := sqlite.OpenExisting(path, slog.New(slog.NewTextHandler(logcapture.Log(t, t.Name()), nil))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: OpenExisting = %v, %v; want %v", name, s, err, os.ErrNotExist)
		}
	}
}
