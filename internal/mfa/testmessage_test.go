package mfa_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// sendTest sends a test message as an operator, and returns the events that it appended.
func sendTest(t *testing.T, w *fixture, by mfa.Caller, number string) (mfa.TestMessage, []mfa.Event, error) {
	t.Helper()
	bucket := mfa.UserBucket(by.ID, "")
	before := len(w.events(bucket))
	m, err := w.SendTest(t.Context(), by, delivery.NewPhone(number))
	return m, w.events(bucket)[before:], err
}

func tester() mfa.Caller {
	by := production
	by.Key, by.Operator, by.Reason = "", "ada", "ticket-4711"
	return by
}

func TestSendTest(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	w.carrier.Accepted = delivery.Accepted{Provider: "acme", ID: "SM1"}
	m, events, err := sendTest(t, w, tester(), adasPhone)
	if want := (mfa.TestMessage{Country: "US", Segments: 1, Provider: "acme", ID: "SM1"}); err != nil || m != want {
		t.Fatalf("SendTest = %+v, %v; want %+v", m, err, want)
	}
	if got := w.carrier.Last(); got.Text.Reveal() != "Countersign test message" || got.To.Text() != adasPhone || got.Code.Reveal() != "" {
		t.Errorf("the message to %s is %q", got.To.Text(), got.Text.Reveal())
	}
	if len(events) != 1 {
		t.Fatalf("events = %+v; want one", events)
	}
	e := events[0]
	if e.Type != mfa.TestMessageSent || e.Caller != "operator:ada" || e.Reason != "ticket-4711" || e.Environment != production.ID ||
		e.Message.Provider != "acme" || e.Message.Country != "US" || e.Message.Prefix == "" || e.Message.Segments != 1 {
		t.Errorf("event = %+v", e)
	}

	// It counts for the limits of the number and of the country, but not for the prefix.
	if _, events, err = sendTest(t, w, tester(), adasPhone); !errors.Is(err, delivery.ErrSendLimit) || len(events) != 0 {
		t.Errorf("the second message at once = %v, %v; want %v", events, err, delivery.ErrSendLimit)
	}
	counted := map[string]int{}
	for _, c := range w.messageCounts() {
		counted[c.Of] = c.Sent
	}
	if counted["US"] != 1 || counted["all"] != 1 || counted["+16073"] != 0 {
		t.Errorf("counts = %v", counted)
	}
	w.clock.Advance(31 * time.Second)
	if _, _, err = sendTest(t, w, tester(), adasPhone); err != nil {
		t.Errorf("after the spacing: %v", err)
	}
}

func TestSendTestIsRefused(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	by := tester()
	other := by
	other.Environment = sandbox.Environment
	for name, tc := range map[string]struct {
		by     mfa.Caller
		number string
		want   error
	}{
		"a sandbox":              {other, adasPhone, delivery.ErrSandboxNumber},
		"another country":        {by, "+33612345678", delivery.ErrCountry},
		"a premium-rate number":  {by, "+19002345678", delivery.ErrNumberType},
		"a test number":          {by, "+15005550006", delivery.ErrNumberType},
		"a test number, sandbox": {other, "+15005550006", delivery.ErrSandboxNumber},
	} {
		if _, events, err := sendTest(t, w, tc.by, tc.number); !errors.Is(err, tc.want) || len(events) != 0 {
			t.Errorf("%s: SendTest = %v, %v; want %v and no event", name, events, err, tc.want)
		}
	}
	if w.carrier.Sent() != 0 {
		t.Errorf("%d messages were sent", w.carrier.Sent())
	}
}

func TestSendTestThatFails(t *testing.T) {
	for name, tc := range map[string]struct {
		lost   error
		want   error
		events int
		again  error // of another message at once
	}{
		"not accepted":       {fmt.Errorf("acme does not serve %s", adasPhone), delivery.ErrNotDelivered, 0, delivery.ErrNotDelivered},
		"number refused":     {delivery.ErrRecipientRefused, delivery.ErrRecipientRefused, 0, delivery.ErrSendLimit},
		"may have been sent": {timeout{}, delivery.ErrUncertain, 1, delivery.ErrSendLimit},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			w.carrier.Lost = tc.lost
			m, events, err := sendTest(t, w, tester(), adasPhone)
			if !errors.Is(err, tc.want) || m.Provider != "" || m.Segments != 1 || len(events) != tc.events {
				t.Errorf("SendTest = %+v, %v with events %v; want %v and %d events", m, err, events, tc.want, tc.events)
			}
			if strings.Contains(err.Error(), adasPhone[1:]) || strings.Contains(err.Error(), "[code]") {
				t.Errorf("the error is %q", err)
			}
			if _, _, err = sendTest(t, w, tester(), adasPhone); !errors.Is(err, tc.again) {
				t.Errorf("another message at once = %v; want %v", err, tc.again)
			}
		})
	}
}
