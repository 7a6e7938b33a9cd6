package mfa_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestSendLimits(t *testing.T) {
	const ms = time.Millisecond
	evenly := func(n int, apart time.Duration) (at []time.Duration) {
		for i := range n {
			at = append(at, time.Duration(i)*apart)
		}
		return at
	}
	for _, tc := range []struct {
		name  string
		sends []time.Duration // which are allowed, since the first
		at    time.Duration   // of one that is refused
		free  time.Duration   // when the next is allowed
	}{
		{"at once", evenly(1, 0), 0, 30 * time.Second},
		{"almost 30 s later", evenly(1, 0), 30*time.Second - ms, 30 * time.Second},
		{"30 s after the last", evenly(3, 40*time.Second), 90 * time.Second, 110 * time.Second},
		{"sixth in 10 min", evenly(5, 30*time.Second), 150 * time.Second, 10 * time.Minute},
		{"seventh, a window later", append(evenly(5, time.Minute), 10*time.Minute), 10*time.Minute + 31*time.Second, 11 * time.Minute},
		{"eleventh in an hour", evenly(10, 2*time.Minute), 20 * time.Minute, time.Hour},
		{"almost an hour later", evenly(10, 2*time.Minute), time.Hour - ms, time.Hour},
		{"twenty-first in a day", evenly(20, 6*time.Minute), 2 * time.Hour, 24 * time.Hour},
		{"almost a day later", evenly(20, 6*time.Minute), 24*time.Hour - ms, 24 * time.Hour},
		{"spacing after a full window", append(evenly(4, 30*time.Second), 10*time.Minute-10*time.Second), 10*time.Minute - 5*time.Second, 10*time.Minute + 20*time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
			start := w.clock.Now()
			send := func(at time.Duration) error {
				w.clock.Advance(start.Add(at).Sub(w.clock.Now()))
				_, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil)
				return err
			}
			for _, at := range tc.sends {
				if err := send(at); err != nil {
					t.Fatalf("message at %v: %v", at, err)
				}
			}
			for range 3 { // a refused message does not count
				if wait := waitIn(t, send(tc.at), delivery.ErrSendLimit); wait != tc.free-tc.at {
					t.Fatalf("at %v the wait is %v; want %v", tc.at, wait, tc.free-tc.at)
				}
			}
			if wait := waitIn(t, send(tc.free-ms), delivery.ErrSendLimit); wait != ms {
				t.Errorf("in the last millisecond the wait is %v", wait)
			}
			if err := send(tc.free); err != nil {
				t.Errorf("message at %v: %v", tc.free, err)
			}
			if got, want := w.carrier.Sent(), len(tc.sends)+1; got != want {
				t.Errorf("%d messages were sent; want %d", got, want)
			}
		})
	}
}

func TestSendLimitIsOfThePhoneNumber(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	sms := func(user, phone string) mfa.EnrollParams {
		return mfa.EnrollParams{Type: mfa.SMS, User: user, PhoneNumber: phone}
	}
	w.challenge(w.enroll(sms("ada", adasPhone)).ID)

	again := w.enroll(sms("mallory", "1 (607) 351-7112")).ID
	_, err := w.Challenge(t.Context(), sandbox, again, mfa.ChallengeParams{}, nil)
	if wait := waitIn(t, err, delivery.ErrSendLimit); wait != 30*time.Second {
		t.Errorf("wait for another factor with the same number is %v; want 30s", wait)
	}
	w.challenge(w.enroll(sms("ada", gracesPhone)).ID)
	elsewhere, err := w.Enroll(t.Context(), production, sms("ada", adasPhone), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Challenge(t.Context(), production, elsewhere.ID, mfa.ChallengeParams{}, nil); err != nil {
		t.Errorf("Challenge in another environment = %v", err)
	}
}

func TestRefusedMessageLeavesNothing(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
	w.challenge(f)
	before := w.events(f.Bucket())
	if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil); !errors.Is(err, delivery.ErrSendLimit) {
		t.Fatalf("Challenge = %v; want %v", err, delivery.ErrSendLimit)
	}
	if after := w.events(f.Bucket()); len(after) != len(before) {
		t.Errorf("a message that was refused left %+v", after[len(before):])
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	three, minus := 3, -1
	for _, tc := range []struct {
		name string
		opts mfa.Options
	}{
		{"no attempt", mfa.Options{Limits: mfa.Limits{Attempts: -1}}},
		{"11 attempts", mfa.Options{Limits: mfa.Limits{Attempts: 11}}},
		{"no end of free failures", mfa.Options{Limits: mfa.Limits{FreeFailures: math.MaxInt}}},
		{"101 failures per factor", mfa.Options{Limits: mfa.Limits{FactorFailures: 101}}},
		{"101 failures per user", mfa.Options{Limits: mfa.Limits{UserFailures: 101}}},
		{"no back-off", mfa.Options{Limits: mfa.Limits{Backoff: []time.Duration{}}}},
		{"negative back-off", mfa.Options{Limits: mfa.Limits{Backoff: []time.Duration{-1}}}},
		{"negative spacing", mfa.Options{Limits: mfa.Limits{SendSpacing: -1}}},
		{"no send windows", mfa.Options{Limits: mfa.Limits{Sends: []delivery.Window{}}}},
		{"send window without a span", mfa.Options{Limits: mfa.Limits{Sends: []delivery.Window{{Count: 5}}}}},
		{"send window without a count", mfa.Options{Limits: mfa.Limits{Sends: []delivery.Window{{Span: time.Hour}}}}},
		{"codes that live over 10 min", mfa.Options{ChallengeTTL: 10*time.Minute + 1}},
		{"codes that never live", mfa.Options{ChallengeTTL: -1}},
		{"retention below the TTL", mfa.Options{ChallengeRetention: time.Minute}},
		{"TOTP window of 3", mfa.Options{TOTPWindow: &three}},
		{"negative TOTP window", mfa.Options{TOTPWindow: &minus}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := mfa.NewService(nil, nil, nil, tc.opts); err == nil {
				t.Error("NewService took it")
			}
		})
	}
}

func TestLimitsAreSettings(t *testing.T) {
	w := newFixture(t, mfa.Options{ChallengeTTL: time.Second, Limits: mfa.Limits{
		Attempts: 2, FreeFailures: 1, Backoff: []time.Duration{time.Second, time.Minute}, FactorFailures: 4,
	}})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	c := w.challenge(f)
	w.mustVerify(c.ID, wrong, false)
	w.mustVerify(c.ID, wrong, false) // a wait of 1 s
	if _, err := w.verify(c.ID, wrong); waitIn(t, err, mfa.ErrTooManyAttempts) != 0 {
		t.Error("a third attempt counts as a wait, not as one too many")
	}
	_, err := w.verify(w.challenge(f).ID, wrong)
	if wait := waitIn(t, err, mfa.ErrTooManyAttempts); wait != time.Second {
		t.Errorf("wait is %v; want 1s", wait)
	}
	w.clock.Advance(time.Second)
	if _, err := w.verify(c.ID, wrong); !errors.Is(err, mfa.ErrExpired) {
		t.Errorf("Verify after the TTL = %v; want %v", err, mfa.ErrExpired)
	}
	w.fail(f) // a wait of 1 min
	w.clock.Advance(time.Minute)
	w.fail(f)
	_, err = w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil)
	if wait := waitIn(t, err, mfa.ErrTooManyAttempts); wait != 0 {
		t.Errorf("after four failures the wait is %v; want 0, as an operator must lift it", wait)
	}
}
