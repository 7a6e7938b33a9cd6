package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// TestCut cuts or stalls the connection of a transaction at each of its points.
// The result of an Update must be true, its fn must not run again after COMMIT was
// sent, and the store must recover without help.
func TestCut(t *testing.T) {
	const events = true
	url := migrated(t)
	for _, tc := range []struct {
		at     point
		faults []fault
		events bool // whether the Updates store events, which prove a commit
		want   error
		stored bool
		runs   int64 // how often each fn runs
	}{
		{readsArrived, []fault{cut}, events, nil, true, 1},
		{readsArrived, []fault{half}, events, nil, true, 1},
		{readsArrived, []fault{stall}, events, nil, true, 1},
		{readsArrived, []fault{cut, cut}, events, mfa.ErrUnavailable, false, 0},

		// From this point the store cannot know whether the server has received COMMIT.
		{readsAnswered, []fault{cut}, events, mfa.ErrUnavailable, false, 1},
		{commitArrived, []fault{cut}, events, mfa.ErrUnavailable, false, 1},
		{commitArrived, []fault{half}, events, mfa.ErrUnavailable, false, 1},
		{commitArrived, []fault{stall}, events, mfa.ErrUnavailable, false, 1},

		{commitAnswered, []fault{cut}, events, nil, true, 1},
		{commitAnswered, []fault{cut}, !events, mfa.ErrUnavailable, true, 1},
		{commitAnswered, []fault{half}, !events, mfa.ErrUnavailable, true, 1},
		{commitAnswered, []fault{noEnd}, !events, nil, true, 1},
		{commitAnswered, []fault{fatal}, events, nil, true, 1},
		{commitAnswered, []fault{fatal}, !events, mfa.ErrUnavailable, true, 1},
		{commitAnswered, []fault{stall}, events, nil, true, 1},
	} {
		for _, group := range []int{1, 8} {
			t.Run(fmt.Sprintf("%v/%s/events=%v/group of %d", tc.faults, tc.at, tc.events, group), func(t *testing.T) {
				t.Parallel()
				s, p := openProxied(t, url, postgres.Options{Writers: 1})
				s.Hurry(2*time.Second, time.Second)
				f := storeFactor(t, s)
				prepare(t, s, f)
				challenges := make([]*mfa.Challenge, group)
				runs := make([]atomic.Int64, group)
				for i := range challenges {
					challenges[i] = storetest.NewChallenge(f)
				}
				errs := grouped(s, group, func() { p.at(tc.at, tc.faults...) }, func(i int) error {
					writes := []mfa.Write{mfa.InsertChallenge{Challenge: challenges[i]}}
					if tc.events {
						writes = append(writes, mfa.AppendEvent{Event: storetest.NewEvent(f)})
					}
					return s.Update(t.Context(), readFactor(f.ID), func(tx *mfa.Tx) error {
						runs[i].Add(1)
						tx.Writes = writes
						return nil
					})
				})
				if p.armed() {
					t.Fatal("the transaction did not come to that point")
				}
				for i, err := range errs {
					if !errors.Is(err, tc.want) {
						t.Errorf("Update = %v; want %v", err, tc.want)
					}
					if n := runs[i].Load(); n != tc.runs {
						t.Errorf("fn ran %d times; want %d", n, tc.runs)
					}
					if got := view(t, s, readChallenge(challenges[i].ID)).Challenge != nil; got != tc.stored {
						t.Errorf("stored: %v; want %v", got, tc.stored)
					}
				}
				holds(t, s, storeFactor(t, s))
			})
		}
	}
}

// prepare makes a store's connection prepare the statements that insert a challenge of
// f, singly and in a group. The next transaction then has two flights.
func prepare(t *testing.T, s *postgres.Store, f *mfa.Factor) {
	t.Helper()
	for _, group := range []int{1, 2} {
		errs := grouped(s, group, func() {}, func(int) error {
			_, err := insertChallenge(t.Context(), s, f)
			return err
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCutBeforePrepared loses a connection before the writes are prepared on it.
// COMMIT has not been sent then, and the transaction may run again.
func TestCutBeforePrepared(t *testing.T) {
	s, p := openProxied(t, migrated(t), postgres.Options{Writers: 1})
	f := storetest.NewFactor(storetest.NewUser())
	runs := 0
	p.at(readsAnswered, cut)
	err := s.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, func(tx *mfa.Tx) error {
		runs++
		tx.Writes = []mfa.Write{mfa.InsertFactor{Factor: f}}
		return nil
	})
	if err != nil || runs != 2 {
		t.Errorf("Update = %v after %d runs; want nil after 2", err, runs)
	}
	holds(t, s, f)
}

// TestCutWithRefusal loses the answer to a COMMIT. An Update of the group whose fn
// returned an error has no writes in that commit, and reports the error of fn.
func TestCutWithRefusal(t *testing.T) {
	s, p := openProxied(t, migrated(t), postgres.Options{Writers: 1})
	f := storeFactor(t, s)
	refused := errors.New("refused by fn")
	errs := grouped(s, 2, func() { p.at(commitAnswered, cut) }, func(i int) error {
		return s.Update(t.Context(), readFactor(f.ID), func(tx *mfa.Tx) error {
			if i == 0 {
				return refused
			}
			tx.Writes = []mfa.Write{mfa.AppendEvent{Event: storetest.NewEvent(f)}}
			return nil
		})
	})
	if !errors.Is(errs[0], refused) || errs[1] != nil {
		t.Errorf("Updates = %v; want %v and nil", errs, refused)
	}
}

// TestCutAtRandom cuts all connections repeatedly while Updates run. Each Update counts
// under a separate challenge, so the test knows which Updates were stored.
func TestCutAtRandom(t *testing.T) {
	url := migrated(t)
	s, p := openProxied(t, url, postgres.Options{})
	s.Hurry(5*time.Second, 500*time.Millisecond)
	f := storeFactor(t, s)
	const callers, rounds = 8, 40
	var stored, finished atomic.Int64
	var work sync.WaitGroup
	for range callers {
		work.Go(func() {
			defer finished.Add(1)
			for range rounds {
				c := storetest.NewChallenge(f)
				err := s.Update(t.Context(), readFactor(f.ID), func(tx *mfa.Tx) error {
					tx.Factor.Failures++
					tx.Writes = []mfa.Write{
						mfa.InsertChallenge{Challenge: c}, tx.Factor.Update(),
						mfa.AppendEvent{Event: storetest.NewEvent(tx.Factor)},
					}
					return nil
				})
				rows, viewErr := s.View(context.Background(), readChallenge(c.ID))
				for viewErr != nil {
					rows, viewErr = s.View(context.Background(), readChallenge(c.ID))
				}
				if err == nil && rows.Challenge == nil {
					t.Error("an Update was reported as stored and is not")
				}
				if rows.Challenge != nil {
					stored.Add(1)
				}
			}
		})
	}
	cuts := 0
	for finished.Load() < callers {
		if before := stored.Load(); before%16 == 15 {
			p.cutAll()
			cuts++
			await(func() bool { return stored.Load() != before || finished.Load() == callers })
		}
		runtime.Gosched()
	}
	work.Wait()
	if got := view(t, openAt(t, url, postgres.Options{}), readFactor(f.ID)).Factor.Failures; int64(got) != stored.Load() {
		t.Errorf("counted %d of %d that are stored", got, stored.Load())
	}
	t.Logf("%d of %d stored, %d cuts", stored.Load(), callers*rounds, cuts)
}

// grouped calls fn with 0 to n-1 at the same time. The Updates of a store with one
// writer then share a transaction, which begins after the call of ready.
func grouped(s *postgres.Store, n int, ready func(), fn func(i int) error) []error {
	started, release := make(chan struct{}), make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		s.Update(context.Background(), mfa.Read{}, func(*mfa.Tx) error {
			close(started)
			<-release
			return nil
		})
	})
	<-started
	errs := make([]error, n)
	for i := range n {
		work.Go(func() { errs[i] = fn(i) })
	}
	await(func() bool { return s.Waiting() == n })
	ready()
	close(release)
	work.Wait()
	return errs
}

// await lets other goroutines run until done returns true.
func await(done func() bool) {
	for limit := time.Now().Add(2 * time.Minute); !done(); runtime.Gosched() {
		if time.Now().After(limit) {
			panic("the awaited state did not occur within two minutes")
		}
	}
}

// storeFactor stores a new factor.
func storeFactor(t testing.TB, s *postgres.Store) *mfa.Factor {
	t.Helper()
	f := storetest.NewFactor(storetest.NewUser())
	if err := s.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, storetest.Writing(mfa.InsertFactor{Factor: f})); err != nil {
		t.Fatal(err)
	}
	return f
}

func readFactor(id mfa.FactorID) mfa.Read { return mfa.Read{Bucket: id.Bucket(), Factor: id} }

func readChallenge(id mfa.ChallengeID) mfa.Read { return mfa.Read{Bucket: id.Bucket(), Challenge: id} }

func view(t testing.TB, s *postgres.Store, r mfa.Read) mfa.Rows {
	t.Helper()
	rows, err := s.View(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// holds reports an error for each factor that is not stored.
func holds(t testing.TB, s *postgres.Store, factors ...*mfa.Factor) {
	t.Helper()
	for _, f := range factors {
		if view(t, s, readFactor(f.ID)).Factor == nil {
			t.Errorf("%s is not stored", f.ID)
		}
	}
}
