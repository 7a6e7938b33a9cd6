package mfa_test

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
)

// A numberRefusal is the error of a provider that refuses the phone number.
type numberRefusal struct{ perhapsSent bool }

func (numberRefusal) Error() string   { return "opted out (21610)" }
func (numberRefusal) Is(e error) bool { return e == delivery.ErrRecipientRefused }
func (e numberRefusal) Timeout() bool { return e.perhapsSent }

func TestRecipientThatIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		fail func(*mfatest.Carrier)
	}{
		{"by the provider", func(c *mfatest.Carrier) { c.Lost = numberRefusal{} }},
		{"by the second provider, and the first may have sent it", func(c *mfatest.Carrier) { c.Unsure = numberRefusal{perhapsSent: true} }},
	} {
		for _, once := range []*idempotency.Request[mfa.IssuedChallenge]{nil, onceKey[mfa.IssuedChallenge]("k", "r")} {
			t.Run(tc.name, func(t *testing.T) {
				w := newFixture(t, mfa.Options{SMS: delivery.Rules{Countries: []string{"US"}}})
				f := w.phone(production, adasPhone)
				challenge := func() error {
					_, err := w.Challenge(t.Context(), production, f, mfa.ChallengeParams{}, once)
					return err
				}
				tc.fail(w.carrier)
				if err := challenge(); !errors.Is(err, delivery.ErrRecipientRefused) || errors.Is(err, delivery.ErrNotDelivered) {
					t.Fatalf("Challenge = %v; want %v alone", err, delivery.ErrRecipientRefused)
				}
				events := w.events(f.Bucket())
				last := events[len(events)-1]
				if last.Type != mfa.ChallengeVoided || last.Reason != "recipient_refused" || last.Factor != f {
					t.Errorf("last event is %+v", last)
				}
				if w.kept(last.Challenge) != nil {
					t.Error("the challenge is still there")
				}
				// It counts for the number and the day, but not against the prefix.
				w.wantCounters("a refusal", map[string]string{"US": "1 sent, 0 verified", "all": "1 sent, 0 verified"})
				if wait := waitIn(t, challenge(), delivery.ErrSendLimit); wait != 30*time.Second {
					t.Errorf("wait is %v; want 30s", wait)
				}
				w.carrier.Lost, w.carrier.Unsure = nil, nil
				w.clock.Advance(30 * time.Second)
				if err := challenge(); err != nil {
					t.Errorf("Challenge after the refusal was lifted = %v", err)
				}
			})
		}
	}
}

func TestResendThatIsRefused(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c := w.challenge(w.phone(sandbox, adasPhone))
	code := w.carrier.Last().Code.Reveal()
	w.clock.Advance(30 * time.Second)
	w.carrier.Lost = numberRefusal{}
	if _, err := w.resend(c.ID); !errors.Is(err, delivery.ErrRecipientRefused) {
		t.Fatalf("Resend = %v; want %v", err, delivery.ErrRecipientRefused)
	}
	if got := w.messageEvents(c.ID); got[len(got)-1] != "failed recipient_refused" {
		t.Errorf("events are %q", got)
	}
	if left := w.ResendsLeft(w.kept(c.ID)); left != 3 {
		t.Errorf("%d resends are left; want 3", left)
	}
	w.mustVerify(c.ID, code, true)
}
