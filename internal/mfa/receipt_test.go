package mfa_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

var deliveryStates = []delivery.State{delivery.Queued, delivery.Sent, delivery.Undelivered, delivery.Failed, delivery.Delivered}

// rankOf is how far a state is.
var rankOf = map[delivery.State]int{delivery.Queued: 1, delivery.Sent: 2, delivery.Undelivered: 3, delivery.Failed: 3, delivery.Delivered: 4}

// orders returns all orders of states.
func orders(states []delivery.State) (all [][]delivery.State) {
	if len(states) == 0 {
		return [][]delivery.State{nil}
	}
	for i, first := range states {
		rest := slices.Concat(states[:i], states[i+1:])
		for _, order := range orders(rest) {
			all = append(all, append([]delivery.State{first}, order...))
		}
	}
	return all
}

// messageEvents returns what happened to the messages of a challenge, as "state reason".
func (w *fixture) messageEvents(id mfa.ChallengeID) (all []string) {
	w.t.Helper()
	for _, e := range w.events(id.Bucket()) {
		if state, ok := strings.CutPrefix(string(e.Type), "message."); ok && e.Challenge == id {
			all = append(all, strings.TrimSpace(state+" "+e.Reason))
		}
	}
	return all
}

// Receipts of a message, in any order, any number of them before the provider has
// answered, end in the state that is furthest, and each step is told once.
func TestReceiptsInAnyOrder(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: often})
	f := w.phone(sandbox, adasPhone)
	for n, states := range [][]delivery.State{
		{delivery.Queued, delivery.Sent, delivery.Delivered},
		{delivery.Sent, delivery.Sent, delivery.Undelivered},
		{delivery.Sent, delivery.Failed, delivery.Delivered},
		{delivery.Queued, delivery.Failed, delivery.Failed},
	} {
		furthest := slices.MaxFunc(states, func(a, b delivery.State) int { return rankOf[a] - rankOf[b] })
		for i, order := range orders(states) {
			for early := range len(order) + 1 {
				w.clock.Advance(time.Second)
				id := fmt.Sprint(n, "/", i, "/", early)
				report := func(states []delivery.State) {
					for _, state := range states {
						w.receive("gateway", id, state, "why-"+string(state))
					}
				}
				w.carrier.Accept = func(delivery.Message) delivery.Accepted {
					report(order[:early])
					return delivery.Accepted{Provider: "gateway", ID: id}
				}
				c := w.challenge(f)
				w.clock.Advance(time.Second)
				report(order[early:])
				what := fmt.Sprintf("%v, %d of them early", order, early)

				kept, d := w.kept(c.ID), w.delivery(c.ID)
				if d.State != furthest || d.Provider != "gateway" || d.ID == "" || d.ID == id || d.Reason != "why-"+string(furthest) {
					t.Errorf("%s: delivery is %+v; want it %s", what, d, furthest)
				}
				if kept.UpdatedAt != c.UpdatedAt || kept.Attempts != 0 || !kept.VerifiedAt.IsZero() || kept.Messages[0].Sealed == nil {
					t.Errorf("%s changed the challenge: %+v", what, kept)
				}
				want := []string{"queued gateway"}
				told := delivery.Queued
				for k, state := range order {
					if k < early && k != early-1 {
						continue // only the furthest of the early ones is told
					}
					if k < early {
						state = slices.MaxFunc(order[:early], func(a, b delivery.State) int { return rankOf[a] - rankOf[b] })
					}
					if rankOf[state] > rankOf[told] {
						told = state
						want = append(want, string(state)+" why-"+string(state))
					}
				}
				if got := w.messageEvents(c.ID); !slices.Equal(got, want) {
					t.Errorf("%s: events are %q; want %q", what, got, want)
				}
			}
		}
	}
}

func TestStateInProviderAnswerIsRecorded(t *testing.T) {
	for _, tc := range []struct {
		accepted delivery.State
		later    delivery.State
		want     delivery.State
		events   []string
	}{
		{"", delivery.Queued, delivery.Queued, []string{"queued g"}},
		{delivery.Sent, delivery.Queued, delivery.Sent, []string{"queued g", "sent"}},
		{delivery.Delivered, delivery.Undelivered, delivery.Delivered, []string{"queued g", "delivered"}},
		{delivery.Undelivered, delivery.Failed, delivery.Undelivered, []string{"queued g", "undelivered"}},
	} {
		w := newFixture(t, mfa.Options{})
		w.carrier.Accepted = delivery.Accepted{Provider: "g", ID: "1", State: tc.accepted}
		c := w.challenge(w.phone(sandbox, adasPhone))
		w.receive("g", "1", tc.later, "later")
		if d := w.delivery(c.ID); d.State != tc.want || d.Reason != "" {
			t.Errorf("%q, then %s: delivery is %+v; want %s", tc.accepted, tc.later, d, tc.want)
		}
		if got := w.messageEvents(c.ID); !slices.Equal(got, tc.events) {
			t.Errorf("%q, then %s: events are %q; want %q", tc.accepted, tc.later, got, tc.events)
		}
	}
}

func TestReceiptOfAnUnknownMessage(t *testing.T) {
	for _, tc := range []struct {
		waits time.Duration
		want  delivery.State
	}{
		{time.Hour - time.Millisecond, delivery.Delivered},
		{time.Hour, delivery.Queued}, // by then it belongs to the message of another program
	} {
		w := newFixture(t, mfa.Options{})
		f := w.phone(sandbox, adasPhone)
		events := len(w.events(f.Bucket()))
		w.receive("gateway", "m1", delivery.Delivered, "")
		w.receive("gateway", "", delivery.Delivered, "")
		if all := storetest.Events(t, w.store); len(all) != events {
			t.Errorf("an unknown message left events: %v", all)
		}
		w.clock.Advance(tc.waits)
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.carrier.Accepted = delivery.Accepted{Provider: "gateway", ID: "m1"}
		if d := w.delivery(w.challenge(f).ID); d.State != tc.want {
			t.Errorf("%v after a receipt, its message is %s; want %s", tc.waits, d.State, tc.want)
		}
	}
}

func TestReceiptOfAStateThatThereIsNot(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	w.carrier.Accepted = delivery.Accepted{Provider: "gateway", ID: "m1"}
	c := w.challenge(w.phone(sandbox, adasPhone))
	for _, state := range []delivery.State{"", "read", "DELIVERED"} {
		if err := w.Receive(t.Context(), delivery.Receipt{Provider: "gateway", ID: "m1", State: state}); err == nil {
			t.Errorf("a receipt of %q was taken", state)
		}
	}
	if d := w.delivery(c.ID); d.State != delivery.Queued {
		t.Errorf("the message is %s", d.State)
	}
}

func TestReceiptIsOfOneMessage(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	// Two providers give their messages the same ids.
	ids := []delivery.Accepted{{Provider: "one", ID: "1"}, {Provider: "two", ID: "1"}, {Provider: "one", ID: "2"}}
	w.carrier.Accept = func(m delivery.Message) delivery.Accepted { return ids[m.Number-1] }
	c := w.challenge(w.phone(sandbox, adasPhone))
	for range 2 {
		w.clock.Advance(30 * time.Second)
		if _, err := w.resend(c.ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		provider, id string
		state        delivery.State
		want         string
		sum          delivery.State
	}{
		{"two", "1", delivery.Undelivered, "queued undelivered queued", delivery.Queued},
		{"one", "2", delivery.Sent, "queued undelivered sent", delivery.Sent},
		{"one", "1", delivery.Failed, "failed undelivered sent", delivery.Sent},
		{"onetwo", "1", delivery.Delivered, "failed undelivered sent", delivery.Sent},
		{"two", "2", delivery.Delivered, "failed undelivered sent", delivery.Sent},
		{"two", "1", delivery.Delivered, "failed delivered sent", delivery.Delivered},
		{"one", "2", delivery.Failed, "failed delivered failed", delivery.Delivered},
	} {
		w.receive(tc.provider, tc.id, tc.state, "")
		var states []string
		for _, d := range w.kept(c.ID).Messages {
			states = append(states, string(d.State))
		}
		if got := strings.Join(states, " "); got != tc.want || w.delivery(c.ID).State != tc.sum {
			t.Errorf("%s of %s is %s: messages are %s, in sum %s; want %s, %s", tc.id, tc.provider, tc.state, got, w.delivery(c.ID).State, tc.want, tc.sum)
		}
	}
}

func TestReceiptAfterTheEnd(t *testing.T) {
	for _, tc := range []struct {
		name   string
		end    func(w *fixture, f mfa.FactorID, c mfa.ChallengeID, code string)
		stands bool
	}{
		{"of the factor", func(w *fixture, f mfa.FactorID, _ mfa.ChallengeID, _ string) {
			if err := w.DeleteFactor(t.Context(), sandbox, f); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"of its retention", func(w *fixture, _ mfa.FactorID, _ mfa.ChallengeID, _ string) {
			w.clock.Advance(25 * time.Hour)
			if err := w.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"of its attempts", func(w *fixture, _ mfa.FactorID, c mfa.ChallengeID, _ string) {
			for range 5 {
				w.mustVerify(c, wrong, false)
			}
		}, true},
		{"by a right code", func(w *fixture, _ mfa.FactorID, c mfa.ChallengeID, code string) { w.mustVerify(c, code, true) }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			w.carrier.Accepted = delivery.Accepted{Provider: "gateway", ID: "m1"}
			f := w.phone(sandbox, adasPhone)
			c := w.challenge(f)
			tc.end(w, f, c.ID, w.carrier.Last().Code.Reveal())
			before, events := w.kept(c.ID), len(w.events(f.Bucket()))
			w.clock.Advance(time.Second)
			w.receive("gateway", "m1", delivery.Delivered, "")
			w.receive("gateway", "m1", delivery.Delivered, "")
			after, more := w.kept(c.ID), len(w.events(f.Bucket()))-events
			if !tc.stands {
				if after != nil || more != 0 {
					t.Errorf("the receipt left %+v and %d events", after, more)
				}
				return
			}
			if after.Messages[0].State != delivery.Delivered || more != 1 {
				t.Errorf("the message is %s after %d events; want delivered after 1", after.Messages[0].State, more)
			}
			after.Messages = before.Messages
			if !reflect.DeepEqual(after, before) {
				t.Errorf("the challenge is %+v; want %+v", after, before)
			}
		})
	}
}

func TestReceiptTellsOfAnotherEnvironment(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	w.carrier.Accepted = delivery.Accepted{Provider: "gateway", ID: "m1"}
	f := w.phone(production, gracesPhone)
	c, err := w.sendIn(production, f)
	if err != nil {
		t.Fatal(err)
	}
	w.receive("gateway", "m1", delivery.Undelivered, "30003")
	events := w.events(f.Bucket())
	got := events[len(events)-1]
	want := mfa.Event{ID: got.ID, At: w.clock.Now(), Environment: production.ID, Type: "message.undelivered", Factor: f, Challenge: c.ID, Kind: mfa.SMS, Reason: "30003",
		Message: delivery.Trace{Provider: "gateway", Country: "DE", Prefix: delivery.NewCounterKey(w.keys, production.ID, "+491512").Reference(), Segments: 1}}
	if got != want {
		t.Errorf("event is %+v; want %+v", got, want)
	}
}

func TestReceiptsThatRaceWithVerification(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: often})
	other := w.serviceOver(w.store, mfa.Options{})
	f := w.phone(sandbox, adasPhone)
	for n := range 4 {
		w.clock.Advance(time.Second)
		id := fmt.Sprint("m", n)
		w.carrier.Accepted = delivery.Accepted{Provider: "gateway", ID: id}
		c := w.challenge(f)
		code := w.carrier.Last().Code.Reveal()
		var valid atomic.Int32
		mfatest.Together(20, func(i int) {
			if i%4 == 0 {
				v, err := w.verify(c.ID, code)
				if err == nil && v.Valid {
					valid.Add(1)
				} else if !errors.Is(err, mfa.ErrAlreadyVerified) {
					t.Errorf("Verify = %v, %v", v.Valid, err)
				}
				return
			}
			r := delivery.Receipt{Provider: "gateway", ID: id, State: deliveryStates[i%len(deliveryStates)]}
			if err := []*mfa.Service{w.Service, other}[i%2].Receive(t.Context(), r); err != nil {
				t.Errorf("Receive = %v", err)
			}
		})
		kept := w.kept(c.ID)
		if valid.Load() != 1 || kept.VerifiedAt.IsZero() || kept.Attempts != 1 || kept.Messages[0].Sealed != nil {
			t.Errorf("%d codes were right, and the challenge is %+v; want it verified once", valid.Load(), kept)
		}
		if d := w.delivery(c.ID); d.State != delivery.Delivered || d.Provider != "gateway" {
			t.Errorf("delivery is %+v; want it delivered", d)
		}
		told := make(map[string]int)
		for _, e := range w.messageEvents(c.ID) {
			told[e]++
		}
		if told["delivered"] != 1 || slices.Max(slices.Collect(maps.Values(told))) != 1 {
			t.Errorf("events are %v; want each at most once", told)
		}
	}
}

// The receipt comes while its message's provider is still answering.
func TestReceiptsThatRaceWithTheAnswer(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: often})
	f := w.phone(sandbox, adasPhone)
	for n := range 20 {
		w.clock.Advance(time.Second)
		id := fmt.Sprint("m", n)
		received := make(chan struct{})
		w.carrier.Accept = func(delivery.Message) delivery.Accepted {
			go func() {
				defer close(received)
				w.receive("gateway", id, delivery.Delivered, "")
			}()
			return delivery.Accepted{Provider: "gateway", ID: id}
		}
		c := w.challenge(f)
		<-received
		if d := w.delivery(c.ID); d.State != delivery.Delivered || d.Provider != "gateway" {
			t.Errorf("delivery is %+v; want it delivered", d)
		}
		events := w.messageEvents(c.ID)
		slices.Sort(events)
		if !slices.Equal(events, []string{"delivered", "queued gateway"}) {
			t.Errorf("events are %q", events)
		}
	}
}

// A sender may take seconds. The event after it has the later time: a reader who continues
// from the last event does not miss it.
func TestAnswerIsToldWhenItCame(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.phone(sandbox, adasPhone)
	w.carrier.During = func(context.Context) error {
		w.clock.Advance(5 * time.Second)
		return nil
	}
	w.carrier.Accepted = delivery.Accepted{State: delivery.Sent}
	start := w.clock.Now()
	c := w.challenge(f)
	for _, e := range w.events(f.Bucket())[2:] {
		if got := e.At.Sub(start); got != 5*time.Second {
			t.Errorf("%s is told as of %v after the request; want 5s", e.Type, got)
		}
	}
	if d := w.delivery(c.ID); d.At != start || d.UpdatedAt != start.Add(5*time.Second) {
		t.Errorf("delivery is %+v; want it sent 5 s after %v", d, start)
	}
}

func TestDeliverySumsUp(t *testing.T) {
	now := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)
	m := func(provider string, state delivery.State) delivery.Record {
		return delivery.Record{Provider: provider, ID: "1", State: state, Segments: 2, At: now.Add(-time.Minute), UpdatedAt: now}
	}
	late := m("d", delivery.Delivered)
	late.UpdatedAt = now.Add(1)
	queued := late
	queued.State, queued.UpdatedAt = delivery.Queued, late.At
	unsent := delivery.Record{State: delivery.Failed, Reason: "delivery_failed"}
	for _, tc := range []struct {
		name string
		all  []delivery.Record
		want delivery.Record
	}{
		{"nothing was sent", nil, delivery.Record{}},
		{"one", []delivery.Record{m("a", delivery.Sent)}, m("a", delivery.Sent)},
		{"the last", []delivery.Record{m("a", delivery.Sent), m("b", delivery.Failed)}, m("b", delivery.Failed)},
		{"the one that arrived", []delivery.Record{m("a", delivery.Undelivered), m("b", delivery.Delivered), m("c", delivery.Queued)}, m("b", delivery.Delivered)},
		{"one that arrives later", []delivery.Record{late}, queued},
		{"one that arrives later, and another", []delivery.Record{late, m("b", delivery.Sent)}, m("b", delivery.Sent)},
		{"another that never left", []delivery.Record{m("a", delivery.Sent), unsent}, m("a", delivery.Sent)},
	} {
		c := mfa.Challenge{ChallengeState: mfa.ChallengeState{Messages: tc.all}}
		if got, ok := c.Delivery(now); !reflect.DeepEqual(got, tc.want) || ok != (tc.all != nil) {
			t.Errorf("%s: %+v, %v; want %+v", tc.name, got, ok, tc.want)
		}
	}
}
