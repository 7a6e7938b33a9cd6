package mfa_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
)

var errCarrier = errors.New("carrier down")

func TestMessageThatFails(t *testing.T) {
	for _, tc := range []struct {
		name string
		fail func(c *mfatest.Carrier, err error)
		sent int
	}{
		{"error and not sent", func(c *mfatest.Carrier, err error) { c.Lost = err }, 0},
		{"error but sent", func(c *mfatest.Carrier, err error) { c.Unsure = err }, 1},
	} {
		for _, once := range []*idempotency.Request[mfa.IssuedChallenge]{nil, onceKey[mfa.IssuedChallenge]("k", "r"), claimed(onceKey[mfa.IssuedChallenge]("k", "r"))} {
			name := ", without a key"
			if once != nil {
				name = fmt.Sprintf(", with a key, claimed %v", once.TargetInBody)
			}
			t.Run(tc.name+name, func(t *testing.T) {
				w := newFixture(t, mfa.Options{})
				f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
				challenge := func() (mfa.IssuedChallenge, error) {
					return w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once)
				}
				tc.fail(w.carrier, errCarrier)
				if _, err := challenge(); !errors.Is(err, delivery.ErrNotDelivered) || !strings.Contains(err.Error(), errCarrier.Error()) {
					t.Fatalf("Challenge = %v; want %v because of %v", err, delivery.ErrNotDelivered, errCarrier)
				}
				if w.carrier.Sent() != tc.sent {
					t.Fatalf("%d messages were sent", w.carrier.Sent())
				}
				if tc.sent > 0 { // the challenge is void even for who got the message
					m := w.carrier.Last()
					if _, err := w.verify(m.Challenge, m.Code.Reveal()); !errors.Is(err, mfa.ErrNotFound) {
						t.Errorf("Verify = %v; want %v", err, mfa.ErrNotFound)
					}
				}
				events := w.events(f.Bucket())
				if last := events[len(events)-1]; last.Type != mfa.ChallengeVoided || last.Reason != "delivery_failed" || last.Factor != f {
					t.Errorf("last event is %+v", last)
				}

				tc.fail(w.carrier, nil)
				c, err := challenge() // at once: the failure was not counted
				if err != nil {
					t.Fatalf("the same request again = %v", err)
				}
				w.mustVerify(c.ID, w.carrier.Last().Code.Reveal(), true)
				if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil); !errors.Is(err, delivery.ErrSendLimit) {
					t.Errorf("Challenge just after = %v; want %v", err, delivery.ErrSendLimit)
				}
			})
		}
	}
}

func TestManyFailuresCostNothing(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
	w.carrier.Lost = errCarrier
	for range 30 {
		if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil); !errors.Is(err, delivery.ErrNotDelivered) {
			t.Fatalf("Challenge = %v; want %v", err, delivery.ErrNotDelivered)
		}
	}
	w.carrier.Lost = nil
	w.challenge(f)
}

// A key may come again after its time. What its second message took is given
// back, and not what its first one took, which has been sent.
func TestFailureGivesBackItsOwnMessage(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
	once := onceKey[mfa.IssuedChallenge]("retry-0", "r")
	once.Keep = 30 * time.Second
	if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(5 * time.Minute)
	w.carrier.Lost = errCarrier
	if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once); !errors.Is(err, delivery.ErrNotDelivered) {
		t.Fatalf("Challenge = %v; want %v", err, delivery.ErrNotDelivered)
	}
	w.carrier.Lost = nil
	if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil); err != nil {
		t.Errorf("Challenge = %v, though nothing was sent for 5 min", err)
	}
}

func TestKeyThatComesAgainIsCountedAgain(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
	once := onceKey[mfa.IssuedChallenge]("retry-0", "r")
	once.Keep = 30 * time.Second
	for n := range 5 { // each a new request, as the answer of the last is forgotten
		if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		w.clock.Advance(30 * time.Second)
	}
	_, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once)
	if wait := waitIn(t, err, delivery.ErrSendLimit); wait != 10*time.Minute-150*time.Second || w.carrier.Sent() != 5 {
		t.Errorf("wait is %v after %d messages; want the sixth in 10 min refused", wait, w.carrier.Sent())
	}
}

func TestCallerHangsUpDuringSend(t *testing.T) {
	t.Run("message sent", func(t *testing.T) {
		w := newFixture(t, mfa.Options{})
		f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
		ctx, hangUp := context.WithCancel(t.Context())
		w.carrier.During = func(ctx context.Context) error {
			hangUp()
			return ctx.Err()
		}
		once := onceKey[mfa.IssuedChallenge]("k", "r")
		c, err := w.Challenge(ctx, sandbox, f, mfa.ChallengeParams{}, once)
		if err != nil {
			t.Fatalf("Challenge = %v; want the message sent all the same", err)
		}
		w.carrier.During = nil
		again, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once)
		if err != nil || replayed(again) != told(c, nil) {
			t.Errorf("the same request again = %v; want the answer that was not heard", err)
		}
		w.mustVerify(c.ID, w.carrier.Last().Code.Reveal(), true)
	})
	t.Run("message lost", func(t *testing.T) {
		w := newFixture(t, mfa.Options{})
		f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
		ctx, hangUp := context.WithCancel(t.Context())
		w.carrier.During = func(context.Context) error {
			hangUp()
			return errCarrier
		}
		once := onceKey[mfa.IssuedChallenge]("k", "r")
		if _, err := w.Challenge(ctx, sandbox, f, mfa.ChallengeParams{}, once); !errors.Is(err, delivery.ErrNotDelivered) || errors.Is(err, context.Canceled) {
			t.Fatalf("Challenge = %v; want %v, with all cleared up", err, delivery.ErrNotDelivered)
		}
		w.carrier.During = nil
		if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once); err != nil {
			t.Errorf("the same request again = %v", err)
		}
	})
	t.Run("before anything was done", func(t *testing.T) {
		w := newFixture(t, mfa.Options{})
		f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
		ctx, hangUp := context.WithCancel(t.Context())
		hangUp()
		_, err := w.Challenge(ctx, sandbox, f, mfa.ChallengeParams{}, nil)
		switch {
		case err == nil && w.carrier.Sent() == 1: // too late to stop
		case errors.Is(err, context.Canceled) && w.carrier.Sent() == 0:
			w.challenge(f)
		default:
			t.Errorf("Challenge = %v, and %d messages were sent", err, w.carrier.Sent())
		}
	})
}

func TestCarrierThatDoesNotAnswer(t *testing.T) {
	w := newFixture(t, mfa.Options{SendTimeout: time.Millisecond})
	f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
	w.carrier.During = func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	once := onceKey[mfa.IssuedChallenge]("k", "r")
	_, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once)
	if !errors.Is(err, delivery.ErrNotDelivered) {
		t.Errorf("Challenge = %v; want %v after the timeout", err, delivery.ErrNotDelivered)
	}
	// It may have been sent: the same request again is another message, and too soon.
	if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once); !errors.Is(err, delivery.ErrSendLimit) {
		t.Errorf("the same again: %v; want %v", err, delivery.ErrSendLimit)
	}
}

// leaky fails as HTTP clients do, with the URL in its error.
type leaky struct{ code string }

func (l *leaky) Send(_ context.Context, m delivery.Message) (delivery.Accepted, error) {
	l.code = m.Code.Reveal()
	query := url.Values{"to": {m.To.Text()}, "text": {m.Text.Reveal()}}
	return delivery.Accepted{}, &url.Error{Op: "Get", URL: "http://gateway/send?" + query.Encode(), Err: errCarrier}
}

func TestErrorsOfASenderShowNeitherNumberNorCode(t *testing.T) {
	w, sender := newFixture(t, mfa.Options{}), new(leaky)
	f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
	s, err := mfa.NewService(w.store, w.keys, nil, mfa.Options{Sandbox: sender, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil)
	if !errors.Is(err, delivery.ErrNotDelivered) || !strings.Contains(err.Error(), "gateway") {
		t.Fatalf("Challenge = %v; want %v by the gateway", err, delivery.ErrNotDelivered)
	}
	for _, shown := range []string{sender.code, strings.TrimPrefix(adasPhone, "+")} {
		if strings.Contains(err.Error(), shown) {
			t.Errorf("the error shows %q: %v", shown, err)
		}
	}
}

func TestWithoutASender(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	s, err := mfa.NewService(w.store, w.keys, nil, mfa.Options{SMS: delivery.Rules{Countries: []string{"US"}}, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	for env, want := range map[mfa.Caller]error{sandbox: delivery.ErrSandboxNumber, production: delivery.ErrNotDelivered} {
		f, err := s.Enroll(t.Context(), env, mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Challenge(t.Context(), env, f.ID, mfa.ChallengeParams{}, nil); !errors.Is(err, want) {
			t.Errorf("Challenge in %q = %v; want %v", env.Name, err, want)
		}
	}
	if n := w.count(mfa.ChallengeCreated); n != 0 {
		t.Errorf("%d challenges were created that nobody can answer", n)
	}
}
