package sqlite_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/store/migrate"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) mfa.Store { return open(t, sqlitetest.Path(t)) })
}

func TestAccess(t *testing.T) {
	storetest.RunAccess(t, func(t *testing.T) access.Store { return open(t, sqlitetest.Path(t)) })
}

func TestMeta(t *testing.T) {
	storetest.RunMeta(t, func(t *testing.T) storetest.MetaStore { return open(t, sqlitetest.Path(t)) })
}

// newPath returns the path of a database that does not exist yet, in a directory that
// does not exist yet.
func newPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "data", "countersign.db")
}

// open opens a store and closes it when the test ends.
func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// storeFactor stores a new factor.
func storeFactor(t testing.TB, s *sqlite.Store) *mfa.Factor {
	t.Helper()
	f := storetest.NewFactor(storetest.NewUser())
	if err := s.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, storetest.Writing(mfa.InsertFactor{Factor: f})); err != nil {
		t.Fatal(err)
	}
	return f
}

func readFactor(id mfa.FactorID) mfa.Read { return mfa.Read{Bucket: id.Bucket(), Factor: id} }

// holds reports a test error unless the store holds every factor.
func holds(t testing.TB, s *sqlite.Store, factors ...*mfa.Factor) {
	t.Helper()
	for _, f := range factors {
		rows, err := s.View(t.Context(), readFactor(f.ID))
		if err != nil {
			t.Fatal(err)
		}
		if rows.Factor == nil || !bytes.Equal(rows.Factor.Sealed, f.Sealed) {
			t.Fatalf("%s is not stored as it was", f.ID)
		}
	}
}

// await lets other goroutines run until done returns true.
func await(done func() bool) {
	for !done() {
		runtime.Gosched()
	}
}

func TestOnlyTheOwnerCanReadTheFiles(t *testing.T) {
	path := newPath(t)
	check := func(t *testing.T, path string, want os.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v; want %v", filepath.Base(path), got, want)
		}
	}
	for _, when := range []string{"new", "reopened"} {
		t.Run(when, func(t *testing.T) {
			storeFactor(t, open(t, path))
			check(t, filepath.Dir(path), 0o700)
			check(t, path, 0o600)
			check(t, path+"-wal", 0o600)
			check(t, path+"-shm", 0o600)
		})
	}
}

func TestReopeningKeepsEverything(t *testing.T) {
	path := newPath(t)
	var factors []*mfa.Factor
	for range 3 {
		s := open(t, path)
		holds(t, s, factors...)
		for range 10 {
			factors = append(factors, storeFactor(t, s))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after Close a write-ahead log is left: %v", err)
		}
	}
	s := open(t, path)
	holds(t, s, factors...)
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := newPath(t)
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Exec("PRAGMA user_version = 9999"), db.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err := sqlite.Open(path, nil); !errors.Is(err, migrate.ErrNewer) {
		t.Errorf("Open = %v, %v; want %v", s, err, migrate.ErrNewer)
	}
}

func TestFileThatIsNotADatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	text := bytes.Repeat([]byte("not a database\n"), 1000)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := sqlite.Open(path, nil); !errors.Is(err, sqlite3.NOTADB) {
		t.Errorf("Open = %v, %v; want %v", s, err, sqlite3.NOTADB)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the file was changed: %v", err)
	}
}

func TestMetaIsReplaced(t *testing.T) {
	s := open(t, sqlitetest.Path(t))
	for _, value := range [][]byte{{0, 1}, {2}, {}} {
		if err := s.PutMeta(t.Context(), "name", value); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Meta(t.Context(), "name"); err != nil || got == nil || !bytes.Equal(got, value) {
			t.Errorf("Meta = %v, %v; want %v", got, err, value)
		}
		if got, err := s.Meta(t.Context(), "other"); err != nil || got != nil {
			t.Errorf("Meta of another name = %v, %v; want none", got, err)
		}
	}
}

func TestCloseWaitsForAcceptedWrites(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	release := hold(t, s)
	factors, results := queueFactors(t, s, 10)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	await(s.Closing)
	if err := s.Update(t.Context(), mfa.Read{}, storetest.Writing()); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("Update while closing = %v; want %v", err, mfa.ErrUnavailable)
	}
	release()
	for range factors {
		if err := <-results; err != nil {
			t.Errorf("an accepted Update = %v", err)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	holds(t, open(t, path), factors...)
}

func TestClosedStoreIsUnavailable(t *testing.T) {
	s := open(t, sqlitetest.Path(t))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, view := s.View(ctx, mfa.Read{})
	_, factors := s.Factors(ctx, mfa.FactorQuery{})
	_, key := s.KeyByHash(ctx, access.Hash{})
	_, sweep := s.Sweep(ctx, mfa.Horizon{}, 1)
	for name, err := range map[string]error{
		"Update":  s.Update(ctx, mfa.Read{}, storetest.Writing()),
		"View":    view,
		"Factors": factors,
		"Key":     key,
		"Sweep":   sweep,
		"Ping":    s.Ping(ctx),
	} {
		if !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("%s = %v; want %v", name, err, mfa.ErrUnavailable)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("the second Close = %v", err)
	}
}

// TestCloseWaitsForReads closes a store during several kinds of concurrent reads.
func TestCloseWaitsForReads(t *testing.T) {
	s := open(t, sqlitetest.Path(t))
	f := storeFactor(t, s)
	const readers = 16
	first, results := make(chan struct{}, readers), make(chan error, readers)
	for range readers {
		go func() {
			var err error
			for range 10_000 {
				if _, err = s.View(t.Context(), readFactor(f.ID)); err != nil {
					break
				}
				select {
				case first <- struct{}{}:
				default:
				}
			}
			results <- err
		}()
	}
	<-first
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range readers {
		if err := <-results; err != nil && !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("View = %v; want %v", err, mfa.ErrUnavailable)
		}
	}
}

func TestSignIn(t *testing.T) {
	storetest.RunSignIn(t, func(t *testing.T) signin.Store { return open(t, sqlitetest.Path(t)) })
}

func TestWebhooks(t *testing.T) {
	storetest.RunWebhooks(t, func(t *testing.T) storetest.Webhooks {
		s := open(t, sqlitetest.Path(t))
		return storetest.Webhooks{Store: s, Queue: s, Log: s}
	})
}

func TestStatistics(t *testing.T) {
	storetest.RunStatistics(t, func(t *testing.T) storetest.StatisticsStore { return open(t, sqlitetest.Path(t)) })
}

func TestNodes(t *testing.T) {
	storetest.RunNodes(t, func(t *testing.T) nodes.Store { return open(t, sqlitetest.Path(t)) })
}
