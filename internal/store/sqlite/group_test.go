package sqlite_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

var errRefused = errors.New("refused by fn")

// hold keeps the writer busy until release is called, so other writes must wait.
func hold(t *testing.T, s *sqlite.Store) (release func()) {
	t.Helper()
	entered, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.Update(t.Context(), mfa.Read{}, func(*mfa.Tx) error {
			close(entered)
			<-leave
			return nil
		})
	}()
	<-entered
	return func() {
		t.Helper()
		close(leave)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// queue starts an Update and returns when the Update waits for the writer, which hold
// keeps busy.
func queue(ctx context.Context, s *sqlite.Store, r mfa.Read, fn func(*mfa.Tx) error) <-chan error {
	result := make(chan error, 1)
	before := s.Waiting()
	go func() { result <- s.Update(ctx, r, fn) }()
	await(func() bool { return s.Waiting() > before })
	return result
}

// queueFactors queues the insertion of n factors. Their results may arrive in any
// order.
func queueFactors(t *testing.T, s *sqlite.Store, n int) ([]*mfa.Factor, <-chan error) {
	t.Helper()
	factors, results := make([]*mfa.Factor, n), make(chan error, n)
	before := s.Waiting()
	for i := range factors {
		f := storetest.NewFactor(storetest.NewUser())
		factors[i] = f
		go func() {
			results <- s.Update(t.Context(), readFactor(f.ID), storetest.Writing(mfa.InsertFactor{Factor: f}))
		}()
	}
	await(func() bool { return s.Waiting() == before+n })
	return factors, results
}

// commits counts the commits in the write-ahead log (see "WAL Frame Format" at
// sqlite.org/fileformat2.html). A commit is a frame that ends a transaction in the
// current generation of the log.
func commits(t *testing.T, path string) (n int) {
	t.Helper()
	log, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	const header, frameHeader = 32, 24
	if len(log) < header {
		return 0
	}
	size, salts := frameHeader+int(binary.BigEndian.Uint32(log[8:])), string(log[16:24])
	for log = log[header:]; len(log) >= size; log = log[size:] {
		if string(log[8:16]) == salts && binary.BigEndian.Uint32(log[4:]) != 0 {
			n++
		}
	}
	return n
}

func TestWaitingUpdatesShareACommit(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	for _, tc := range []struct{ waiting, want int }{
		{1, 1}, {2, 1}, {100, 1}, {sqlite.MaxGroup, 1}, {sqlite.MaxGroup + 1, 2},
	} {
		release := hold(t, s)
		before := commits(t, path)
		factors, results := queueFactors(t, s, tc.waiting)
		release()
		for range factors {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if got := commits(t, path) - before; got != tc.want {
			t.Errorf("%d waiting Updates made %d commits; want %d", tc.waiting, got, tc.want)
		}
		holds(t, s, factors...)
	}
}

func TestRefusalKeepsTheRestOfItsGroup(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	release := hold(t, s)
	before := commits(t, path)
	refused := queue(t.Context(), s, mfa.Read{}, func(*mfa.Tx) error { return errRefused })
	factors, results := queueFactors(t, s, 10)
	release()
	if err := <-refused; !errors.Is(err, errRefused) {
		t.Errorf("Update = %v; want %v", err, errRefused)
	}
	for range factors {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if got := commits(t, path) - before; got != 1 {
		t.Errorf("made %d commits; want 1", got)
	}
	holds(t, s, factors...)
}

// TestOnlyBadUpdateFails runs good Updates and, among them, one that fails halfway.
// Each Update depends on the row that the previous one wrote.
func TestOnlyBadUpdateFails(t *testing.T) {
	fails := map[string]func(*mfa.Tx) error{
		"a write that cannot be made": func(tx *mfa.Tx) error {
			tx.Factor.Failures = 1000
			tx.Writes = []mfa.Write{tx.Factor.Update(), mfa.InsertFactor{Factor: tx.Factor}}
			return nil
		},
		"a panic": func(*mfa.Tx) error { panic("a bug in fn") },
	}
	for name, bad := range fails {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			s := open(t, path)
			f := storeFactor(t, s)
			release := hold(t, s)
			before := commits(t, path)
			const n = 9
			var results [n]<-chan error
			for i := range results {
				fn := bad
				if i != n/2 {
					fn = func(tx *mfa.Tx) error {
						tx.Factor.Failures++
						tx.Writes = []mfa.Write{tx.Factor.Update()}
						return nil
					}
				}
				results[i] = queue(t.Context(), s, readFactor(f.ID), fn)
			}
			release()
			for i, result := range results {
				if err := <-result; (err != nil) != (i == n/2) {
					t.Errorf("Update %d = %v", i, err)
				}
			}
			rows, err := s.View(t.Context(), readFactor(f.ID))
			if err != nil {
				t.Fatal(err)
			}
			if rows.Factor.Failures != n-1 {
				t.Errorf("counted %d; want %d", rows.Factor.Failures, n-1)
			}
			if got := commits(t, path) - before; got != n-1 {
				t.Errorf("made %d commits; want one for each of the %d good Updates", got, n-1)
			}
		})
	}
}

func TestCancelledWhileWaitingIsNotRun(t *testing.T) {
	s := open(t, sqlitetest.Path(t))
	release := hold(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	f := storetest.NewFactor(storetest.NewUser())
	result := queue(ctx, s, readFactor(f.ID), func(*mfa.Tx) error {
		t.Error("the cancelled Update runs")
		return nil
	})
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v; want %v", err, context.Canceled)
	}
	release()
	storeFactor(t, s)
}

func TestCancelledBeforeIsNotQueued(t *testing.T) {
	s := open(t, sqlitetest.Path(t))
	release := hold(t, s)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Update(ctx, mfa.Read{}, storetest.Writing()); !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v; want %v", err, context.Canceled)
	}
	if n := s.Waiting(); n != 0 {
		t.Errorf("%d Updates wait; want none", n)
	}
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	s := open(t, sqlitetest.Path(t))
	release := hold(t, s)
	results := make(chan error, sqlite.MaxWaiting)
	for range sqlite.MaxWaiting {
		go func() { results <- s.Update(t.Context(), mfa.Read{}, storetest.Writing()) }()
	}
	await(func() bool { return s.Waiting() == sqlite.MaxWaiting })
	if err := s.Update(t.Context(), mfa.Read{}, storetest.Writing()); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("Update = %v; want %v", err, mfa.ErrUnavailable)
	}
	release()
	for range sqlite.MaxWaiting {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	storeFactor(t, s)
}
