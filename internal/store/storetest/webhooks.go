package storetest

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// Webhooks is one store, as the interfaces of package webhook.
type Webhooks struct {
	webhook.Store
	webhook.Queue
	Log events.Log
}

// RunWebhooks tests every promise of webhook.Store and webhook.Queue. open returns an empty
// store.
func RunWebhooks(t *testing.T, open func(*testing.T) Webhooks) {
	check := func(promise string, test func(*testing.T, Webhooks)) {
		t.Run(promise, func(t *testing.T) { test(t, open(t)) })
	}
	check("every field of an endpoint comes back", endpointComesBack)
	check("an endpoint that is not stored is nil", unknownEndpointIsNil)
	check("the cursor of a new endpoint is its first event", endpointBeginsAtItsEvent)
	check("a URL belongs to one endpoint of an environment", urlsAreUnique)
	check("an endpoint is changed with its deliveries, attempts and events", endpointChangesTogether)
	check("an error leaves an endpoint as it was", failedEndpointUpdateLeavesNothing)
	check("a deleted endpoint takes its deliveries along", deletedEndpointIsGone)
	check("of racing claims one wins, and the next one after the lease", claimsExclude)
	check("only an enabled endpoint can be claimed", disabledIsNotClaimed)
	check("no change of racing updates is lost", endpointUpdatesFollow)
	check("due deliveries are listed in the order of their events", dueInOrder)
	check("deliveries are rescheduled by state and time", deliveriesAreRescheduled)
	check("attempts are listed newest first, page by page", attemptsArePaged)
	check("a sweep removes expired deliveries and attempts, and no others", webhooksAreSwept)
}

func newEndpoint(env mfa.EnvironmentID) *webhook.Endpoint {
	id := webhook.EndpointID(newID(morning, webhook.BucketOf(env)))
	return &webhook.Endpoint{
		ID: id, Environment: env, URL: "https://example.com/" + id.String(), Status: webhook.Enabled,
		Events: []mfa.EventType{mfa.ChallengeFailed, mfa.ChallengeSucceeded}, CreatedAt: morning, UpdatedAt: morning, Sealed: []byte{1},
		Progress: webhook.Progress{Cursor: newID(morning, 0)},
	}
}

func newDelivery(e *webhook.Endpoint, at time.Time) webhook.Delivery {
	return webhook.Delivery{Endpoint: e.ID, Event: newID(morning, 7), EventAt: morning, State: webhook.Waiting, NextAt: at, ExpiresAt: atLast}
}

func newAttempt(e *webhook.Endpoint) webhook.Attempt {
	return webhook.Attempt{
		ID: newID(morning, e.ID.Bucket()), Endpoint: e.ID, Event: newID(morning, 7), Type: mfa.ChallengeFailed,
		Number: 1, At: morning, Outcome: webhook.Delivered, ExpiresAt: atLast,
	}
}

func changeEndpoint(t *testing.T, s Webhooks, id webhook.EndpointID, fn func(tx *webhook.Tx)) {
	t.Helper()
	if err := s.UpdateEndpoint(t.Context(), id, func(tx *webhook.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func storeEndpoint(t *testing.T, s Webhooks, e *webhook.Endpoint) *webhook.Endpoint {
	t.Helper()
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) { tx.Endpoint = e })
	return e
}

func findEndpoint(t *testing.T, s Webhooks, id webhook.EndpointID) *webhook.Endpoint {
	t.Helper()
	e, err := s.Endpoint(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func endpointComesBack(t *testing.T, s Webhooks) {
	full := newEndpoint(bigEnvironment)
	full.Sandbox, full.Status, full.DisabledFor, full.Creation = true, webhook.Disabled, webhook.Gone, newKey()
	full.NextSealed, full.SwitchAt, full.Replay = []byte{0, 0xff}, atLast, webhook.Replay{After: newID(morning, 1), Since: longAgo, Until: atLast, End: newID(morning, 2)}
	full.Progress = webhook.Progress{Cursor: newID(morning, 3), Failures: 1 << 30, LastSuccess: morning, FailingSince: longAgo, HoldUntil: atLast}
	full.LeasedBy, full.LeasedUntil = newID(morning, 4), atLast
	bare := newEndpoint(1)
	for name, e := range map[string]*webhook.Endpoint{"full": full, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			want := *e
			storeEndpoint(t, s, e)
			same(t, findEndpoint(t, s, e.ID), &want)
			all, err := s.Endpoints(t.Context(), e.Environment)
			if err != nil {
				t.Fatal(err)
			}
			sameList(t, all, []webhook.Endpoint{want})
		})
	}
	all, err := s.AllEndpoints(t.Context())
	if err != nil || len(all) != 2 {
		t.Errorf("%d endpoints are listed, %v; want 2", len(all), err)
	}
}

func unknownEndpointIsNil(t *testing.T, s Webhooks) {
	e := newEndpoint(1)
	same(t, findEndpoint(t, s, e.ID), nil)
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) { same(t, tx.Endpoint, nil) })
	if claimed, err := s.ClaimEndpoint(t.Context(), e.ID, webhook.Lease{By: newID(morning, 0), Now: morning, Until: atLast}); claimed != nil || err != nil {
		t.Errorf("an endpoint that is not stored was claimed: %v, %v", claimed, err)
	}
}

func endpointBeginsAtItsEvent(t *testing.T, s Webhooks) {
	e := newEndpoint(1)
	e.Cursor = mfa.EventID{}
	event := mfa.Event{ID: newID(time.UnixMilli(0), e.ID.Bucket()), At: morning, Environment: 1, Type: mfa.EndpointCreated, Reason: e.ID.String()}
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) {
		tx.Endpoint, tx.Events = e, []mfa.Event{event}
	})
	all := eventsOf(t, s.Log, 1)
	if len(all) != 1 || all[0].Type != mfa.EndpointCreated || all[0].Reason != e.ID.String() {
		t.Fatalf("the events are %+v", all)
	}
	if got := findEndpoint(t, s, e.ID); got.Cursor != all[0].ID || got.Cursor == (mfa.EventID{}) {
		t.Errorf("the cursor is %s; want %s", got.Cursor, all[0].ID)
	}
}

func urlsAreUnique(t *testing.T, s Webhooks) {
	one := storeEndpoint(t, s, newEndpoint(1))
	other := newEndpoint(1)
	other.URL = one.URL
	insert := func(tx *webhook.Tx) error { tx.Endpoint = other; return nil }
	if err := s.UpdateEndpoint(t.Context(), other.ID, insert); !errors.Is(err, webhook.ErrDuplicate) {
		t.Errorf("a second endpoint with the URL: %v; want ErrDuplicate", err)
	}
	same(t, findEndpoint(t, s, other.ID), nil)
	other.URL += "/other"
	storeEndpoint(t, s, other)
	take := func(tx *webhook.Tx) error { tx.Endpoint.URL = one.URL; return nil }
	if err := s.UpdateEndpoint(t.Context(), other.ID, take); !errors.Is(err, webhook.ErrDuplicate) {
		t.Errorf("a change to the URL of another endpoint: %v; want ErrDuplicate", err)
	}
	elsewhere := newEndpoint(2)
	elsewhere.URL = one.URL
	storeEndpoint(t, s, elsewhere)
}

func endpointChangesTogether(t *testing.T, s Webhooks) {
	e := storeEndpoint(t, s, newEndpoint(1))
	d, a := newDelivery(e, morning), newAttempt(e)
	a.Took, a.Status, a.Answer, a.NextAt = 1234*time.Millisecond, 500, []byte{0, 1}, atLast
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) {
		tx.Endpoint.Failures = 7
		tx.Put, tx.Attempts = []webhook.Delivery{d}, []webhook.Attempt{a}
		tx.Events = []mfa.Event{{ID: newID(morning, e.ID.Bucket()), At: morning, Environment: 1, Type: mfa.EndpointDisabled}}
	})
	if got := findEndpoint(t, s, e.ID); got.Failures != 7 {
		t.Errorf("%d failures are stored; want 7", got.Failures)
	}
	sameList(t, due(t, s, e, atLast), []webhook.Delivery{d})
	sameList(t, attemptsOf(t, s, e), []webhook.Attempt{a})
	if n := len(eventsOf(t, s.Log, 1)); n != 1 {
		t.Errorf("%d events are stored; want 1", n)
	}
	d.Attempts, d.NextAt = 3, morning.Add(time.Hour)
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) { tx.Put = []webhook.Delivery{d} })
	sameList(t, due(t, s, e, atLast), []webhook.Delivery{d})
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) { tx.Ended = []mfa.EventID{d.Event, newID(morning, 3)} })
	sameList(t, due(t, s, e, atLast), nil)
}

func failedEndpointUpdateLeavesNothing(t *testing.T, s Webhooks) {
	e := storeEndpoint(t, s, newEndpoint(1))
	want := *e
	failure := errors.New("no")
	err := s.UpdateEndpoint(t.Context(), e.ID, func(tx *webhook.Tx) error {
		tx.Endpoint.Failures, tx.Put = 7, []webhook.Delivery{newDelivery(e, morning)}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("UpdateEndpoint = %v; want the error of fn", err)
	}
	same(t, findEndpoint(t, s, e.ID), &want)
	sameList(t, due(t, s, e, atLast), nil)
}

func deletedEndpointIsGone(t *testing.T, s Webhooks) {
	e, other := storeEndpoint(t, s, newEndpoint(1)), storeEndpoint(t, s, newEndpoint(1))
	d := newDelivery(other, morning)
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) { tx.Put = []webhook.Delivery{newDelivery(e, morning)} })
	changeEndpoint(t, s, other.ID, func(tx *webhook.Tx) { tx.Put = []webhook.Delivery{d} })
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) { tx.Endpoint = nil })
	same(t, findEndpoint(t, s, e.ID), nil)
	sameList(t, due(t, s, e, atLast), nil)
	sameList(t, due(t, s, other, atLast), []webhook.Delivery{d})
}

func claimsExclude(t *testing.T, s Webhooks) {
	e := storeEndpoint(t, s, newEndpoint(1))
	for now := morning; now.Before(morning.Add(3 * time.Minute)); now = now.Add(time.Minute) {
		var wins atomic.Int32
		var winner atomic.Pointer[webhook.Endpoint]
		for _, err := range together(16, func(int) error {
			l := webhook.Lease{By: newID(now, 0), Now: now, Until: now.Add(time.Minute)}
			got, err := s.ClaimEndpoint(t.Context(), e.ID, l)
			if got != nil {
				wins.Add(1)
				winner.Store(got)
				if got.LeasedBy != l.By || !got.LeasedUntil.Equal(l.Until) {
					t.Errorf("the claim of %x returned the lease of %x until %v", l.By, got.LeasedBy, got.LeasedUntil)
				}
			}
			return err
		}) {
			if err != nil {
				t.Error(err)
			}
		}
		if wins.Load() != 1 {
			t.Fatalf("%d claims won; want 1", wins.Load())
		}
		same(t, findEndpoint(t, s, e.ID), winner.Load())
		early := webhook.Lease{By: newID(now, 0), Now: now.Add(time.Minute - 1*time.Millisecond), Until: atLast}
		if got, err := s.ClaimEndpoint(t.Context(), e.ID, early); got != nil || err != nil {
			t.Errorf("a claim before the lease has ended: %v, %v", got, err)
		}
	}
}

func disabledIsNotClaimed(t *testing.T, s Webhooks) {
	e := newEndpoint(1)
	e.Status = webhook.Disabled
	storeEndpoint(t, s, e)
	if got, err := s.ClaimEndpoint(t.Context(), e.ID, webhook.Lease{By: newID(morning, 0), Now: morning, Until: atLast}); got != nil || err != nil {
		t.Errorf("a disabled endpoint was claimed: %v, %v", got, err)
	}
}

func endpointUpdatesFollow(t *testing.T, s Webhooks) {
	e := storeEndpoint(t, s, newEndpoint(1))
	const callers, rounds = 8, 5
	for _, err := range together(callers, func(int) error {
		for range rounds {
			if err := s.UpdateEndpoint(t.Context(), e.ID, func(tx *webhook.Tx) error { tx.Endpoint.Failures++; return nil }); err != nil {
				return err
			}
		}
		return nil
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	if got := findEndpoint(t, s, e.ID).Failures; got != callers*rounds {
		t.Errorf("%d changes are stored; want %d", got, callers*rounds)
	}
}

func due(t *testing.T, s Webhooks, e *webhook.Endpoint, now time.Time) []webhook.Delivery {
	t.Helper()
	found, err := s.DueDeliveries(t.Context(), e.ID, now, 100)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func dueInOrder(t *testing.T, s Webhooks) {
	e, other := storeEndpoint(t, s, newEndpoint(1)), storeEndpoint(t, s, newEndpoint(2))
	var all []webhook.Delivery
	for i := range 6 {
		all = append(all, newDelivery(e, morning.Add(time.Duration(6-i)*time.Second)))
	}
	failed, paused := newDelivery(e, morning), newDelivery(e, morning)
	failed.State, paused.State = webhook.Failed, webhook.Paused
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) {
		tx.Put = append(slices.Clone(all), failed, paused)
		slices.Reverse(tx.Put)
	})
	changeEndpoint(t, s, other.ID, func(tx *webhook.Tx) { tx.Put = []webhook.Delivery{newDelivery(other, morning.Add(time.Hour))} })
	sameList(t, due(t, s, e, morning.Add(6*time.Second)), all)
	sameList(t, due(t, s, e, morning.Add(4*time.Second)), all[2:])
	sameList(t, due(t, s, e, morning), nil)
	few, err := s.DueDeliveries(t.Context(), e.ID, atLast, 2)
	if err != nil {
		t.Fatal(err)
	}
	sameList(t, few, all[:2])
	for now, want := range map[time.Time][]webhook.EndpointID{
		morning:                      nil,
		morning.Add(6 * time.Second): {e.ID},
		morning.Add(time.Hour):       {e.ID, other.ID},
	} {
		got, err := s.DueEndpoints(t.Context(), now, 100)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b webhook.EndpointID) int { return slices.Compare(a[:], b[:]) })
		sameList(t, got, want)
	}
	for limit, want := range map[int]int{3: 3, 100: 6} {
		if n, err := s.WaitingDeliveries(t.Context(), e.ID, limit); n != want || err != nil {
			t.Errorf("%d deliveries wait, %v; want %d", n, err, want)
		}
	}
}

func deliveriesAreRescheduled(t *testing.T, s Webhooks) {
	e, other := storeEndpoint(t, s, newEndpoint(1)), storeEndpoint(t, s, newEndpoint(1))
	at := func(e *webhook.Endpoint, hour int, state webhook.DeliveryState) webhook.Delivery {
		d := newDelivery(e, atLast)
		d.EventAt, d.State, d.Attempts = morning.Add(time.Duration(hour)*time.Hour), state, 5
		return d
	}
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) {
		for hour := range 4 {
			tx.Put = append(tx.Put, at(e, hour, webhook.Failed))
		}
		tx.Put = append(tx.Put, at(e, 0, webhook.Waiting))
	})
	changeEndpoint(t, s, other.ID, func(tx *webhook.Tx) { tx.Put = []webhook.Delivery{at(other, 1, webhook.Failed)} })
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) {
		tx.Reschedule = &webhook.Reschedule{
			From: webhook.Failed, To: webhook.Waiting, Since: morning.Add(time.Hour), Until: morning.Add(3 * time.Hour), NextAt: morning, Again: true,
		}
	})
	got := due(t, s, e, morning)
	if len(got) != 2 || got[0].Attempts != 0 || !got[0].EventAt.Equal(morning.Add(time.Hour)) || !got[1].EventAt.Equal(morning.Add(2*time.Hour)) {
		t.Errorf("%+v are due; want the events of hours 1 and 2, without attempts", got)
	}
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) {
		tx.Reschedule = &webhook.Reschedule{From: webhook.Waiting, To: webhook.Paused, NextAt: morning}
	})
	if n, err := s.WaitingDeliveries(t.Context(), e.ID, 100); n != 0 || err != nil {
		t.Errorf("%d deliveries wait, %v; want 0", n, err)
	}
	changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) {
		tx.Reschedule = &webhook.Reschedule{From: webhook.Paused, To: webhook.Waiting, NextAt: morning}
	})
	if got := due(t, s, e, morning); len(got) != 3 || got[0].Attempts+got[1].Attempts+got[2].Attempts != 5 {
		t.Errorf("%+v are due; want 3 with 5 attempts", got)
	}
	sameList(t, due(t, s, other, atLast), nil)
}

func attemptsOf(t *testing.T, s Webhooks, e *webhook.Endpoint) (all []webhook.Attempt) {
	t.Helper()
	for before := (webhook.AttemptID{}); ; before = all[len(all)-1].ID {
		page, err := s.Attempts(t.Context(), e.ID, before, 3)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, page...); len(page) == 0 {
			return all
		}
	}
}

func attemptsArePaged(t *testing.T, s Webhooks) {
	e, other := storeEndpoint(t, s, newEndpoint(1)), storeEndpoint(t, s, newEndpoint(1))
	var want []webhook.Attempt
	for range 7 {
		a := newAttempt(e)
		want = append(want, a)
		changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) { tx.Attempts = []webhook.Attempt{a} })
	}
	changeEndpoint(t, s, other.ID, func(tx *webhook.Tx) { tx.Attempts = []webhook.Attempt{newAttempt(other)} })
	slices.Reverse(want)
	sameList(t, attemptsOf(t, s, e), want)
}

func webhooksAreSwept(t *testing.T, s Webhooks) {
	all := []*webhook.Endpoint{storeEndpoint(t, s, newEndpoint(1)), storeEndpoint(t, s, newEndpoint(2))}
	for _, e := range all {
		changeEndpoint(t, s, e.ID, func(tx *webhook.Tx) {
			for i := range 5 {
				d, a := newDelivery(e, morning), newAttempt(e)
				d.ExpiresAt = morning.Add(time.Duration(i) * time.Second)
				a.ExpiresAt = d.ExpiresAt
				tx.Put, tx.Attempts = append(tx.Put, d), append(tx.Attempts, a)
			}
		})
	}
	for more := true; more; {
		var err error
		if more, err = s.SweepWebhooks(t.Context(), morning.Add(2*time.Second), 2); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range all {
		if d, a := len(due(t, s, e, atLast)), len(attemptsOf(t, s, e)); d != 2 || a != 2 {
			t.Errorf("%d deliveries and %d attempts are left; want 2 of each", d, a)
		}
	}
}
