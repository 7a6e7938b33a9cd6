package mfa_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// prove verifies a code that is sent to a factor of an environment.
func (w *fixture) prove(env mfa.Caller, id mfa.FactorID) {
	w.t.Helper()
	c, err := w.sendIn(env, id)
	if err != nil {
		w.t.Fatalf("Challenge = %v", err)
	}
	w.enter(env, c.ID)
}

// enter verifies a challenge with the code that was sent last.
func (w *fixture) enter(env mfa.Caller, id mfa.ChallengeID) {
	w.t.Helper()
	if v, err := w.Verify(w.t.Context(), env, id, mfa.VerifyParams{Code: w.carrier.Last().Code.Reveal()}, nil); err != nil || !v.Valid {
		w.t.Fatalf("Verify = %v, %v", v.Valid, err)
	}
}

// sendAll asks for a message to each factor every 30 seconds, and returns how many
// were sent to each.
func (w *fixture) sendAll(env mfa.Caller, span time.Duration, ids ...mfa.FactorID) []int {
	w.t.Helper()
	sent := make([]int, len(ids))
	for end := w.clock.Now().Add(span); w.clock.Now().Before(end); w.clock.Advance(30 * time.Second) {
		for i, id := range ids {
			switch _, err := w.sendIn(env, id); {
			case err == nil:
				sent[i]++
			case !errors.Is(err, delivery.ErrSendLimit):
				w.t.Fatal(err)
			}
		}
	}
	return sent
}

func TestStrangerDoesNotUseUpTheOwnersMessages(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	owner := w.phone(sandbox, adasPhone)
	w.prove(sandbox, owner)
	w.clock.Advance(25 * time.Hour)
	var strangers []mfa.FactorID
	for range 5 {
		strangers = append(strangers, w.phone(sandbox, adasPhone))
	}
	// All strangers together have the messages of one.
	total := 0
	for _, n := range w.sendAll(sandbox, 24*time.Hour, strangers...) {
		total += n
	}
	if total != 20 {
		t.Errorf("strangers got %d messages in a day; want 20", total)
	}
	if got := w.sendAll(sandbox, 10*time.Minute, owner); got[0] != 5 {
		t.Errorf("the owner got %d messages in 10 min; want 5", got[0])
	}
}

func TestOwnerIsServedAtTheSameTimeAsAStranger(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	owner, stranger := w.phone(sandbox, adasPhone), w.phone(sandbox, adasPhone)
	w.prove(sandbox, owner)
	w.clock.Advance(time.Minute)
	for _, f := range []mfa.FactorID{stranger, owner} {
		if _, err := w.sendIn(sandbox, f); err != nil {
			t.Errorf("Challenge = %v", err)
		}
	}
	_, err := w.sendIn(sandbox, owner)
	if wait := waitIn(t, err, delivery.ErrSendLimit); wait != 30*time.Second {
		t.Errorf("the owner's next message waits %v; want 30s", wait)
	}
}

// However many factors of a number are proven, a phone is not flooded.
func TestPhoneNumberHasATotal(t *testing.T) {
	for name, tc := range map[string]struct {
		span time.Duration
		most int
	}{"10 min": {10 * time.Minute, 10}, "1 h": {time.Hour, 20}, "24 h": {24 * time.Hour, 40}} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			var factors []mfa.FactorID
			for range 4 {
				factors = append(factors, w.phone(sandbox, adasPhone))
				w.clock.Advance(24 * time.Hour)
				w.prove(sandbox, factors[len(factors)-1])
			}
			factors = append(factors, w.phone(sandbox, adasPhone)) // a stranger
			w.clock.Advance(24 * time.Hour)
			total := 0
			for _, n := range w.sendAll(sandbox, tc.span, factors...) {
				total += n
			}
			if total != tc.most {
				t.Errorf("%d messages; want %d", total, tc.most)
			}
		})
	}
}

func TestProofOfANumberLapses(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, tc := range map[string]struct {
		after time.Duration
		want  error
	}{
		"soon":         {time.Hour, nil},
		"180 days":     {180*24*time.Hour - 30*time.Second, nil},
		"after that":   {180*24*time.Hour + 30*time.Second, delivery.ErrSendLimit},
		"after a year": {year, delivery.ErrSendLimit},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			owner, stranger := w.phone(sandbox, adasPhone), w.phone(sandbox, adasPhone)
			w.prove(sandbox, owner)
			w.clock.Advance(tc.after)
			if _, err := w.sendIn(sandbox, stranger); err != nil {
				t.Fatal(err)
			}
			if _, err := w.sendIn(sandbox, owner); !errors.Is(err, tc.want) {
				t.Errorf("Challenge just after a stranger's = %v; want %v", err, tc.want)
			}
		})
	}
}

// A wrong code proves nothing.
func TestWrongCodeGivesNoBudget(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	a, b := w.phone(sandbox, adasPhone), w.phone(sandbox, adasPhone)
	w.mustVerify(w.challenge(a).ID, wrong, false)
	if _, err := w.sendIn(sandbox, b); !errors.Is(err, delivery.ErrSendLimit) {
		t.Errorf("Challenge of another factor = %v; want %v", err, delivery.ErrSendLimit)
	}
	if _, err := w.sendIn(sandbox, a); !errors.Is(err, delivery.ErrSendLimit) {
		t.Errorf("Challenge of the same factor = %v; want %v", err, delivery.ErrSendLimit)
	}
}

func TestPausedPrefixServesProvenNumbers(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	owner, unproven := w.phone(production, german(900)), w.phone(production, german(901))
	w.prove(production, owner)
	w.clock.Advance(2 * time.Hour)
	w.pumped(20, 0) // fake sign-ups
	w.clock.Advance(3 * time.Minute)
	_, err := w.sendIn(production, unproven)
	if wait := waitIn(t, err, delivery.ErrPrefixPaused); wait != day {
		t.Errorf("wait is %v", wait)
	}
	for range 3 {
		w.clock.Advance(10 * time.Minute)
		c, err := w.sendIn(production, owner)
		if err != nil {
			t.Fatalf("Challenge of a number that was proven = %v", err)
		}
		w.clock.Advance(time.Minute)
		if _, err := w.Resend(t.Context(), production, c.ID, nil); err != nil {
			t.Errorf("Resend = %v", err)
		}
		w.enter(production, c.ID)
	}
	w.wantCounters("paused", map[string]string{
		"+491512": "20 sent, 0 verified, paused for " + fmt.Sprint(day-33*time.Minute),
		"DE":      "27 sent, 4 verified",
	})
	if got := w.smsEvents(); !slices.Equal(got, []string{"message.prefix_paused +491512"}) {
		t.Errorf("events are %q; want the pause alone", got)
	}
	_, err = w.sendIn(production, unproven)
	waitIn(t, err, delivery.ErrPrefixPaused)
}

// Sign-ins of proven numbers neither hide pumping nor look like it.
func TestProvenNumbersDoNotCountForTheirPrefix(t *testing.T) {
	for name, tc := range map[string]struct {
		fake  int
		enter bool // the owners enter their codes
		want  error
	}{
		"honest sign-ins do not hide pumping":   {20, true, delivery.ErrPrefixPaused},
		"sign-ins that are given up pause none": {0, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			var owners []mfa.FactorID
			for i := range 40 {
				owners = append(owners, w.phone(production, german(500+i)))
				w.prove(production, owners[i])
			}
			w.clock.Advance(2 * time.Hour)
			for _, f := range owners {
				c, err := w.sendIn(production, f)
				if err != nil {
					t.Fatal(err)
				}
				if tc.enter {
					w.enter(production, c.ID)
				}
			}
			w.pumped(tc.fake, 0)
			w.clock.Advance(3 * time.Minute)
			if _, err := w.sendIn(production, w.phone(production, german(999))); !errors.Is(err, tc.want) {
				t.Errorf("Challenge of a new number = %v; want %v", err, tc.want)
			}
		})
	}
}

// A program that enters one code of each number gets no more messages for it than
// the limits of the numbers and of the day.
func TestPumpingOfProvenNumbersIsBounded(t *testing.T) {
	w := newFixture(t, mfa.Options{SMS: delivery.Rules{Daily: 100}})
	var numbers []mfa.FactorID
	for i := range 20 {
		numbers = append(numbers, w.phone(production, german(i)))
		w.prove(production, numbers[i])
	}
	w.clock.Advance(25 * time.Hour)
	sent := 0
	for range 30 {
		for _, f := range numbers {
			switch _, err := w.sendIn(production, f); {
			case err == nil:
				sent++
			case !errors.Is(err, delivery.ErrSendLimit) && !errors.Is(err, delivery.ErrDailyLimit):
				t.Fatal(err)
			}
		}
		w.clock.Advance(time.Minute)
	}
	if sent != 100 {
		t.Errorf("%d messages were sent; want the 100 of the day", sent)
	}
}

// A failed message is given back to the budget that it was counted in.
func TestFailureIsGivenBackToItsBudget(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	owner, stranger := w.phone(production, adasPhone), w.phone(production, adasPhone)
	w.prove(production, owner)
	w.clock.Advance(2 * time.Hour)
	if _, err := w.sendIn(production, stranger); err != nil {
		t.Fatal(err)
	}
	w.carrier.Lost = errCarrier
	for range 3 {
		if _, err := w.sendIn(production, owner); !errors.Is(err, delivery.ErrNotDelivered) {
			t.Fatalf("Challenge = %v; want %v", err, delivery.ErrNotDelivered)
		}
	}
	w.carrier.Lost = nil
	if _, err := w.sendIn(production, stranger); !errors.Is(err, delivery.ErrSendLimit) {
		t.Errorf("the stranger again = %v; want %v", err, delivery.ErrSendLimit)
	}
	w.wantCounters("given back", map[string]string{"+160735": "1 sent, 0 verified", "US": "2 sent, 1 verified"})
	if _, err := w.sendIn(production, owner); err != nil {
		t.Errorf("the owner after the failures = %v", err)
	}
}
