package mfa_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
)

func TestResendSendsTheSameMessage(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.phone(sandbox, adasPhone)
	c, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{Template: "{{code}} it is"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, made := w.carrier.Last(), w.clock.Now()
	for n := 2; n <= 4; n++ {
		w.clock.Advance(30 * time.Second)
		again, err := w.resend(c.ID)
		if err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		if again.ID != c.ID || again.Factor != f || again.ExpiresAt != c.ExpiresAt || again.UpdatedAt != c.UpdatedAt || len(again.Messages) != n {
			t.Errorf("Resend = %+v; want it as %+v, with %d messages", again.Challenge, c.Challenge, n)
		}
		m := w.carrier.Last()
		got := fmt.Sprint(m.Environment, m.Challenge, m.Number, m.To.Text(), m.Text.Reveal(), m.Code.Reveal(), m.At.Sub(made), m.ExpiresAt)
		want := fmt.Sprint(sandbox.ID, c.ID, n, adasPhone, first.Text.Reveal(), first.Code.Reveal(), time.Duration(n-1)*30*time.Second, first.ExpiresAt)
		if got != want {
			t.Errorf("message is %s; want %s", got, want)
		}
		if left := w.ResendsLeft(&again.Challenge); left != 4-n {
			t.Errorf("%d resends are left after message %d", left, n)
		}
	}
	w.clock.Advance(c.ExpiresAt.Add(-1).Sub(w.clock.Now()))
	w.mustVerify(c.ID, first.Code.Reveal(), true)
}

func TestResendIsRefused(t *testing.T) {
	after := func(d time.Duration) func(*fixture, mfa.FactorID, mfa.ChallengeID) {
		return func(w *fixture, _ mfa.FactorID, _ mfa.ChallengeID) { w.clock.Advance(d) }
	}
	guess := func(n int) func(*fixture, mfa.FactorID, mfa.ChallengeID) {
		return func(w *fixture, _ mfa.FactorID, c mfa.ChallengeID) {
			w.clock.Advance(30 * time.Second)
			for range n {
				w.mustVerify(c, wrong, false)
			}
		}
	}
	for _, tc := range []struct {
		name   string
		limits mfa.Limits
		do     func(*fixture, mfa.FactorID, mfa.ChallengeID)
		env    mfa.Caller
		want   error // nil if it is not
	}{
		{"at once", mfa.Limits{}, after(0), sandbox, delivery.ErrSendLimit},
		{"almost 30 s later", mfa.Limits{}, after(30*time.Second - time.Millisecond), sandbox, delivery.ErrSendLimit},
		{"30 s later", mfa.Limits{}, after(30 * time.Second), sandbox, nil},
		{"in another environment", mfa.Limits{}, after(time.Minute), production, mfa.ErrNotFound},
		{"in the last instant", mfa.Limits{}, after(10*time.Minute - time.Millisecond), sandbox, nil},
		{"at expiry", mfa.Limits{}, after(10 * time.Minute), sandbox, mfa.ErrExpired},
		{"attempts left", mfa.Limits{}, guess(4), sandbox, nil},
		{"attempts used up", mfa.Limits{}, guess(5), sandbox, mfa.ErrTooManyAttempts},
		{"factor that has to wait", mfa.Limits{FreeFailures: 1}, guess(2), sandbox, nil},
		{"factor locked for good", mfa.Limits{FactorFailures: 2}, guess(2), sandbox, mfa.ErrTooManyAttempts},
		{"user locked for good", mfa.Limits{UserFailures: 2}, guess(2), sandbox, mfa.ErrTooManyAttempts},
		{"verified", mfa.Limits{}, func(w *fixture, _ mfa.FactorID, c mfa.ChallengeID) {
			w.clock.Advance(time.Minute)
			w.mustVerify(c, w.carrier.Last().Code.Reveal(), true)
		}, sandbox, mfa.ErrAlreadyVerified},
		{"factor deleted", mfa.Limits{}, func(w *fixture, f mfa.FactorID, _ mfa.ChallengeID) {
			w.clock.Advance(time.Minute)
			if err := w.DeleteFactor(t.Context(), sandbox, f); err != nil {
				t.Fatal(err)
			}
		}, sandbox, mfa.ErrNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{Limits: tc.limits})
			f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, User: "ada", PhoneNumber: adasPhone}).ID
			other := w.phone(sandbox, adasPhone)
			c := w.challenge(f)
			tc.do(w, f, c.ID)
			_, err := w.Resend(t.Context(), tc.env, c.ID, nil)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Resend = %v; want %v", err, tc.want)
			}
			if tc.want == nil {
				return
			}
			if n := w.carrier.Sent(); n != 1 {
				t.Errorf("%d messages were sent", n)
			}
			if now := w.clock.Now(); now.Before(c.CreatedAt.Add(30 * time.Second)) {
				w.clock.Advance(c.CreatedAt.Add(30 * time.Second).Sub(now))
			}
			if _, err := w.sendIn(sandbox, other); err != nil {
				t.Errorf("Challenge = %v, though the refused message counts for nothing", err)
			}
		})
	}
}

func TestOnlySentCodesAreSentAgain(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	for _, typ := range []mfa.FactorType{mfa.TOTP, mfa.GenericOTP} {
		c := w.challenge(w.enroll(mfa.EnrollParams{Type: typ}).ID)
		if _, err := w.resend(c.ID); !errors.Is(err, mfa.ErrNotSent) {
			t.Errorf("Resend for %s = %v; want %v", typ, err, mfa.ErrNotSent)
		}
	}
	if _, err := w.resend(mfa.ChallengeID{1}); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("Resend of no challenge = %v; want %v", err, mfa.ErrNotFound)
	}
	if n := w.carrier.Sent(); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

func TestResendLimit(t *testing.T) {
	for _, most := range []int{1, 3, 5} {
		limits := often
		limits.Resends = most
		w := newFixture(t, mfa.Options{Limits: limits})
		c := w.challenge(w.phone(sandbox, adasPhone))
		for n := range most {
			w.clock.Advance(time.Second)
			if _, err := w.resend(c.ID); err != nil {
				t.Fatalf("resend %d of %d: %v", n+1, most, err)
			}
		}
		w.clock.Advance(time.Second)
		if _, err := w.resend(c.ID); !errors.Is(err, mfa.ErrResendLimit) || w.carrier.Sent() != 1+most {
			t.Errorf("Resend = %v after %d messages; want %v", err, w.carrier.Sent(), mfa.ErrResendLimit)
		}
		w.mustVerify(c.ID, w.carrier.Last().Code.Reveal(), true)
	}
}

// Resends take from the same five messages in 10 min as challenges.
func TestResendsCountForThePhoneNumber(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.phone(sandbox, adasPhone)
	c := w.challenge(f)
	for range 3 {
		w.clock.Advance(30 * time.Second)
		if _, err := w.resend(c.ID); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.Advance(30 * time.Second)
	c = w.challenge(f)
	w.clock.Advance(30 * time.Second)
	for range 2 {
		_, err := w.resend(c.ID)
		if wait := waitIn(t, err, delivery.ErrSendLimit); wait != 10*time.Minute-150*time.Second {
			t.Errorf("wait for the sixth message in 10 min is %v", wait)
		}
	}
	_, err := w.sendIn(sandbox, w.phone(sandbox, adasPhone))
	waitIn(t, err, delivery.ErrSendLimit)
}

func TestResendThatFails(t *testing.T) {
	panics := func(context.Context) error { panic("gateway client") }
	for _, tc := range []struct {
		name    string
		fail    func(*mfatest.Carrier)
		counted bool
	}{
		{"error and not sent", func(c *mfatest.Carrier) { c.Lost = errCarrier }, false},
		{"error but sent", func(c *mfatest.Carrier) { c.Unsure = errCarrier }, false},
		{"sent, and no answer", func(c *mfatest.Carrier) { c.Unsure = context.DeadlineExceeded }, true},
		{"panic", func(c *mfatest.Carrier) { c.During = panics }, false},
	} {
		for _, once := range []*idempotency.Request[mfa.IssuedChallenge]{nil, onceKey[mfa.IssuedChallenge]("k", "r")} {
			t.Run(fmt.Sprintf("%s, with a key %v", tc.name, once != nil), func(t *testing.T) {
				w := newFixture(t, mfa.Options{Limits: mfa.Limits{Sends: []delivery.Window{{Count: 10, Span: time.Hour}}}})
				c := w.challenge(w.phone(sandbox, adasPhone))
				code := w.carrier.Last().Code.Reveal()
				before := w.delivery(c.ID)
				resend := func() (err error) {
					defer func() {
						if recover() != nil {
							err = delivery.ErrNotDelivered
						}
					}()
					_, err = w.Resend(t.Context(), sandbox, c.ID, once)
					return err
				}
				// A message that may have been sent uses up a resend and its number.
				rounds, left := 4, 3 // more than there may be resends
				if tc.counted {
					rounds, left = 1, 2
				}
				for n := range rounds {
					w.clock.Advance(30 * time.Second)
					tc.fail(w.carrier)
					if err := resend(); !errors.Is(err, delivery.ErrNotDelivered) {
						t.Fatalf("Resend %d = %v; want %v", n, err, delivery.ErrNotDelivered)
					}
					kept := w.kept(c.ID)
					if got := w.ResendsLeft(kept); got != left || len(kept.Messages) != 2 || kept.UpdatedAt != c.UpdatedAt {
						t.Errorf("%d messages, updated at %v, with %d resends left; want 2, as it was, and %d", len(kept.Messages), kept.UpdatedAt, got, left)
					}
					if !tc.counted && !reflect.DeepEqual(w.delivery(c.ID), before) {
						t.Errorf("the delivery is %+v; want it as it was, %+v", w.delivery(c.ID), before)
					}
					w.carrier.Lost, w.carrier.Unsure, w.carrier.During = nil, nil, nil
				}
				if n := w.count("message.failed"); n != rounds {
					t.Errorf("%d events tell of a message that failed; want %d", n, rounds)
				}
				if tc.counted { // it may have been sent
					if wait := waitIn(t, resend(), delivery.ErrSendLimit); wait != 30*time.Second {
						t.Errorf("wait is %v; want 30s", wait)
					}
					w.clock.Advance(30 * time.Second)
				}
				if err := resend(); err != nil {
					t.Fatalf("the same request again = %v", err)
				}
				if got := w.ResendsLeft(w.kept(c.ID)); got != left-1 {
					t.Errorf("%d resends are left; want %d", got, left-1)
				}
				if again := w.carrier.Last(); again.Code.Reveal() != code || again.Number != 5-left {
					t.Errorf("message %d has another code: %v", again.Number, again.Code.Reveal() != code)
				}
				w.mustVerify(c.ID, code, true)
			})
		}
	}
}

func TestResendsOfUnknownFateAreCounted(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{Sends: often.Sends, SendSpacing: often.SendSpacing}})
	c := w.challenge(w.phone(sandbox, adasPhone))
	w.carrier.Unsure = context.DeadlineExceeded
	numbers := map[int]bool{w.carrier.Last().Number: true}
	for range 10 {
		w.clock.Advance(time.Second)
		w.resend(c.ID)
		numbers[w.carrier.Last().Number] = true
	}
	if n := w.carrier.Sent(); n != 4 || len(numbers) != 4 {
		t.Errorf("%d messages with the code of one challenge reached the phone, under %d numbers; want 4", n, len(numbers))
	}
}

func TestFailedResendLeavesTheCode(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c := w.challenge(w.phone(sandbox, adasPhone))
	w.clock.Advance(30 * time.Second)
	w.carrier.Lost = errCarrier
	if _, err := w.resend(c.ID); !errors.Is(err, delivery.ErrNotDelivered) {
		t.Fatalf("Resend = %v; want %v", err, delivery.ErrNotDelivered)
	}
	w.mustVerify(c.ID, w.carrier.Last().Code.Reveal(), true)
}

func TestResendIsReplayed(t *testing.T) {
	for _, claim := range []bool{false, true} {
		w := newFixture(t, mfa.Options{})
		f := w.phone(sandbox, adasPhone)
		c := w.challenge(f)
		code := w.carrier.Last().Code.Reveal()
		w.clock.Advance(30 * time.Second)
		once := onceKey[mfa.IssuedChallenge]("k", "r")
		once.TargetInBody = claim
		resend := func() (mfa.IssuedChallenge, error) { return w.Resend(t.Context(), sandbox, c.ID, once) }
		storm(t, resend)
		for _, later := range []func(){
			func() { w.clock.Advance(time.Minute) },
			func() { w.mustVerify(c.ID, code, true) },
			func() { w.clock.Advance(10 * time.Minute) },
		} {
			later()
			if err := fresh(resend()); !isReplay(err) {
				t.Errorf("the same request later = %v; want its answer", err)
			}
		}
		other := onceKey[mfa.IssuedChallenge]("k", "another")
		if _, err := w.Resend(t.Context(), sandbox, c.ID, other); !errors.Is(err, mfa.ErrKeyReused) {
			t.Errorf("another request under the key = %v; want %v", err, mfa.ErrKeyReused)
		}
		if n := w.carrier.Sent(); n != 2 {
			t.Errorf("%d messages were sent; want 2", n)
		}
	}
}

// A derived key is the same for every resend of a challenge.
func TestDerivedKeyDoesNotReplayAResend(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: often})
	c := w.challenge(w.phone(sandbox, adasPhone))
	for n := range 2 {
		w.clock.Advance(time.Second)
		if _, err := w.Resend(t.Context(), sandbox, c.ID, derived[mfa.IssuedChallenge]("k")); err != nil {
			t.Errorf("resend %d = %v", n, err)
		}
	}
	if n := w.carrier.Sent(); n != 3 {
		t.Errorf("%d messages were sent; want 3", n)
	}
}

func TestResendsAtOnceSendOneMessage(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	nodes := []*mfa.Service{w.Service, w.serviceOver(w.store, mfa.Options{})}
	c := w.challenge(w.phone(sandbox, adasPhone))
	w.clock.Advance(30 * time.Second)
	var done, limited atomic.Int32
	mfatest.Together(32, func(i int) {
		var once *idempotency.Request[mfa.IssuedChallenge]
		if i%4 > 1 {
			once = onceKey[mfa.IssuedChallenge](fmt.Sprint("k", i), "r")
		}
		switch _, err := nodes[i%2].Resend(t.Context(), sandbox, c.ID, once); {
		case err == nil:
			done.Add(1)
		case errors.Is(err, delivery.ErrSendLimit):
			limited.Add(1)
		default:
			t.Errorf("Resend = %v", err)
		}
	})
	if done.Load() != 1 || limited.Load() != 31 || w.carrier.Sent() != 2 {
		t.Errorf("%d resends were done, %d refused, and %d messages were sent; want 1, 31, 2", done.Load(), limited.Load(), w.carrier.Sent())
	}
	if kept := w.kept(c.ID); len(kept.Messages) != 2 {
		t.Errorf("the challenge has %d messages; want 2", len(kept.Messages))
	}
}

func TestVerifiedWhileAResendIsCounted(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c := w.challenge(w.phone(sandbox, adasPhone))
	other := w.phone(sandbox, adasPhone)
	code := w.carrier.Last().Code.Reveal()
	w.clock.Advance(30 * time.Second)
	counted := false
	slow := w.serviceOver(&tapped{Store: w.store, before: func(r mfa.Read) {
		if r.Challenge == c.ID && counted {
			counted = false
			w.mustVerify(c.ID, code, true)
		}
		counted = counted || r.Phone != delivery.PhoneKey{}
	}}, mfa.Options{})
	if _, err := slow.Resend(t.Context(), sandbox, c.ID, nil); !errors.Is(err, mfa.ErrAlreadyVerified) {
		t.Errorf("Resend = %v; want %v", err, mfa.ErrAlreadyVerified)
	}
	if n := w.carrier.Sent(); n != 1 {
		t.Errorf("%d messages were sent", n)
	}
	if _, err := w.sendIn(sandbox, other); err != nil {
		t.Errorf("Challenge = %v, though the message was not sent", err)
	}
}

func TestResendsThatRaceWithVerification(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: often})
	for range 5 {
		w.clock.Advance(time.Second)
		c := w.challenge(w.phone(sandbox, adasPhone))
		before := w.carrier.Sent()
		code := w.carrier.Last().Code.Reveal()
		w.clock.Advance(time.Second)
		var valid, again atomic.Int32
		mfatest.Together(12, func(i int) {
			if i%2 == 0 {
				_, err := w.resend(c.ID)
				if err == nil {
					again.Add(1)
				} else if !errors.Is(err, mfa.ErrAlreadyVerified) && !errors.Is(err, delivery.ErrSendLimit) {
					t.Errorf("Resend = %v", err)
				}
				return
			}
			if v, err := w.verify(c.ID, code); err == nil && v.Valid {
				valid.Add(1)
			} else if !errors.Is(err, mfa.ErrAlreadyVerified) {
				t.Errorf("Verify = %v, %v", v.Valid, err)
			}
		})
		kept := w.kept(c.ID)
		if valid.Load() != 1 || kept.VerifiedAt.IsZero() || kept.Attempts != 1 || kept.Messages[0].Sealed != nil {
			t.Errorf("%d codes were right, and the challenge is %+v; want it verified once", valid.Load(), kept)
		}
		if sent := w.carrier.Sent() - before; sent != int(again.Load()) || len(kept.Messages) != 1+sent {
			t.Errorf("%d messages were sent again, %d answered and %d recorded", sent, again.Load(), len(kept.Messages)-1)
		}
	}
}

func TestCallerHangsUpDuringResend(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c := w.challenge(w.phone(sandbox, adasPhone))
	for _, fails := range []error{errCarrier, nil} {
		w.clock.Advance(30 * time.Second)
		ctx, hangUp := context.WithCancel(t.Context())
		w.carrier.During = func(ctx context.Context) error {
			hangUp()
			return errors.Join(ctx.Err(), fails)
		}
		once := onceKey[mfa.IssuedChallenge]("k", "r")
		if _, err := w.Resend(ctx, sandbox, c.ID, once); (err == nil) != (fails == nil) || errors.Is(err, context.Canceled) {
			t.Fatalf("Resend = %v; want all done, or all cleared up", err)
		}
	}
	w.carrier.During = nil
	if err := fresh(w.Resend(t.Context(), sandbox, c.ID, onceKey[mfa.IssuedChallenge]("k", "r"))); !isReplay(err) {
		t.Errorf("the same request again = %v; want the answer that was not heard", err)
	}
	if left := w.ResendsLeft(w.kept(c.ID)); left != 2 || w.carrier.Sent() != 2 {
		t.Errorf("%d messages were sent, and %d resends are left; want 2, and 2", w.carrier.Sent(), left)
	}
}

// broken is a Store whose process dies before the Update that fails says.
type broken struct {
	mfa.Store
	fails func(mfa.Read) bool
}

func (s *broken) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	if s.fails(r) {
		return mfa.ErrUnavailable
	}
	return s.Store.Update(ctx, r, fn)
}

// A process that dies while it resends leaves a challenge that can be verified, and
// never less counted than was sent.
func TestProcessThatDiesMidResend(t *testing.T) {
	for dies := range 6 { // before this Update, and at all that follow
		w := newFixture(t, mfa.Options{})
		c := w.challenge(w.phone(sandbox, adasPhone))
		code := w.carrier.Last().Code.Reveal()
		w.clock.Advance(30 * time.Second)
		n := 0
		dying := w.serviceOver(&broken{w.store, func(mfa.Read) bool { n++; return n > dies }}, mfa.Options{})
		once := onceKey[mfa.IssuedChallenge]("k", "r")
		_, err := dying.Resend(t.Context(), sandbox, c.ID, once)
		if sent := w.carrier.Sent() - 1; err == nil != (sent == 1) {
			t.Errorf("dies at %d: Resend = %v, and %d messages were sent", dies, err, sent)
		}
		w.clock.Advance(13 * time.Second) // a request that was being carried out is not any more
		_, err = w.Resend(t.Context(), sandbox, c.ID, once)
		if err != nil {
			t.Errorf("dies at %d: the same request again = %v", dies, err)
		}
		if sent := w.carrier.Sent() - 1; sent != 1 {
			t.Errorf("dies at %d: %d messages were sent again", dies, sent)
		}
		if _, err := w.resend(c.ID); !errors.Is(err, delivery.ErrSendLimit) {
			t.Errorf("dies at %d: another resend = %v; want %v", dies, err, delivery.ErrSendLimit)
		}
		w.mustVerify(c.ID, code, true)
	}
}

func TestRepliesOfSentChallengesHoldNoCode(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	c := w.challenge(w.phone(sandbox, adasPhone))
	w.clock.Advance(30 * time.Second)
	again, err := w.resend(c.ID)
	if err != nil {
		t.Fatal(err)
	}
	found, err := w.FindChallenge(t.Context(), sandbox, c.ID)
	if err != nil {
		t.Fatal(err)
	}
	failed := w.mustVerify(c.ID, wrong, false)
	passed := w.mustVerify(c.ID, w.carrier.Last().Code.Reveal(), true)
	for i, reply := range []mfa.IssuedChallenge{c, again, found, failed.Challenge, passed.Challenge} {
		if reply.ID != c.ID || reply.Code.Reveal() != "" {
			t.Errorf("reply %d of %s holds a code: %v", i, reply.ID, reply.Code.Reveal() != "")
		}
	}
	if _, err := w.FindChallenge(t.Context(), production, c.ID); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("FindChallenge in another environment = %v; want %v", err, mfa.ErrNotFound)
	}
}

func TestSentCodeIsKeptSealedWhileItIsOfUse(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	for _, used := range []bool{false, true} {
		w.clock.Advance(30 * time.Second)
		c := w.challenge(w.phone(sandbox, adasPhone))
		code := w.carrier.Last().Code.Reveal()
		sealed := w.kept(c.ID).Messages[0].Sealed
		if len(sealed) == 0 || bytes.Contains(sealed, []byte(code)) || bytes.Contains(sealed, []byte("verification")) {
			t.Fatalf("%d bytes are kept; want the text, sealed", len(sealed))
		}
		if used {
			for range 4 {
				w.mustVerify(c.ID, wrong, false)
			}
			if !slices.Equal(w.kept(c.ID).Messages[0].Sealed, sealed) {
				t.Error("the code changed while it could be used")
			}
		}
		w.mustVerify(c.ID, map[bool]string{false: code, true: wrong}[used], !used)
		if w.kept(c.ID).Messages[0].Sealed != nil {
			t.Errorf("used up %v: the code is still kept", used)
		}
	}
}

func TestResendAvoidsTheProviderThatDidNotDeliver(t *testing.T) {
	for _, tc := range []struct {
		state delivery.State
		want  string
	}{
		{delivery.Queued, "one"}, {delivery.Sent, "one"}, {delivery.Undelivered, "one"}, {delivery.Failed, "one"}, {delivery.Delivered, ""},
	} {
		w := newFixture(t, mfa.Options{})
		w.carrier.Accepted = delivery.Accepted{Provider: "one", ID: "1"}
		c := w.challenge(w.phone(sandbox, adasPhone))
		if w.carrier.Last().Avoid != "" {
			t.Errorf("the first message avoids %q", w.carrier.Last().Avoid)
		}
		w.receive("one", "1", tc.state, "")
		w.carrier.Accepted = delivery.Accepted{Provider: "two", ID: "1"}
		for _, want := range []string{tc.want, "two"} {
			w.clock.Advance(30 * time.Second)
			if _, err := w.resend(c.ID); err != nil {
				t.Fatal(err)
			}
			if got := w.carrier.Last().Avoid; got != want {
				t.Errorf("after a message that is %s, the next avoids %q; want %q", tc.state, got, want)
			}
		}
	}
}
