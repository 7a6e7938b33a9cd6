package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// Events lists all events of the environments 0 to 9 in the order of their ids.
func Events(t testing.TB, s any) []mfa.Event {
	t.Helper()
	var all []mfa.Event
	for env := range mfa.EnvironmentID(10) {
		all = append(all, eventsOf(t, s, env)...)
	}
	slices.SortFunc(all, func(a, b mfa.Event) int { return a.ID.Compare(b.ID) })
	return all
}

// eventsOf lists the events of an environment.
func eventsOf(t testing.TB, s any, env mfa.EnvironmentID) (all []mfa.Event) {
	t.Helper()
	q := events.Query{Environment: env, Limit: 1000}
	for {
		page, err := s.(events.Log).ReadEvents(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			all = append(all, e.Event)
		}
		if !page.More {
			return all
		}
		q.After = page.Last
	}
}

// eventsArePaged appends events of two environments from several buckets at once.
func eventsArePaged(t *testing.T, s mfa.Store) {
	const callers, rounds = 8, 5
	var mu sync.Mutex
	want := make(map[string]bool) // by reason
	for _, err := range together(callers, func(i int) error {
		for round := range rounds {
			f := NewFactor(NewUser())
			e := NewEvent(f)
			e.Environment, e.Reason = mfa.EnvironmentID(1+i%2), fmt.Sprint(i, "/", round)
			if err := s.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, Writing(mfa.AppendEvent{Event: e}, mfa.AppendEvent{Event: e})); err != nil {
				return err
			}
			mu.Lock()
			want[e.Reason] = true
			mu.Unlock()
		}
		return nil
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for env := range mfa.EnvironmentID(3) {
		var all []mfa.Event
		q := events.Query{Environment: env, Limit: 3}
		for more := true; more; {
			page, err := s.(events.Log).ReadEvents(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Events) > q.Limit {
				t.Fatalf("a page has %d events; want at most %d", len(page.Events), q.Limit)
			}
			for _, e := range page.Events {
				if e.ID.Compare(q.After) <= 0 || e.Environment != env {
					t.Errorf("%s of environment %d comes after %s of %d", e.ID, e.Environment, q.After, env)
				}
				q.After = e.ID
				all = append(all, e.Event)
			}
			if page.Last != q.After {
				t.Errorf("the page has looked up to %s; want %s", page.Last, q.After)
			}
			more = page.More
		}
		if wanted := callers / 2 * rounds * 2 * min(1, int(env)); len(all) != wanted {
			t.Fatalf("environment %d has %d events; want %d", env, len(all), wanted)
		}
		last := make(map[string]string) // the last round of each caller
		for i := 0; i < len(all); i += 2 {
			if all[i].Reason != all[i+1].Reason {
				t.Errorf("events of one transaction are apart: %q and %q", all[i].Reason, all[i+1].Reason)
			}
			caller, _, _ := strings.Cut(all[i].Reason, "/")
			if all[i].Reason <= last[caller] || !want[all[i].Reason] {
				t.Errorf("%q comes after %q", all[i].Reason, last[caller])
			}
			last[caller] = all[i].Reason
		}
	}
}

// read reads one page of events.
func read(t *testing.T, s mfa.Store, q events.Query) events.RawPage {
	t.Helper()
	page, err := s.(events.Log).ReadEvents(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// eventsAreFiltered imports three events of an hour each, and reads them with every kind of
// filter.
func eventsAreFiltered(t *testing.T, s mfa.Store) {
	f, other := storeFactor(t, s, NewUser()), storeFactor(t, s, NewUser())
	all := make([]mfa.Event, 3)
	for i := range all {
		at := morning.Add(time.Duration(i) * time.Hour)
		all[i] = mfa.Event{ID: newID(at, f.ID.Bucket()), At: at, Environment: 1, Type: mfa.ChallengeCreated, Factor: f.ID, Kind: f.Type}
	}
	all[1].ID, all[1].Factor = newID(all[1].At, other.ID.Bucket()), other.ID
	all[1].Type, all[1].Challenge, all[1].Caller = mfa.ChallengeFailed, newID(morning, other.ID.Bucket()), "key_1"
	importEvents(t, s, all...)
	for _, tc := range []struct {
		name string
		q    events.Query
		want []int
	}{
		{"all", events.Query{}, []int{0, 1, 2}},
		{"another environment", events.Query{Environment: 2}, nil},
		{"a type", events.Query{Types: []mfa.EventType{mfa.ChallengeFailed}}, []int{1}},
		{"two types", events.Query{Types: []mfa.EventType{mfa.ChallengeFailed, mfa.ChallengeCreated}}, []int{0, 1, 2}},
		{"a type without events", events.Query{Types: []mfa.EventType{mfa.UserLocked}}, nil},
		{"since the second", events.Query{Since: all[1].At}, []int{1, 2}},
		{"since just after the second", events.Query{Since: all[1].At.Add(time.Millisecond)}, []int{2}},
		{"until the second", events.Query{Until: all[1].At}, []int{0}},
		{"until just after the second", events.Query{Until: all[1].At.Add(time.Millisecond)}, []int{0, 1}},
		{"between", events.Query{Since: all[1].At, Until: all[2].At}, []int{1}},
		{"a factor", events.Query{Factor: f.ID}, []int{0, 2}},
		{"a challenge", events.Query{Challenge: all[1].Challenge}, []int{1}},
		{"a caller", events.Query{Caller: "key_1"}, []int{1}},
		{"another caller", events.Query{Caller: "key_2"}, nil},
		{"after the first", events.Query{After: all[0].ID}, []int{1, 2}},
		{"after the last", events.Query{After: all[2].ID}, nil},
		{"a factor, after its first", events.Query{Factor: f.ID, After: all[0].ID}, []int{2}},
		{"all, newest first", events.Query{Newest: true}, []int{2, 1, 0}},
		{"newest first, before the last", events.Query{Newest: true, After: all[2].ID}, []int{1, 0}},
		{"newest first, before the first", events.Query{Newest: true, After: all[0].ID}, nil},
		{"newest first, a factor", events.Query{Newest: true, Factor: f.ID}, []int{2, 0}},
		{"newest first, until the second", events.Query{Newest: true, Until: all[1].At}, []int{0}},
		{"newest first, since the second, before the last", events.Query{Newest: true, Since: all[1].At, After: all[2].ID}, []int{1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.q.Environment == 0 {
				tc.q.Environment = 1
			}
			for _, limit := range []int{1, 100} {
				tc.q.Limit = limit
				var got []mfa.Event
				owners := true
				for q, more := tc.q, true; more; {
					page := read(t, s, q)
					for _, e := range page.Events {
						got = append(got, e.Event)
						owners = owners && (e.User == f.User || e.User == other.User)
					}
					q.After, more = page.Last, page.More
				}
				var want []mfa.Event
				for _, i := range tc.want {
					want = append(want, all[i])
				}
				sameList(t, got, want)
				if !owners {
					t.Error("an event does not name the user of its factor")
				}
			}
		})
	}
}

// eventsNewestFirst reads the events of an environment from the end.
func eventsNewestFirst(t *testing.T, s mfa.Store) {
	var all []mfa.Event
	for i := range 7 {
		at := morning.Add(time.Duration(i) * time.Hour)
		all = append(all, mfa.Event{ID: newID(at, 7), At: at, Environment: 1, Type: mfa.UserLocked})
	}
	importEvents(t, s, all...)
	slices.Reverse(all)
	for _, limit := range []int{1, 3, 100} {
		for name, tc := range map[string]struct {
			q    events.Query
			want []mfa.Event
		}{
			"all":           {events.Query{}, all},
			"before one":    {events.Query{After: all[2].ID}, all[3:]},
			"between times": {events.Query{Since: all[5].At, Until: all[1].At}, all[2:6]},
		} {
			q := tc.q
			q.Environment, q.Newest, q.Limit = 1, true, limit
			var got []mfa.Event
			for more := true; more; {
				page := read(t, s, q)
				for _, e := range page.Events {
					got = append(got, e.Event)
				}
				q.After, more = page.Last, page.More
			}
			t.Run(name, func(t *testing.T) { sameList(t, got, tc.want) })
		}
	}
}

// cursorOutlivesEvents removes the event at which a reader has stopped.
func cursorOutlivesEvents(t *testing.T, s mfa.Store) {
	var all []mfa.Event
	for i := range 4 {
		at := morning.Add(time.Duration(i-2) * time.Hour)
		all = append(all, mfa.Event{ID: newID(at, 7), At: at, Environment: 1, Type: mfa.UserLocked})
	}
	importEvents(t, s, all...)
	q := events.Query{Environment: 1, After: all[0].ID, Limit: 100}
	sweep(t, s, horizon, 100)
	var got []mfa.Event
	for _, e := range read(t, s, q).Events {
		got = append(got, e.Event)
	}
	sameList(t, got, all[2:])
	// New events come after all stored ones, also if the clock is behind them.
	future := mfa.Event{ID: newID(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), 7), At: morning, Environment: 2, Type: mfa.UserLocked}
	importEvents(t, s, future)
	store(t, s, 7, mfa.AppendEvent{Event: mfa.Event{At: morning, Environment: 2, Type: mfa.UserUnlocked}})
	page := read(t, s, events.Query{Environment: 2, After: future.ID, Limit: 100})
	if len(page.Events) != 1 || page.Events[0].Type != mfa.UserUnlocked || !page.Events[0].At.Equal(morning) {
		t.Errorf("after an event of the future, read %+v; want the new one", page.Events)
	}
}
