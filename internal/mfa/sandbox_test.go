package mfa_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
)

// apart returns a Service of w that sends production messages to a separate carrier, and
// the messages of sandboxes to inbox.
func (w *fixture) apart(inbox delivery.Sender) (*mfa.Service, *mfatest.Carrier) {
	w.t.Helper()
	provider := &mfatest.Carrier{}
	s, err := mfa.NewService(w.store, w.keys, provider, mfa.Options{
		SMS: delivery.Rules{Countries: []string{"US", "DE"}}, Sandbox: inbox, Now: w.clock.Now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s, provider
}

func TestTestNumbers(t *testing.T) {
	for _, tc := range []struct {
		phone  string
		want   error
		events []string
	}{
		{"+15005550006", nil, []string{"queued", "delivered"}},
		{"+15005550001", delivery.ErrNotDelivered, nil},
		{"+15005550002", nil, []string{"queued", "undelivered unreachable"}},
		{"+15005550003", delivery.ErrCountry, nil},
		{"+15005550004", delivery.ErrNumberType, nil},
		{"+15005550009", delivery.ErrRecipientRefused, nil},
		{"+15005550007", nil, []string{"queued"}},
		{"+15005550008", delivery.ErrSendLimit, nil},
	} {
		for _, inbox := range []*mfatest.Carrier{nil, {}} {
			t.Run(tc.phone, func(t *testing.T) {
				w := newFixture(t, mfa.Options{})
				s, provider := w.apart(nil)
				if inbox != nil {
					s, provider = w.apart(inbox)
				}
				f := w.phone(sandbox, tc.phone)
				for range 30 { // at once: there is no limit
					c, err := s.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil)
					if !errors.Is(err, tc.want) {
						t.Fatalf("Challenge = %v; want %v", err, tc.want)
					}
					if tc.want != nil {
						if tc.want == delivery.ErrSendLimit && waitIn(t, err, delivery.ErrSendLimit) != 30*time.Second {
							t.Errorf("wait is %v; want 30s", err)
						}
						continue
					}
					if got := w.messageEvents(c.ID); !slices.Equal(got, tc.events) {
						t.Errorf("events are %q; want %q", got, tc.events)
					}
					if c.Code.Reveal() != "" {
						t.Error("the reply holds the code")
					}
					w.mustVerify(c.ID, wrong, false)
					w.mustVerify(c.ID, "123456", true)
				}
				if provider.Sent() != 0 {
					t.Errorf("the provider got %d messages; want none", provider.Sent())
				}
				if inbox == nil {
					return
				}
				want := 30 // one for each challenge
				if tc.want != nil {
					want = 0
				}
				if inbox.Sent() != want {
					t.Fatalf("the inbox got %d messages; want %d", inbox.Sent(), want)
				}
				if want > 0 && (inbox.Last().Code.Reveal() != "123456" || inbox.Last().To.Text() != tc.phone) {
					t.Errorf("the inbox got the code %s", inbox.Last().Code.Reveal())
				}
			})
		}
	}
}

func TestResendToATestNumber(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c := w.challenge(w.phone(sandbox, "+15005550002"))
	for n := range 3 {
		if _, err := w.resend(c.ID); err != nil {
			t.Errorf("resend %d, at once: %v", n, err)
		}
	}
	if _, err := w.resend(c.ID); !errors.Is(err, mfa.ErrResendLimit) {
		t.Errorf("a fourth resend = %v; want %v", err, mfa.ErrResendLimit)
	}
	if n := len(w.kept(c.ID).Messages); n != 4 || w.carrier.Sent() != 4 {
		t.Errorf("%d messages are kept, %d are in the inbox; want 4 of each", n, w.carrier.Sent())
	}
	w.mustVerify(c.ID, "123456", true)
}

func TestLateDelivery(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c := w.challenge(w.phone(sandbox, "+15005550007"))
	start := w.clock.Now()
	for after, want := range map[time.Duration]delivery.State{
		0: delivery.Queued, 20*time.Second - time.Millisecond: delivery.Queued, 20 * time.Second: delivery.Delivered, time.Hour: delivery.Delivered,
	} {
		kept := w.kept(c.ID)
		d, ok := kept.Delivery(start.Add(after))
		changed := map[delivery.State]time.Time{delivery.Queued: start, delivery.Delivered: start.Add(20 * time.Second)}[want]
		if !ok || d.State != want || d.UpdatedAt != changed {
			t.Errorf("after %v the delivery is %+v; want %s since %v", after, d, want, changed)
		}
	}
}

func TestFictionalNumbersInProduction(t *testing.T) {
	opts := mfa.Options{SMS: delivery.Rules{Countries: []string{"US", "CA", "AU"}}}
	for phone, want := range map[string]error{
		"+15005550006": delivery.ErrNumberType, "+15005550001": delivery.ErrNumberType, "+15005550003": delivery.ErrNumberType,
		"+15005550008": delivery.ErrNumberType, "+15005559999": delivery.ErrNumberType,
		"+12125550100": delivery.ErrNumberType, "+12125550199": delivery.ErrNumberType, "+14165550142": delivery.ErrNumberType,
		"+61491570006": delivery.ErrNumberType, "+61491570156": delivery.ErrNumberType, "+61491571491": delivery.ErrNumberType, "+491713920012": delivery.ErrNumberType,
		"+12125550200": nil, "+12125551212": nil, "+14165552123": nil, "+61491571006": nil, adasPhone: nil,
	} {
		t.Run(phone, func(t *testing.T) {
			w := newFixture(t, opts)
			e, err := w.Enroll(t.Context(), production, mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: phone}, nil)
			if (want == nil) != (err == nil) || want != nil && !errors.Is(err, mfa.ErrInvalid) {
				t.Fatalf("Enroll = %v", err)
			}
			if err != nil {
				// One that was enrolled before it was refused gets no message.
				was := production
				was.Production = false
				e.ID = w.phone(was, phone)
			}
			if _, err := w.sendIn(production, e.ID); !errors.Is(err, want) {
				t.Errorf("Challenge = %v; want %v", err, want)
			}
			if sent := w.carrier.Sent(); (sent == 1) != (want == nil) {
				t.Errorf("%d messages were sent", sent)
			}
		})
	}
}

func TestSandboxesSendToNoProvider(t *testing.T) {
	numbers := []string{adasPhone, gracesPhone, "+12125550100", "+15005550005", "+15005550006"}
	for _, inbox := range []*mfatest.Carrier{nil, {}} {
		w := newFixture(t, mfa.Options{})
		s, provider := w.apart(nil)
		if inbox != nil {
			s, provider = w.apart(inbox)
		}
		for _, number := range numbers {
			c, err := s.Challenge(t.Context(), sandbox, w.phone(sandbox, number), mfa.ChallengeParams{}, nil)
			if inbox == nil && number != "+15005550006" {
				if !errors.Is(err, delivery.ErrSandboxNumber) {
					t.Errorf("Challenge of %s without an inbox = %v; want %v", number, err, delivery.ErrSandboxNumber)
				}
				continue
			}
			if err != nil {
				t.Fatalf("Challenge of %s = %v", number, err)
			}
			w.clock.Advance(30 * time.Second)
			if _, err := s.Resend(t.Context(), sandbox, c.ID, nil); err != nil {
				t.Errorf("Resend to %s = %v", number, err)
			}
		}
		if inbox != nil && inbox.Sent() != 2*len(numbers) {
			t.Errorf("the inbox got %d messages; want two for each number", inbox.Sent())
		}
		if provider.Sent() != 0 {
			t.Errorf("the provider got %d messages of a sandbox", provider.Sent())
		}
		f := w.phone(production, adasPhone)
		if _, err := s.Challenge(t.Context(), production, f, mfa.ChallengeParams{}, nil); err != nil || provider.Sent() != 1 {
			t.Errorf("Challenge in production = %v, and the provider got %d messages; want 1", err, provider.Sent())
		}
		if inbox != nil && inbox.Sent() != 2*len(numbers) {
			t.Error("the inbox got the message of a production environment")
		}
	}
}
