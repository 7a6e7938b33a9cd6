package mfa_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// allowSole are the parameters of recovery codes for a user without another factor.
var allowSole = mfa.RecoveryParams{User: "ada", AllowSole: true}

func TestUserGetsTenSetsOfRecoveryCodesInAnHour(t *testing.T) {
	hashed := 0
	opts := mfa.Options{RecoveryIterations: 1, SlowHash: func(code string, _ []byte, _ int) ([]byte, error) {
		hashed++
		return []byte(code), nil
	}}
	w := newFixture(t, opts)
	create := func() error {
		_, err := w.CreateRecoveryCodes(t.Context(), sandbox, allowSole, nil)
		return err
	}
	for range 10 {
		set, _ := w.recoveryCodes("ada")
		if err := w.DeleteFactor(t.Context(), sandbox, set.ID); err != nil { // does not reset the limit
			t.Fatal(err)
		}
		w.clock.Advance(time.Minute)
	}
	before := hashed
	if wait := waitIn(t, create(), mfa.ErrRecoveryLimit); wait != 50*time.Minute {
		t.Errorf("the eleventh set: wait %v; want 50m", wait)
	}
	if hashed != before {
		t.Errorf("%d slow hashes for a refused request; want none", hashed-before)
	}
	w.recoveryCodes("grace")
	if _, err := w.CreateRecoveryCodes(t.Context(), production, allowSole, nil); err != nil {
		t.Errorf("the user of the same name in another environment: %v", err)
	}
	w.clock.Advance(50*time.Minute - time.Millisecond)
	if wait := waitIn(t, create(), mfa.ErrRecoveryLimit); wait != time.Millisecond {
		t.Errorf("just before the hour is over: wait %v; want 1ms", wait)
	}
	w.clock.Advance(time.Millisecond)
	if err := create(); err != nil {
		t.Errorf("after an hour: %v", err)
	}
	if wait := waitIn(t, create(), mfa.ErrRecoveryLimit); wait != time.Minute {
		t.Errorf("one more: wait %v; want 1m, when the second set is an hour old", wait)
	}
}

func TestRepeatedRequestsForRecoveryCodesDoNotCount(t *testing.T) {
	w := newFixture(t, quickHash)
	for i := range 10 {
		for again := range 3 {
			n, err := w.CreateRecoveryCodes(t.Context(), sandbox, allowSole, onceKey[mfa.NewRecoveryCodes](string(rune('a'+i)), "the request"))
			if err != nil || (n.Replayed != nil) != (again > 0) {
				t.Fatalf("request %d, time %d: replayed %v, %v", i, again, n.Replayed != nil, err)
			}
		}
	}
	late := func() error {
		_, err := w.CreateRecoveryCodes(t.Context(), sandbox, allowSole, onceKey[mfa.NewRecoveryCodes]("late", "the request"))
		return err
	}
	waitIn(t, late(), mfa.ErrRecoveryLimit)
	w.clock.Advance(time.Hour)
	if err := late(); err != nil {
		t.Errorf("the refused request after the wait: %v; a refusal is not recorded", err)
	}
}

// TestRacingNodesCreateTenSetsOfRecoveryCodes creates sets of one user on several nodes at once.
func TestRacingNodesCreateTenSetsOfRecoveryCodes(t *testing.T) {
	race := func(t *testing.T, w *fixture, open func() mfa.Store) {
		var created atomic.Int32
		var racing sync.WaitGroup
		for range 4 {
			node := w.serviceOver(open(), quickHash)
			for range 8 {
				racing.Go(func() {
					for {
						_, err := node.CreateRecoveryCodes(t.Context(), sandbox, allowSole, nil)
						switch {
						case err == nil:
							created.Add(1)
						case errors.Is(err, mfa.ErrUnavailable): // the first sets race
							continue
						case !errors.Is(err, mfa.ErrRecoveryLimit):
							t.Errorf("CreateRecoveryCodes = %v", err)
						}
						return
					}
				})
			}
		}
		racing.Wait()
		if n := created.Load(); n != 10 {
			t.Errorf("%d of 32 racers created a set; want 10", n)
		}
	}
	t.Run("SQLite", func(t *testing.T) {
		w := newFixture(t, quickHash)
		race(t, w, func() mfa.Store {
			s, err := sqlite.Open(w.path, nil)
			return closing(t, s, err)
		})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		url := pgtest.Start(t).Database(t)
		if err := postgres.Migrate(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		race(t, newFixture(t, quickHash), func() mfa.Store {
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			return closing(t, s, err)
		})
	})
}
