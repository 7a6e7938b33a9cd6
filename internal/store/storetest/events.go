package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

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
