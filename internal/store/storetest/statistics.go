package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/stats"
)

// A StatisticsStore keeps counts, and the factors that some of them count.
type StatisticsStore interface {
	stats.Store
	mfa.Store
}

// RunStatistics tests every promise of stats.Store. open returns an empty store.
func RunStatistics(t *testing.T, open func(*testing.T) StatisticsStore) {
	check := func(promise string, test func(*testing.T, StatisticsStore)) {
		t.Run(promise, func(t *testing.T) { test(t, open(t)) })
	}
	check("counts and their position come back", countsComeBack)
	check("counts that are not stored are nil", unknownCountsAreNil)
	check("an error leaves the counts as they were", failedCountLeavesNothing)
	check("no count of racing updates is lost", countsAreExact)
	check("of racing updates from one position one wins", onePositionWins)
	check("rows are listed by environment, series and time", countsAreListed)
	check("a sweep removes the oldest rows up to its limit", countsAreSwept)
	check("each factor of a user is in one part, next to the others", holdingsArePartitioned)
}

var hour = morning.Truncate(time.Hour)

func updateStatistics(t *testing.T, s stats.Store, env mfa.EnvironmentID, keys []stats.Key, fn func(tx *stats.Tx)) {
	t.Helper()
	if err := s.UpdateStatistics(t.Context(), env, keys, func(tx *stats.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

// countRow stores a row.
func countRow(t *testing.T, s stats.Store, env mfa.EnvironmentID, series stats.Series, start time.Time, counts string) {
	t.Helper()
	updateStatistics(t, s, env, []stats.Key{{Series: series, Start: start}}, func(tx *stats.Tx) { tx.Rows[0].Counts = []byte(counts) })
}

func listRows(t *testing.T, s stats.Store, env mfa.EnvironmentID, series stats.Series, from, to time.Time) []stats.Row {
	t.Helper()
	rows, err := s.Statistics(t.Context(), env, series, from, to)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func countsComeBack(t *testing.T, s StatisticsStore) {
	keys := []stats.Key{{Series: stats.SMS, Start: hour.Add(time.Hour)}, {Series: stats.Events, Start: hour}}
	for _, env := range []mfa.EnvironmentID{bigEnvironment, -1, 1} {
		full := stats.Position{At: newID(morning, 7), LeasedBy: newID(morning, 8), LeasedUntil: atLast}
		for _, want := range []stats.Position{full, {At: full.At}, {LeasedBy: full.LeasedBy}} {
			updateStatistics(t, s, env, keys, func(tx *stats.Tx) {
				tx.Position = want
				tx.Rows[0].Counts, tx.Rows[1].Counts = []byte("second"), []byte(awkward)
			})
			got, err := s.Position(t.Context(), env)
			if err != nil {
				t.Fatal(err)
			}
			same(t, &got, &want)
			updateStatistics(t, s, env, keys, func(tx *stats.Tx) {
				same(t, &tx.Position, &want)
				sameList(t, tx.Rows, []stats.Row{{Key: keys[0], Counts: []byte("second")}, {Key: keys[1], Counts: []byte(awkward)}})
			})
		}
	}
}

func unknownCountsAreNil(t *testing.T, s StatisticsStore) {
	got, err := s.Position(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	same(t, &got, new(stats.Position))
	key := stats.Key{Series: stats.Events, Start: hour}
	for range 2 { // an update that sets nothing stores nothing
		updateStatistics(t, s, 1, []stats.Key{key}, func(tx *stats.Tx) {
			same(t, &tx.Position, new(stats.Position))
			sameList(t, tx.Rows, []stats.Row{{Key: key}})
		})
	}
	sameList(t, listRows(t, s, 1, stats.Events, longAgo, atLast), nil)
}

func failedCountLeavesNothing(t *testing.T, s StatisticsStore) {
	countRow(t, s, 1, stats.Events, hour, "before")
	broken := errors.New("broken")
	err := s.UpdateStatistics(t.Context(), 1, []stats.Key{{Series: stats.Events, Start: hour}}, func(tx *stats.Tx) error {
		tx.Position.At, tx.Rows[0].Counts = newID(morning, 0), []byte("after")
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("UpdateStatistics = %v; want %v", err, broken)
	}
	sameList(t, listRows(t, s, 1, stats.Events, longAgo, atLast), []stats.Row{{Key: stats.Key{Series: stats.Events, Start: hour}, Counts: []byte("before")}})
	if got, err := s.Position(t.Context(), 1); err != nil || got != (stats.Position{}) {
		t.Errorf("Position = %+v, %v; want none", got, err)
	}
}

func countsAreExact(t *testing.T, s StatisticsStore) {
	const racers, times = 8, 10
	key := stats.Key{Series: stats.Events, Start: hour}
	var all sync.WaitGroup
	for range racers {
		all.Go(func() {
			for range times {
				if err := s.UpdateStatistics(t.Context(), 1, []stats.Key{key}, func(tx *stats.Tx) error {
					n, _ := strconv.Atoi(string(tx.Rows[0].Counts)) // 0 at first
					tx.Rows[0].Counts = strconv.AppendInt(nil, int64(n+1), 10)
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	sameList(t, listRows(t, s, 1, stats.Events, longAgo, atLast), []stats.Row{{Key: key, Counts: []byte("80")}})
}

func onePositionWins(t *testing.T, s StatisticsStore) {
	taken := errors.New("taken")
	for round := range 5 {
		at, err := s.Position(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		next := newID(morning, mfa.Bucket(round))
		won := make(chan bool, 8)
		var all sync.WaitGroup
		for range cap(won) {
			all.Go(func() {
				err := s.UpdateStatistics(t.Context(), 1, nil, func(tx *stats.Tx) error {
					if tx.Position.At != at.At {
						return taken
					}
					tx.Position.At = next
					return nil
				})
				if err != nil && !errors.Is(err, taken) {
					t.Error(err)
				}
				won <- err == nil
			})
		}
		all.Wait()
		close(won)
		winners := 0
		for ok := range won {
			if ok {
				winners++
			}
		}
		if winners != 1 {
			t.Errorf("%d of 8 updates moved the position; want 1", winners)
		}
	}
}

func countsAreListed(t *testing.T, s StatisticsStore) {
	row := func(series stats.Series, start time.Time, counts string) stats.Row {
		return stats.Row{Key: stats.Key{Series: series, Start: start}, Counts: []byte(counts)}
	}
	for i := range 4 {
		countRow(t, s, 1, stats.Events, hour.Add(time.Duration(3-i)*time.Hour), fmt.Sprint(3-i))
	}
	countRow(t, s, 1, stats.SMS, hour, "sms")
	countRow(t, s, bigEnvironment, stats.Events, hour, "other")
	sameList(t, listRows(t, s, 1, stats.Events, hour.Add(time.Hour), hour.Add(3*time.Hour)),
		[]stats.Row{row(stats.Events, hour.Add(time.Hour), "1"), row(stats.Events, hour.Add(2*time.Hour), "2")})
	sameList(t, listRows(t, s, 1, stats.SMS, longAgo, atLast), []stats.Row{row(stats.SMS, hour, "sms")})
	sameList(t, listRows(t, s, bigEnvironment, stats.Events, longAgo, atLast), []stats.Row{row(stats.Events, hour, "other")})
	sameList(t, listRows(t, s, bigEnvironment, stats.SMS, longAgo, atLast), nil)
}

func countsAreSwept(t *testing.T, s StatisticsStore) {
	for i := range 5 {
		countRow(t, s, 1, stats.Events, hour.Add(time.Duration(i)*time.Hour), fmt.Sprint(i))
	}
	countRow(t, s, 1, stats.SMS, hour, "sms")
	countRow(t, s, 2, stats.Events, hour, "other")
	for step, want := range []struct {
		more bool
		left int
	}{{true, 3}, {false, 2}, {false, 2}} {
		more, err := s.SweepStatistics(t.Context(), 1, stats.Events, hour.Add(3*time.Hour), 2)
		if err != nil || more != want.more {
			t.Errorf("step %d: SweepStatistics = %v, %v; want %v", step, more, err, want.more)
		}
		if left := listRows(t, s, 1, stats.Events, longAgo, atLast); len(left) != want.left || string(left[0].Counts) != fmt.Sprint(5-want.left) {
			t.Errorf("step %d left %+v; want the newest %d", step, left, want.left)
		}
	}
	if len(listRows(t, s, 1, stats.SMS, longAgo, atLast)) != 1 || len(listRows(t, s, 2, stats.Events, longAgo, atLast)) != 1 {
		t.Error("the sweep removed a row of another series or environment")
	}
}

func holdingsArePartitioned(t *testing.T, s StatisticsStore) {
	want := map[stats.Holding]int{}
	for i := range 30 {
		for _, env := range []mfa.EnvironmentID{1, bigEnvironment} {
			user := fmt.Sprintf("%s%d", awkward, i)
			for _, typ := range []mfa.FactorType{mfa.TOTP, "another kind", mfa.TOTP}[:1+i%3] {
				f := NewFactor(mfa.UserKey{Environment: env, ID: user})
				f.Type = typ
				suspended := i%4 == 0
				if suspended {
					f.SuspendedAt = morning
				}
				store(t, s, f.ID.Bucket(), mfa.InsertFactor{Factor: f})
				want[stats.Holding{Environment: env, User: user, Type: typ, Suspended: suspended}]++
			}
		}
	}
	f := NewFactor(mfa.UserKey{Environment: 1})
	store(t, s, f.ID.Bucket(), mfa.InsertFactor{Factor: f})
	got := map[stats.Holding]int{}
	type person struct {
		env  mfa.EnvironmentID
		user string
	}
	done := map[person]bool{}
	for part := range ids.Buckets {
		all, err := s.Holdings(t.Context(), part)
		if err != nil {
			t.Fatal(err)
		}
		for i, h := range all {
			p := person{h.Environment, h.User}
			if next := i == 0 || (person{all[i-1].Environment, all[i-1].User}) != p; next && done[p] {
				t.Errorf("the factors of %+v are not next to each other", p)
			}
			done[p] = true
			got[h]++
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the holdings are %v\nwant %v", got, want)
	}
}
