package mfa_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

const (
	slot = 30 * time.Minute // of the daily counters
	day  = 24 * time.Hour
)

// german is the n-th number with the prefix +491512.
func german(n int) string { return fmt.Sprintf("+491512%07d", 3_000_000+n) }

// counter returns what one counter of production says, "" if it is not listed.
func (w *fixture) counter(of string) string {
	w.t.Helper()
	for _, t := range w.messageCounts() {
		if t.Of != of {
			continue
		}
		text := fmt.Sprintf("%d sent, %d verified", t.Sent, t.Verified)
		if !t.PausedUntil.IsZero() {
			text += fmt.Sprint(", paused for ", t.PausedUntil.Sub(w.clock.Now()))
		}
		return text
	}
	return ""
}

func (w *fixture) wantCounters(what string, want map[string]string) {
	w.t.Helper()
	for of, text := range want {
		if got := w.counter(of); got != text {
			w.t.Errorf("%s: counter of %s is %q; want %q", what, of, got, text)
		}
	}
}

// smsEvents returns the events of limits on messages, as "type reason".
func (w *fixture) smsEvents() (all []string) {
	w.t.Helper()
	events := storetest.Events(w.t, w.store)
	for _, e := range events {
		if strings.HasPrefix(string(e.Type), "message.prefix_") || e.Type == mfa.DailyLimitReached {
			reason := e.Reason
			if reason == w.PrefixReference(production.ID, "+491512") {
				reason = "+491512"
			}
			all = append(all, fmt.Sprint(e.Type, " ", reason))
			if e.Environment != production.ID || e.Factor != (mfa.FactorID{}) || e.Challenge != (mfa.ChallengeID{}) {
				w.t.Errorf("event %+v is not of the environment alone", e)
			}
		}
	}
	return all
}

// Whenever messages are asked for, no 24 h see more of them than the limits say.
func TestDailyLimitsHoldInAny24Hours(t *testing.T) {
	const daily, abroad = 6, 3
	for seed := range uint64(3) {
		w := newFixture(t, mfa.Options{Limits: often, SMS: delivery.Rules{Daily: daily, Abroad: abroad}})
		draw := rand.New(rand.NewPCG(seed, 1))
		start := w.clock.Now()
		phones := []mfa.FactorID{w.phone(production, adasPhone), w.phone(production, gracesPhone)}
		var all, far []time.Duration // when messages were sent
		within := func(sent []time.Duration) (n int) {
			for _, at := range sent {
				if w.clock.Now().Sub(start)-at < day {
					n++
				}
			}
			return n
		}
		last := mfa.ChallengeID{}
		for range 150 {
			gap := []time.Duration{time.Millisecond, time.Minute, slot - 1e6, slot, 3 * time.Hour, day - slot, day}[draw.IntN(7)]
			w.clock.Advance(time.Duration(draw.Int64N(int64(gap)))/1e6*1e6 + 1e6)
			at, to := w.clock.Now().Sub(start), draw.IntN(2)
			var err error
			resent := to == 1 && draw.IntN(2) == 0
			if resent {
				_, err = w.Resend(t.Context(), production, last, nil)
			} else {
				var c mfa.IssuedChallenge
				if c, err = w.sendIn(production, phones[to]); to == 1 && err == nil {
					last = c.ID
				}
			}
			limit, limited := errors.AsType[*mfa.LimitError](err)
			switch {
			case err == nil:
				all = append(all, at)
				if to == 1 {
					far = append(far, at)
				}
				if within(all) > daily || within(far) > abroad {
					t.Fatalf("seed %d: %d messages in 24 h, %d of them abroad", seed, within(all), within(far))
				}
			case limited && errors.Is(err, delivery.ErrDailyLimit):
				// A slot counts until all of it is 24 h old.
				if full := within(all) >= daily || to == 1 && within(far) >= abroad; full && limit.After > day+slot || limit.After <= 0 {
					t.Fatalf("seed %d: wait is %v", seed, limit.After)
				}
			case resent && errors.Is(err, mfa.ErrExpired), resent && errors.Is(err, mfa.ErrNotFound), errors.Is(err, mfa.ErrResendLimit):
			default:
				t.Fatal(err)
			}
		}
		if len(all) < daily || len(far) < abroad {
			t.Fatalf("seed %d: only %d messages were sent", seed, len(all))
		}
	}
}

func TestWaitForTheNextDay(t *testing.T) {
	home, abroad := adasPhone, gracesPhone
	for _, tc := range []struct {
		name  string
		rules delivery.Rules
		sends map[time.Duration]string // after noon
		then  string
		free  time.Duration // when its message may go, after noon
		told  []string
	}{
		{
			"all", delivery.Rules{Daily: 2}, map[time.Duration]string{0: home, time.Hour: abroad}, home,
			day + slot, []string{"all"},
		},
		{
			"all, late in a slot", delivery.Rules{Daily: 1}, map[time.Duration]string{slot - time.Millisecond: home}, abroad,
			day + slot, []string{"all"},
		},
		{
			"abroad", delivery.Rules{Abroad: 2}, map[time.Duration]string{0: home, slot: abroad, 2 * slot: abroad}, abroad,
			day + 2*slot, []string{"abroad"},
		},
		{
			"both, one longer", delivery.Rules{Daily: 2, Abroad: 1}, map[time.Duration]string{0: home, 5 * time.Hour: abroad}, abroad,
			day + 5*time.Hour + slot, []string{"all", "abroad"},
		},
		{
			"home is named", delivery.Rules{Home: "de", Abroad: 1}, map[time.Duration]string{0: abroad, time.Second: abroad, time.Minute: home}, home,
			day + slot, []string{"abroad"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{Limits: often, SMS: tc.rules})
			w.clock.Advance(-432 * time.Millisecond) // noon
			noon := w.clock.Now()
			for _, at := range slices.Sorted(maps.Keys(tc.sends)) {
				w.clock.Advance(noon.Add(at).Sub(w.clock.Now()))
				if _, err := w.sendIn(production, w.phone(production, tc.sends[at])); err != nil {
					t.Fatalf("message after %v: %v", at, err)
				}
			}
			w.clock.Advance(time.Millisecond)
			f := w.phone(production, tc.then)
			for range 3 {
				_, err := w.sendIn(production, f)
				if wait := waitIn(t, err, delivery.ErrDailyLimit); wait != noon.Add(tc.free).Sub(w.clock.Now()) {
					t.Errorf("wait is %v; want until %v after noon", wait, tc.free)
				}
			}
			w.clock.Advance(noon.Add(tc.free).Sub(w.clock.Now()) - time.Millisecond)
			_, err := w.sendIn(production, f)
			waitIn(t, err, delivery.ErrDailyLimit)
			var told []string
			for _, of := range tc.told {
				told = append(told, "message.daily_limit_reached "+of)
			}
			if got := w.smsEvents(); !slices.Equal(got, told) {
				t.Errorf("events are %q; want %q", got, told)
			}
			w.clock.Advance(time.Millisecond)
			if _, err := w.sendIn(production, f); err != nil {
				t.Errorf("Challenge after the wait = %v", err)
			}
			told = append(told, told[len(told)-1]) // it is reached again
			if got := w.smsEvents(); !slices.Equal(got, told) {
				t.Errorf("events are %q; want %q", got, told)
			}
		})
	}
}

func TestCountersOfAMessage(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	ada, grace := w.phone(production, adasPhone), w.phone(production, gracesPhone)
	if _, err := w.sendIn(production, ada); err != nil {
		t.Fatal(err)
	}
	c, err := w.sendIn(production, grace)
	if err != nil {
		t.Fatal(err)
	}
	w.wantCounters("two messages", map[string]string{
		"+160735": "1 sent, 0 verified", "US": "1 sent, 0 verified",
		"+491512": "1 sent, 0 verified", "DE": "1 sent, 0 verified",
		"all": "2 sent, 0 verified", "abroad": "1 sent, 0 verified",
	})
	w.clock.Advance(time.Minute)
	if _, err := w.Resend(t.Context(), production, c.ID, nil); err != nil {
		t.Fatal(err)
	}
	w.wantCounters("one again", map[string]string{
		"+491512": "1 sent, 0 verified", "DE": "2 sent, 0 verified", "all": "3 sent, 0 verified", "abroad": "2 sent, 0 verified",
	})
	w.clock.Advance(slot)
	w.carrier.Lost = errCarrier
	for range 2 {
		if _, err := w.sendIn(production, grace); !errors.Is(err, delivery.ErrNotDelivered) {
			t.Fatalf("Challenge = %v; want %v", err, delivery.ErrNotDelivered)
		}
	}
	w.wantCounters("two that failed", map[string]string{
		"+491512": "1 sent, 0 verified", "DE": "2 sent, 0 verified", "all": "3 sent, 0 verified", "abroad": "2 sent, 0 verified",
	})
	w.carrier.Lost = nil
	c, err = w.sendIn(production, grace)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(30 * time.Second)
	w.carrier.Lost = errCarrier
	if _, err := w.Resend(t.Context(), production, c.ID, nil); !errors.Is(err, delivery.ErrNotDelivered) {
		t.Fatalf("Resend = %v; want %v", err, delivery.ErrNotDelivered)
	}
	w.wantCounters("a resend that failed", map[string]string{"+491512": "2 sent, 0 verified", "DE": "3 sent, 0 verified", "all": "4 sent, 0 verified"})
	w.carrier.Lost, w.carrier.Unsure = nil, timeout{}
	if _, err := w.Resend(t.Context(), production, c.ID, nil); !errors.Is(err, delivery.ErrNotDelivered) {
		t.Fatalf("Resend = %v; want %v", err, delivery.ErrNotDelivered)
	}
	w.wantCounters("one that may have failed", map[string]string{"+491512": "2 sent, 0 verified", "DE": "4 sent, 0 verified", "all": "5 sent, 0 verified"})
	w.carrier.Unsure = nil
	w.clock.Advance(9 * time.Minute) // another slot of its prefix
	if v, err := w.Verify(t.Context(), production, c.ID, mfa.VerifyParams{Code: w.carrier.Last().Code.Reveal()}, nil); err != nil || !v.Valid {
		t.Fatalf("Verify = %v, %v", v.Valid, err)
	}
	w.wantCounters("one verified", map[string]string{
		"+491512": "2 sent, 1 verified", "DE": "4 sent, 1 verified", "all": "5 sent, 1 verified", "abroad": "4 sent, 1 verified", "US": "1 sent, 0 verified",
	})
	w.clock.Advance(time.Hour - 9*time.Minute) // the first of both is 1 h 31 min old
	w.wantCounters("an hour later", map[string]string{"+491512": "1 sent, 1 verified", "+160735": "", "all": "5 sent, 1 verified"})
	w.clock.Advance(25 * time.Hour)
	if all := w.messageCounts(); len(all) != 0 {
		t.Errorf("a day later the counters are %v", all)
	}
}

// timeout is the error of a sender that got no answer.
type timeout struct{}

func (timeout) Error() string { return "no answer" }
func (timeout) Timeout() bool { return true }

func TestSandboxesAreNotCounted(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: often, SMS: delivery.Rules{Daily: 1, Abroad: 1, Pumping: delivery.Pumping{Sends: 1}}})
	f := w.phone(sandbox, gracesPhone)
	for range 5 {
		w.clock.Advance(5 * time.Minute)
		w.challenge(f)
	}
	if all, err := w.store.Counters(t.Context(), sandbox.ID); err != nil || len(all) != 0 {
		t.Errorf("counters are %v, %v", all, err)
	}
	if _, err := w.sendIn(production, w.phone(production, gracesPhone)); err != nil {
		t.Errorf("Challenge in production = %v", err)
	}
	if events := w.smsEvents(); !slices.Equal(events, []string{"message.daily_limit_reached all", "message.daily_limit_reached abroad"}) {
		t.Errorf("events are %q", events)
	}
}

func TestRacingMessagesKeepTheDailyLimit(t *testing.T) {
	const most, abroad = 10, 4
	opts := mfa.Options{SMS: delivery.Rules{Daily: most, Abroad: abroad}}
	w := newFixture(t, opts)
	nodes := []*mfa.Service{w.Service, w.serviceOver(w.store, opts)}
	var phones []mfa.FactorID
	for n := range 40 {
		phones = append(phones, w.phone(production, []string{fmt.Sprintf("+1607351%04d", 7000+n), german(n)}[n%2]))
	}
	var sent [2]atomic.Int32
	mfatest.Together(len(phones), func(i int) {
		_, err := nodes[i/2%2].Challenge(t.Context(), production, phones[i], mfa.ChallengeParams{}, nil)
		if err == nil {
			sent[i%2].Add(1)
		} else if !errors.Is(err, delivery.ErrDailyLimit) {
			t.Errorf("Challenge = %v", err)
		}
	})
	home, far := sent[0].Load(), sent[1].Load()
	if home+far != most || far > abroad || w.carrier.Sent() != most {
		t.Errorf("%d messages at home and %d abroad were sent; want %d, at most %d of them abroad", home, far, most, abroad)
	}
	events := w.smsEvents()
	slices.Sort(events)
	if !slices.Contains(events, "message.daily_limit_reached all") || len(slices.Compact(slices.Clone(events))) != len(events) {
		t.Errorf("events are %q; want each once", events)
	}
}

// A request is tried again in another slot, after its process died. If that fails, the
// message is removed from the slot in which it was counted.
func TestFailureGivesBackWhereItWasCounted(t *testing.T) {
	w := newFixture(t, mfa.Options{SMS: delivery.Rules{Daily: 2}})
	f := w.phone(production, adasPhone)
	dead := false
	dying := w.serviceOver(&broken{w.store, func(r mfa.Read) bool {
		dead = dead || r.Phone == delivery.PhoneKey{} && w.counter("all") != ""
		return dead
	}}, mfa.Options{SMS: delivery.Rules{Daily: 2}})
	once := onceKey[mfa.IssuedChallenge]("k", "r")
	if _, err := dying.Challenge(t.Context(), production, f, mfa.ChallengeParams{}, once); !errors.Is(err, mfa.ErrUnavailable) {
		t.Fatalf("Challenge = %v; want %v", err, mfa.ErrUnavailable)
	}
	w.wantCounters("counted and not sent", map[string]string{"all": "1 sent, 0 verified"})
	w.clock.Advance(slot)
	if _, err := w.sendIn(production, w.phone(production, gracesPhone)); err != nil {
		t.Fatal(err)
	}
	w.carrier.Lost = errCarrier
	if _, err := w.Challenge(t.Context(), production, f, mfa.ChallengeParams{}, once); !errors.Is(err, delivery.ErrNotDelivered) {
		t.Fatalf("Challenge = %v; want %v", err, delivery.ErrNotDelivered)
	}
	w.wantCounters("given back", map[string]string{"all": "1 sent, 0 verified", "US": "0 sent, 0 verified"})
	w.carrier.Lost = nil
	w.clock.Advance(day) // the first count has expired; the sent message still counts
	if _, err := w.sendIn(production, f); err != nil {
		t.Fatal(err)
	}
	_, err := w.sendIn(production, w.phone(production, german(1)))
	if wait := waitIn(t, err, delivery.ErrDailyLimit); wait > slot {
		t.Errorf("wait is %v", wait)
	}
}

// pumped sends n challenges to numbers with one prefix, and verifies the first of them.
func (w *fixture) pumped(n, verified int) {
	w.t.Helper()
	for i := range n {
		c, err := w.sendIn(production, w.phone(production, german(i)))
		if err != nil {
			w.t.Fatalf("challenge %d: %v", i, err)
		}
		if i < verified {
			v, err := w.Verify(w.t.Context(), production, c.ID, mfa.VerifyParams{Code: w.carrier.Last().Code.Reveal()}, nil)
			if err != nil || !v.Valid {
				w.t.Fatalf("Verify = %v, %v", v.Valid, err)
			}
		}
	}
}

func TestPrefixIsPaused(t *testing.T) {
	for _, tc := range []struct {
		name           string
		rules          delivery.Pumping
		sent, verified int
		after          time.Duration
		paused         bool
	}{
		{"19 of 19 unverified", delivery.Pumping{}, 19, 0, 10 * time.Minute, false},
		{"20 of 20 unverified", delivery.Pumping{}, 20, 0, 10 * time.Minute, true},
		{"just sent", delivery.Pumping{}, 20, 0, 2*time.Minute - time.Millisecond, false},
		{"three minutes old", delivery.Pumping{}, 20, 0, 3 * time.Minute, true},
		{"an hour old", delivery.Pumping{}, 20, 0, time.Hour, true},
		{"older", delivery.Pumping{}, 20, 0, time.Hour + time.Minute, false},
		{"just too few verified", delivery.Pumping{}, 20, 5, 10 * time.Minute, true},
		{"just enough verified", delivery.Pumping{}, 20, 6, 10 * time.Minute, false},
		{"a share that has no exact number", delivery.Pumping{Verified: 0.28, Sends: 10}, 25, 7, 10 * time.Minute, false},
		{"below it", delivery.Pumping{Verified: 0.28, Sends: 10}, 25, 6, 10 * time.Minute, true},
		{"own rules", delivery.Pumping{Sends: 2, Verified: 1, Window: 10 * time.Minute, Pause: time.Minute}, 2, 1, 10 * time.Minute, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{Limits: often, SMS: delivery.Rules{Pumping: tc.rules}})
			w.pumped(tc.sent, tc.verified)
			before := w.carrier.Sent()
			w.clock.Advance(tc.after)
			f := w.phone(production, german(1000))
			_, err := w.sendIn(production, f)
			if !tc.paused {
				if err != nil || len(w.smsEvents()) != 0 {
					t.Fatalf("Challenge = %v with events %q; want it sent", err, w.smsEvents())
				}
				return
			}
			pause := day
			if tc.rules.Pause != 0 {
				pause = tc.rules.Pause
			}
			if wait := waitIn(t, err, delivery.ErrPrefixPaused); wait != pause {
				t.Errorf("wait is %v; want %v", wait, pause)
			}
			w.clock.Advance(pause - time.Millisecond)
			if _, err := w.sendIn(production, f); waitIn(t, err, delivery.ErrPrefixPaused) != time.Millisecond {
				t.Errorf("in the last millisecond: %v", err)
			}
			if n := w.carrier.Sent(); n != before {
				t.Errorf("%d messages were sent", n-before)
			}
			if got := w.smsEvents(); !slices.Equal(got, []string{"message.prefix_paused +491512"}) {
				t.Errorf("events are %q", got)
			}
		})
	}
}

func TestOtherPrefixesGoOn(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	w.pumped(20, 0)
	w.clock.Advance(3 * time.Minute)
	for number, want := range map[string]error{
		german(500): delivery.ErrPrefixPaused, "+4915134000000": nil, adasPhone: nil,
	} {
		if _, err := w.sendIn(production, w.phone(production, number)); !errors.Is(err, want) {
			t.Errorf("Challenge of %s = %v; want %v", number, err, want)
		}
	}
	elsewhere := mfa.Caller{Environment: mfa.Environment{ID: 3, Name: "Analytical", Production: true}}
	if _, err := w.sendIn(elsewhere, w.phone(elsewhere, german(1))); err != nil {
		t.Errorf("Challenge in another environment = %v", err)
	}
	w.wantCounters("paused", map[string]string{"+491512": "20 sent, 0 verified, paused for 24h0m0s", "+491513": "1 sent, 0 verified"})
}

func TestManyPauseAPrefixOnce(t *testing.T) {
	opts := mfa.Options{}
	w := newFixture(t, opts)
	nodes := []*mfa.Service{w.Service, w.serviceOver(w.store, opts)}
	w.pumped(20, 0)
	var phones []mfa.FactorID
	for n := range 16 {
		phones = append(phones, w.phone(production, german(500+n)))
	}
	for _, want := range []string{"message.prefix_paused +491512", "message.prefix_released +491512"} {
		w.clock.Advance(3 * time.Minute)
		mfatest.Together(len(phones), func(i int) {
			_, err := nodes[i%2].Challenge(t.Context(), production, phones[i], mfa.ChallengeParams{}, nil)
			if paused := errors.Is(err, delivery.ErrPrefixPaused); paused != strings.Contains(want, "paused") || !paused && err != nil {
				t.Errorf("Challenge = %v", err)
			}
		})
		if got := w.smsEvents(); got[len(got)-1] != want || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("events are %q; want the last %s, once", got, want)
		}
		w.clock.Advance(day)
	}
	if n := w.carrier.Sent(); n != 36 {
		t.Errorf("%d messages were sent; want 36", n)
	}
}

// After the pause a prefix is judged again, also if expired rows were swept during the
// pause.
func TestPrefixIsReleased(t *testing.T) {
	const prefix = "+491512"
	for _, tc := range []struct {
		name  string
		pause time.Duration
		do    func(w *fixture)
	}{
		{"by itself", day, func(w *fixture) {
			w.clock.Advance(day)
			w.wantCounters("over", map[string]string{prefix: ""})
		}},
		{"by itself, soon", time.Minute, func(w *fixture) {
			w.clock.Advance(time.Minute)
			w.wantCounters("over", map[string]string{prefix: "20 sent, 0 verified"})
		}},
		{"by itself, after a while", day, func(w *fixture) {
			w.clock.Advance(day)
			if err := w.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(time.Hour)
		}},
		{"by an operator", day, func(w *fixture) {
			for _, want := range []bool{true, false} {
				if was, err := w.releasePrefix(production, prefix); err != nil || was != want {
					t.Errorf("ReleasePrefix = %v, %v; want %v", was, err, want)
				}
			}
			w.wantCounters("released", map[string]string{prefix: ""})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{SMS: delivery.Rules{Pumping: delivery.Pumping{Pause: tc.pause}}})
			w.pumped(20, 0)
			w.clock.Advance(3 * time.Minute)
			f := w.phone(production, german(500))
			_, err := w.sendIn(production, f)
			waitIn(t, err, delivery.ErrPrefixPaused)
			tc.do(w)
			c, err := w.sendIn(production, f)
			if err != nil {
				t.Fatalf("Challenge = %v", err)
			}
			w.wantCounters("released", map[string]string{prefix: "1 sent, 0 verified"})
			if got := w.smsEvents(); !slices.Equal(got, []string{"message.prefix_paused " + prefix, "message.prefix_released " + prefix}) {
				t.Errorf("events are %q", got)
			}
			w.clock.Advance(3 * time.Minute)
			if _, err := w.Resend(t.Context(), production, c.ID, nil); err != nil {
				t.Errorf("Resend = %v", err)
			}
		})
	}
}

func TestReleaseOfUnpausedPrefix(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	w.pumped(20, 0)
	for _, prefix := range []string{"+491512", "+491513", "491512", "all", ""} {
		if was, err := w.releasePrefix(production, prefix); was || err != nil {
			t.Errorf("ReleasePrefix(%q) = %v, %v; want nothing done", prefix, was, err)
		}
	}
	w.clock.Advance(3 * time.Minute)
	_, err := w.sendIn(production, w.phone(production, german(500)))
	waitIn(t, err, delivery.ErrPrefixPaused)
	if was, err := w.releasePrefix(sandbox, "+491512"); was || err != nil {
		t.Errorf("ReleasePrefix in another environment = %v, %v; want nothing done", was, err)
	}
	w.wantCounters("paused all the same", map[string]string{"+491512": "20 sent, 0 verified, paused for 24h0m0s"})
}

func TestPausedPrefixTakesNoResend(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c, err := w.sendIn(production, w.phone(production, german(500)))
	if err != nil {
		t.Fatal(err)
	}
	w.pumped(20, 0)
	w.clock.Advance(3 * time.Minute)
	_, err = w.Resend(t.Context(), production, c.ID, nil)
	waitIn(t, err, delivery.ErrPrefixPaused)
	if n := w.carrier.Sent(); n != 21 {
		t.Errorf("%d messages were sent; want 21", n)
	}
}

// A challenge that is verified after the release of its prefix does not count. A message
// that was sent before messages were counted does not count either.
func TestVerifiedWithoutACounter(t *testing.T) {
	w := newFixture(t, mfa.Options{SMS: delivery.Rules{Pumping: delivery.Pumping{Sends: 1}}})
	c, err := w.sendIn(production, w.phone(production, german(0)))
	if err != nil {
		t.Fatal(err)
	}
	code := w.carrier.Last().Code.Reveal()
	w.clock.Advance(3 * time.Minute)
	_, err = w.sendIn(production, w.phone(production, german(1)))
	waitIn(t, err, delivery.ErrPrefixPaused)
	if was, err := w.releasePrefix(production, "+491512"); err != nil || !was {
		t.Fatalf("ReleasePrefix = %v, %v", was, err)
	}
	w.clock.Advance(time.Minute)
	if _, err = w.sendIn(production, w.phone(production, german(1))); err != nil {
		t.Fatal(err)
	}
	if v, err := w.Verify(t.Context(), production, c.ID, mfa.VerifyParams{Code: code}, nil); err != nil || !v.Valid {
		t.Errorf("Verify = %v, %v", v.Valid, err)
	}
	w.wantCounters("verified late", map[string]string{"+491512": "1 sent, 0 verified", "DE": "2 sent, 1 verified"})

	before := production
	before.Production = false // as nothing was counted then
	if c, err = w.sendIn(before, w.phone(production, adasPhone)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	w.Service = w.serviceOver(w.store, mfa.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if v, err := w.Verify(t.Context(), production, c.ID, mfa.VerifyParams{Code: w.carrier.Last().Code.Reveal()}, nil); err != nil || !v.Valid || log.Len() != 0 {
		t.Errorf("Verify = %v, %v, and says %q", v.Valid, err, log.String())
	}
	w.wantCounters("verified, and never counted", map[string]string{"+160735": "", "US": ""})
}

func TestVerifiedIsCountedOnce(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c, err := w.sendIn(production, w.phone(production, adasPhone))
	if err != nil {
		t.Fatal(err)
	}
	code := w.carrier.Last().Code.Reveal()
	if _, err := w.Verify(t.Context(), production, c.ID, mfa.VerifyParams{Code: wrong}, nil); err != nil {
		t.Fatal(err)
	}
	once := onceKey[mfa.Verification]("k", "r")
	mfatest.Together(8, func(int) {
		if _, err := w.Verify(t.Context(), production, c.ID, mfa.VerifyParams{Code: code}, once); err != nil {
			t.Errorf("Verify = %v", err)
		}
	})
	w.Verify(t.Context(), production, c.ID, mfa.VerifyParams{Code: code}, nil)
	w.wantCounters("verified", map[string]string{"+160735": "1 sent, 1 verified", "US": "1 sent, 1 verified", "all": "1 sent, 1 verified"})
}

func TestSMSRulesThatAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rules delivery.Rules
	}{
		{"a home that is no country", delivery.Rules{Home: "Germany"}},
		{"less than no messages", delivery.Rules{Daily: -1}},
		{"less than no messages abroad", delivery.Rules{Abroad: -1}},
		{"less than no challenges", delivery.Rules{Pumping: delivery.Pumping{Sends: -1}}},
		{"more than all verified", delivery.Rules{Pumping: delivery.Pumping{Verified: 1.01}}},
		{"less than none verified", delivery.Rules{Pumping: delivery.Pumping{Verified: -0.1}}},
		{"a window of 9 min", delivery.Rules{Pumping: delivery.Pumping{Window: 9 * time.Minute}}},
		{"a window of 25 h", delivery.Rules{Pumping: delivery.Pumping{Window: 25 * time.Hour}}},
		{"a pause of a second", delivery.Rules{Pumping: delivery.Pumping{Pause: time.Second}}},
		{"a pause of a year", delivery.Rules{Pumping: delivery.Pumping{Pause: 365 * day}}},
		{"an origin with a scheme", delivery.Rules{Origin: "https://example.com"}},
		{"a text without a code", delivery.Rules{Texts: map[string]string{"de": "Hallo"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := mfa.NewService(nil, nil, nil, mfa.Options{SMS: tc.rules}); err == nil {
				t.Error("NewService took it")
			}
			_, err := mfa.NewService(nil, nil, nil, mfa.Options{SMSOf: map[string]delivery.Rules{"Acme": tc.rules}})
			if err == nil || !strings.Contains(err.Error(), `"Acme"`) {
				t.Errorf("NewService = %v; want an error that names the environment", err)
			}
		})
	}
}

// TestOutageIsNoPumping has a provider that does not answer for a while. The
// challenges of its messages are void, so no user could enter their codes.
func TestOutageIsNoPumping(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	number := func(i int) string { return fmt.Sprintf("+4915123%06d", 400_000+i) }
	w.carrier.Unsure = context.DeadlineExceeded
	for i := range 40 {
		if _, err := w.sendIn(production, w.phone(production, number(i))); !errors.Is(err, delivery.ErrNotDelivered) {
			t.Fatal(err)
		}
	}
	w.carrier.Unsure = nil
	w.clock.Advance(5 * time.Minute)
	if _, err := w.sendIn(production, w.phone(production, number(100))); err != nil {
		t.Errorf("after the outage: %v", err)
	}
	for _, y := range w.messageCounts() {
		if y.Of == "all" && y.Sent != 41 || y.Of == "+491512" && y.Sent != 1 {
			t.Errorf("%s counts %d; want the day to count all 41, and the prefix the last", y.Of, y.Sent)
		}
	}
}

func TestPrefixOfAShortNumberLeavesFourDigitsOut(t *testing.T) {
	w := newFixture(t, mfa.Options{SMS: delivery.Rules{Countries: []string{"NU"}}})
	if _, err := w.sendIn(production, w.phone(production, "+6834002")); err != nil {
		t.Fatal(err)
	}
	if all := w.messageCounts(); !slices.ContainsFunc(all, func(y operator.MessageCount) bool { return y.Of == "+683" }) {
		t.Errorf("the counts are %+v; want one of +683", all)
	}
}

func TestTheUsedShareOfDailyMessagesIsThatOfTheFullestLimit(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: often, SMS: delivery.Rules{Daily: 10, Abroad: 4}})
	used := func(want float64) {
		t.Helper()
		if got, err := w.DailyMessagesUsed(t.Context(), production.Environment); err != nil || got != want {
			t.Errorf("the used share is %v, %v; want %v", got, err, want)
		}
	}
	used(0)
	send := func(to string) {
		t.Helper()
		if _, err := w.sendIn(production, w.phone(production, to)); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Minute)
	}
	send(adasPhone)
	used(0.1)
	for range 4 {
		send(gracesPhone)
	}
	used(1)
	w.clock.Advance(day + slot)
	used(0)
}
