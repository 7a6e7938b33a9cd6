package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

// horizon has the time morning for all kinds of rows.
var horizon = mfa.Horizon{Challenges: morning, Events: morning, Expired: morning}

// An aged holds one row of each kind that Sweep can remove, all of the same age.
type aged struct {
	challenge *mfa.Challenge
	event     mfa.Event
	replay    *mfa.Replay
	phone     *delivery.PhoneLimit
	tally     *delivery.Counter
	message   *delivery.MessageRef
	bypass    *mfa.Bypass
}

// kept records which rows of an aged are still stored.
type kept struct{ challenge, event, replay, phone, tally, message, bypass bool }

var allKept = kept{true, true, true, true, true, true, true}

// storeAged stores rows in the bucket of f whose creation time, or expiry, is at.
func storeAged(t *testing.T, s mfa.Store, f *mfa.Factor, at time.Time) aged {
	t.Helper()
	b := f.ID.Bucket()
	a := aged{challenge: NewChallenge(f), event: NewEvent(f), replay: NewReplay(b)}
	a.challenge.ID, a.event.ID, a.event.At = newID(at, b), newID(at, b), at
	a.challenge.CreatedAt, a.replay.ExpiresAt = at, at
	a.phone = &delivery.PhoneLimit{Bucket: b, Key: newKey(), Sends: []delivery.Send{{At: at}}, ExpiresAt: at}
	a.tally, a.message, a.bypass = NewTally(b), NewMessage(b), NewBypass(b)
	a.tally.ExpiresAt, a.message.ExpiresAt, a.bypass.ExpiresAt = at, at, at
	store(t, s, b, mfa.InsertChallenge{Challenge: a.challenge},
		mfa.PutReplay{Replay: a.replay}, mfa.PutPhone{PhoneLimit: a.phone},
		mfa.PutCounter{Counter: a.tally}, mfa.PutMessage{MessageRef: a.message}, mfa.PutBypass{Bypass: a.bypass})
	importEvents(t, s, a.event)
	return a
}

// importEvents stores events with their own ids, as a copy does.
func importEvents(t *testing.T, s mfa.Store, all ...mfa.Event) {
	t.Helper()
	var rows []transfer.Row
	for i := range all {
		rows = append(rows, transfer.Row{Event: &all[i]})
	}
	if err := s.(transfer.Store).Import(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
}

// left reports which rows of a are still stored.
func (a aged) left(t *testing.T, s mfa.Store) kept {
	t.Helper()
	return a.among(t, s, eventsOf(t, s, a.event.Environment))
}

// among is left, with the events that are still stored.
func (a aged) among(t *testing.T, s mfa.Store, events []mfa.Event) kept {
	t.Helper()
	rows := view(t, s, mfa.Read{
		Bucket: a.replay.Bucket, Challenge: a.challenge.ID, Replay: a.replay.Key, Phone: a.phone.Key,
		Counters: []delivery.CounterKey{a.tally.CounterKey}, Message: a.message.Key, Bypass: a.bypass.Key,
	})
	return kept{
		rows.Challenge != nil, slices.Contains(events, a.event), rows.Replay != nil, rows.Phone != nil,
		rows.Counters[0] != nil, rows.Message != nil, rows.Bypass != nil,
	}
}

// sweep calls Sweep until it has no more rows to remove.
func sweep(t *testing.T, s mfa.Store, h mfa.Horizon, limit int) {
	t.Helper()
	steps := 0
	for more := true; more; steps++ {
		if steps > 10*mfa.Buckets {
			t.Fatal("the sweep does not end")
		}
		var err error
		if more, err = s.Sweep(t.Context(), h, limit); err != nil {
			t.Fatal(err)
		}
	}
}

func sweepKeepsTime(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	sweep(t, s, horizon, 100) // the store is still empty
	before := storeAged(t, s, f, morning.Add(-time.Millisecond))
	at := storeAged(t, s, f, morning)
	after := storeAged(t, s, f, morning.Add(time.Millisecond))
	sweep(t, s, horizon, 100)
	if left := before.left(t, s); left != (kept{}) {
		t.Errorf("before the horizon: left %+v; want none", left)
	}
	// Rows with the horizon as creation time are kept. Rows with the horizon as expiry
	// have expired.
	if left, want := at.left(t, s), (kept{challenge: true, event: true}); left != want {
		t.Errorf("at the horizon: left %+v; want challenge and event", left)
	}
	if left := after.left(t, s); left != allKept {
		t.Errorf("after the horizon: left %+v; want all", left)
	}
	same(t, view(t, s, readChallenge(after.challenge.ID)).Challenge, after.challenge)
}

// storeSpread stores rows before the horizon, each in a different bucket.
func storeSpread(t *testing.T, s mfa.Store, n int) []aged {
	t.Helper()
	var all []aged
	for i := range n {
		f := storeFactor(t, s, NewUser())
		all = append(all, storeAged(t, s, f, morning.Add(time.Duration(i-n)*time.Hour)))
	}
	return all
}

func sweepKeepsLimit(t *testing.T, s mfa.Store) {
	all := storeSpread(t, s, 5)
	shared := storeFactor(t, s, NewUser())
	for range 5 { // all in one bucket
		all = append(all, storeAged(t, s, shared, morning.Add(-time.Hour)))
	}
	const limit = 4
	before := [7]int{10, 10, 10, 10, 10, 10, 10}
	for more := true; more; {
		var err error
		if more, err = s.Sweep(t.Context(), horizon, limit); err != nil {
			t.Fatal(err)
		}
		var left [7]int
		events := eventsOf(t, s, 1)
		for _, a := range all {
			k := a.among(t, s, events)
			for i, there := range []bool{k.challenge, k.event, k.replay, k.phone, k.tally, k.message, k.bypass} {
				if there {
					left[i]++
				}
			}
		}
		for i := range left {
			if before[i]-left[i] > limit {
				t.Fatalf("one step went from %v to %v of each kind; want at most %d less", before, left, limit)
			}
		}
		before = left
	}
	if before != ([7]int{}) {
		t.Errorf("left %v of each kind; want none", before)
	}
}

// sweepIsComplete stores more rows of one kind than of the others. The sweep must
// continue until they are removed.
func sweepIsComplete(t *testing.T, s mfa.Store) {
	all := storeSpread(t, s, 3)
	for i := range 8 {
		at := longAgo.AddDate(100, 0, i)
		importEvents(t, s, mfa.Event{ID: newID(at, 3), At: at, Environment: 1, Type: mfa.UserLocked})
	}
	sweep(t, s, horizon, 4)
	for _, a := range all {
		if left := a.left(t, s); left != (kept{}) {
			t.Errorf("left %+v; want none", left)
		}
	}
	if left := Events(t, s); len(left) > 0 {
		t.Errorf("left %+v; want no events", left)
	}
}

func sweepKeepsFactors(t *testing.T, s mfa.Store) {
	f := NewFactor(NewUser())
	f.ID = newID(morning.AddDate(-20, 0, 0), f.ID.Bucket())
	f.CreatedAt, f.UpdatedAt = morning.AddDate(-20, 0, 0), morning.AddDate(-20, 0, 0)
	u := &mfa.User{UserKey: mfa.UserKey{Environment: f.Environment, ID: f.User}, Failures: 1}
	store(t, s, f.ID.Bucket(), mfa.InsertFactor{Factor: f}, mfa.PutUser{User: u})
	sweep(t, s, horizon, 100)
	rows := view(t, s, readFactor(f.ID))
	same(t, rows.Factor, f)
	same(t, rows.User, u)
}

// sweepKeepsAll uses horizons before all ids: 1970, and the zero time.
func sweepKeepsAll(t *testing.T, s mfa.Store) {
	a := storeAged(t, s, storeFactor(t, s, NewUser()), morning)
	sweep(t, s, mfa.Horizon{}, 100)
	before := time.Date(1926, 1, 1, 0, 0, 0, 0, time.UTC)
	sweep(t, s, mfa.Horizon{Challenges: before, Events: before, Expired: before}, 100)
	if left := a.left(t, s); left != allKept {
		t.Errorf("left %+v; want all", left)
	}
}
