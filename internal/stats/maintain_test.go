package stats_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/stats"
)

// users returns the newest count of the users of an environment, without its times.
func (w *fixture) users(env mfa.EnvironmentID) map[string]int64 {
	w.t.Helper()
	rows, err := w.store.Statistics(w.t.Context(), env, stats.Holders, time.Time{}, w.clock.Now().Add(time.Hour))
	if err != nil || len(rows) == 0 {
		w.t.Fatalf("%d counts of users, %v", len(rows), err)
	}
	decoded, err := stats.Decoded(rows[len(rows)-1])
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]int64{}
	for group, n := range decoded {
		if group != "began - -" && group != "ended - -" {
			all[group] = n[0]
		}
	}
	return all
}

func TestWalkCountsUsersByTheirFactors(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		c := w.counter(w.store)
		w.enroll(w.live, "ada", mfa.TOTP, "")
		w.enroll(w.live, "grace", mfa.TOTP, "")
		w.enroll(w.live, "grace", mfa.TOTP, "")
		twice := w.enroll(w.live, "alan", mfa.GenericOTP, "")
		w.enroll(w.live, "alan", mfa.SMS, "+4915123456789")
		w.enroll(w.live, "", mfa.TOTP, "") // of no user
		w.enroll(w.sandbox, "ada", mfa.GenericOTP, "")
		if err := c.Walk(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{"users - -": 3, "one - -": 1, "more - -": 2, "type totp -": 2, "type generic_otp -": 1, "type sms -": 1}
		if got := w.users(w.live.ID); !maps.Equal(got, want) {
			t.Errorf("the users are %v; want %v", got, want)
		}
		want = map[string]int64{"users - -": 1, "one - -": 1, "type generic_otp -": 1}
		if got := w.users(w.sandbox.ID); !maps.Equal(got, want) {
			t.Errorf("the users of the other environment are %v; want %v", got, want)
		}
		if err := w.DeleteFactor(t.Context(), w.live, twice); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Hour)
		if err := c.Walk(t.Context()); err != nil {
			t.Fatal(err)
		}
		want = map[string]int64{"users - -": 3, "one - -": 2, "more - -": 1, "type totp -": 2, "type sms -": 1}
		if got := w.users(w.live.ID); !maps.Equal(got, want) {
			t.Errorf("the users after a deletion are %v; want %v", got, want)
		}
	})
}

// TestRecoveryCodesAreNotAFactorOfTheCounts counts users with recovery codes and one, another or no factor.
func TestRecoveryCodesAreNotAFactorOfTheCounts(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		w.enroll(w.live, "ada", mfa.TOTP, "")
		for _, user := range []string{"ada", "alan"} { // alan has only the codes
			if _, err := w.CreateRecoveryCodes(t.Context(), w.live, mfa.RecoveryParams{User: user, AllowSole: true}, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.enroll(w.live, "grace", mfa.TOTP, "")
		if err := w.counter(w.store).Walk(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{"users - -": 3, "one - -": 2, "type totp -": 2, "type recovery_codes -": 2}
		if got := w.users(w.live.ID); !maps.Equal(got, want) {
			t.Errorf("the users are %v; want %v", got, want)
		}
		if got, err := w.reader("").Coverage(t.Context(), w.live.ID); err != nil || got.Users != 3 || got.One != 2 || got.TwoOrMore != 0 || got.None != 0 || got.Recovery != 2 {
			t.Errorf("the coverage is %+v, %v", got, err)
		}
	})
}

// TestRunCountsEventsAndUsers lets two nodes run while events happen, and ends one of them.
func TestRunCountsEventsAndUsers(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		first, stop := context.WithCancel(t.Context())
		defer stop()
		done := make(chan bool, 2)
		for _, node := range []struct {
			ctx context.Context
			c   *stats.Counter
		}{{first, w.counter(w.store)}, {t.Context(), w.counter(w.reopen())}} {
			go func() {
				node.c.Run(node.ctx)
				done <- true
			}()
		}
		for i := range 40 {
			w.enroll(w.live, fmt.Sprint("user ", i/20), mfa.GenericOTP, "")
			w.clock.Advance(time.Minute) // past all leases
			if i == 20 {
				stop()
				<-done
			}
		}
		var events, users int64
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			w.clock.Advance(time.Minute)
			events = 0
			for _, n := range w.rows(w.live.ID, stats.Events) {
				events += n[0]
			}
			if events == 41 {
				if users = w.newestUsers(); users == 2 {
					return
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d events and %d users are counted; want 41 and 2", events, users)
			}
		}
	})
}

func (w *fixture) newestUsers() int64 {
	rows, err := w.store.Statistics(w.t.Context(), w.live.ID, stats.Holders, time.Time{}, w.clock.Now().Add(time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	if len(rows) == 0 {
		return 0
	}
	return w.users(w.live.ID)["users - -"]
}

func TestSweepRemovesOldHours(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		c := w.counter(w.store)
		f := w.enroll(w.live, "ada", mfa.SMS, "+4915123456789")
		w.challenge(w.live, f)
		w.countAll(c)
		for _, step := range []struct {
			days                  int
			events, sms, prefixes int
		}{{90, 1, 1, 1}, {5, 1, 1, 0}, {304, 1, 1, 0}, {2, 0, 0, 0}} {
			w.clock.Advance(time.Duration(step.days) * 24 * time.Hour)
			if err := c.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			for series, want := range map[stats.Series]int{stats.Events: step.events, stats.SMS: step.sms, stats.Prefixes: step.prefixes} {
				rows, err := w.store.Statistics(t.Context(), w.live.ID, series, time.Time{}, w.clock.Now())
				if err != nil || len(rows) != want {
					t.Errorf("after %v: %d hours of %s, %v; want %d", w.clock.Now().Sub(mfatest.Start), len(rows), series, err, want)
				}
			}
		}
		// An event of a removed hour is not counted again in a new row.
		if err := w.DeleteFactor(t.Context(), w.live, f); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(500 * 24 * time.Hour)
		w.countAll(c)
		if got := w.rows(w.live.ID, stats.Events); len(got) != 0 {
			t.Errorf("an event that is too old made rows: %v", got)
		}
	})
}
