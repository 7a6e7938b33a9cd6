package mfa_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// onceKey returns a request with an idempotency key, whose answer is kept for 24 h. Its
// recorded answer has the content of a reply.
func onceKey[T any](key, request string) *idempotency.Request[T] {
	return &idempotency.Request[T]{
		Key: sha256.Sum256([]byte(key)), Fingerprint: sha256.Sum256([]byte(request)), Keep: 24 * time.Hour,
		Answer: func(result T, err error) []byte { return []byte(told(result, err)) },
	}
}

// claimed returns once for a request whose scope does not determine the bucket of its effect.
func claimed[T any](once *idempotency.Request[T]) *idempotency.Request[T] {
	once.TargetInBody = true
	return once
}

func told(result any, err error) string {
	switch r := result.(type) {
	case mfa.Enrollment:
		return fmt.Sprint(r.ID, r.Secret.Reveal(), r.Phone.E164(), err)
	case mfa.IssuedChallenge:
		return fmt.Sprint(r.ID, r.Code.Reveal(), err)
	case mfa.Verification:
		return fmt.Sprint(r.Challenge.ID, r.Challenge.Attempts, r.Valid, err)
	case mfa.NewRecoveryCodes:
		return fmt.Sprint(r.ID, r.Codes[0].Reveal(), err)
	case mfa.UserVerification:
		return fmt.Sprint(r.Valid, r.Factor, err)
	}
	panic("no answer of ours")
}

// replayed returns the recorded answer of a result; "" for a fresh result.
func replayed(result any) string {
	var a *idempotency.Answer
	switch r := result.(type) {
	case mfa.Enrollment:
		a = r.Replayed
	case mfa.IssuedChallenge:
		a = r.Replayed
	case mfa.Verification:
		a = r.Replayed
	case mfa.NewRecoveryCodes:
		a = r.Replayed
	case mfa.UserVerification:
		a = r.Replayed
	}
	if a == nil {
		return ""
	}
	return string(a.Bytes)
}

// A replayedError is a recorded answer, for tests that treat it as an error.
type replayedError struct{ answer string }

func (replayedError) Error() string { return "answered before" }

// fresh returns a *replayedError if result is a recorded answer, and err otherwise.
func fresh(result any, err error) error {
	if answer := replayed(result); answer != "" && err == nil {
		return &replayedError{answer}
	}
	return err
}

func isReplay(err error) bool {
	_, ok := errors.AsType[*replayedError](err)
	return ok
}

// storm sends the same request 64 times at once.
func storm[T any](t *testing.T, do func() (T, error)) (answer string) {
	t.Helper()
	var (
		mu       sync.Mutex
		answers  = make(map[string]int)
		repeated atomic.Int32
	)
	mfatest.Together(64, func(int) {
		result, err := do()
		answer := told(result, err)
		if recorded := replayed(result); recorded != "" {
			answer = recorded
			repeated.Add(1)
		}
		mu.Lock()
		defer mu.Unlock()
		answers[answer]++
	})
	if len(answers) != 1 || repeated.Load() != 63 {
		t.Fatalf("%d were replayed and answers were %v; want 63, and one answer", repeated.Load(), answers)
	}
	for answer = range answers {
	}
	return answer
}

func (w *fixture) count(typ mfa.EventType) (n int) {
	w.t.Helper()
	all := storetest.Events(w.t, w.store)
	for _, e := range all {
		if e.Type == typ {
			n++
		}
	}
	return n
}

func TestStormOfEnrollments(t *testing.T) {
	for _, tc := range []struct {
		name string
		p    mfa.EnrollParams
		once *idempotency.Request[mfa.Enrollment]
	}{
		{"of a user", mfa.EnrollParams{Type: mfa.TOTP, User: "ada", Challenge: true}, onceKey[mfa.Enrollment]("k", "r")},
		{"of a user, claimed", mfa.EnrollParams{Type: mfa.TOTP, User: "ada"}, claimed(onceKey[mfa.Enrollment]("k", "r"))},
		{"without a user", mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}, onceKey[mfa.Enrollment]("k", "r")},
		{"without a user, claimed", mfa.EnrollParams{Type: mfa.GenericOTP}, claimed(onceKey[mfa.Enrollment]("k", "r"))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			storm(t, func() (mfa.Enrollment, error) { return w.Enroll(t.Context(), sandbox, tc.p, tc.once) })
			factors, err := w.store.FactorsAfter(t.Context(), mfa.FactorID{}, 100)
			if err != nil || len(factors) != 1 || w.count(mfa.FactorEnrolled) != 1 {
				t.Errorf("%d factors and %d events were stored, %v; want one", len(factors), w.count(mfa.FactorEnrolled), err)
			}
		})
	}
}

func TestStormOfChallenges(t *testing.T) {
	for _, typ := range []mfa.FactorType{mfa.TOTP, mfa.SMS, mfa.GenericOTP} {
		for _, claim := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, claimed %v", typ, claim), func(t *testing.T) {
				w := newFixture(t, mfa.Options{})
				f := w.enroll(mfa.EnrollParams{Type: typ, PhoneNumber: adasPhone}).ID
				once := onceKey[mfa.IssuedChallenge]("k", "r")
				once.TargetInBody = claim
				storm(t, func() (mfa.IssuedChallenge, error) {
					return w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once)
				})
				if n := w.count(mfa.ChallengeCreated); n != 1 {
					t.Errorf("%d challenges were created; want 1", n)
				}
				if typ != mfa.SMS {
					return
				}
				if w.carrier.Sent() != 1 {
					t.Fatalf("%d messages were sent; want 1", w.carrier.Sent())
				}
				for n := 2; n <= 5; n++ { // the storm counts as one of five in 10 min
					w.clock.Advance(30 * time.Second)
					w.challenge(f)
				}
				w.clock.Advance(30 * time.Second)
				_, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil)
				if wait := waitIn(t, err, delivery.ErrSendLimit); wait != 10*time.Minute-150*time.Second {
					t.Errorf("wait for the sixth message is %v", wait)
				}
			})
		}
	}
}

func TestStormOfVerifications(t *testing.T) {
	for _, right := range []bool{true, false} {
		for _, claim := range []bool{false, true} {
			t.Run(fmt.Sprintf("right %v, claimed %v", right, claim), func(t *testing.T) {
				w := newFixture(t, mfa.Options{})
				c := w.challenge(w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID)
				code := wrong
				if right {
					code = c.Code.Reveal()
				}
				once := onceKey[mfa.Verification]("k", "r")
				once.TargetInBody = claim
				answer := storm(t, func() (mfa.Verification, error) {
					return w.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: code}, once)
				})
				if want := fmt.Sprint(c.ID, 1, right, error(nil)); answer != want {
					t.Errorf("answer is %s; want %s", answer, want)
				}
				if n := w.attempts(c.ID); n != 1 {
					t.Errorf("%d attempts were counted; want 1", n)
				}
			})
		}
	}
}

func TestRefusalIsRepeated(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	c := w.challenge(f)
	w.clock.Advance(10 * time.Minute)
	once := onceKey[mfa.Verification]("k", "r")
	first, err := w.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: wrong}, once)
	if !errors.Is(err, mfa.ErrExpired) {
		t.Fatalf("Verify = %v; want %v", err, mfa.ErrExpired)
	}
	again, againErr := w.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: wrong}, once)
	if againErr != nil || replayed(again) != told(first, err) {
		t.Errorf("the same request again = %v; want its answer repeated", againErr)
	}
	if n := w.count(mfa.ChallengeRefused); n != 1 {
		t.Errorf("%d refusals were recorded; want 1", n)
	}
}

func TestAnswerThatIsNotRecorded(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	once := onceKey[mfa.Enrollment]("k", "r")
	once.Answer = func(mfa.Enrollment, error) []byte { return nil }
	for range 2 {
		if _, err := w.Enroll(t.Context(), sandbox, mfa.EnrollParams{Type: mfa.GenericOTP}, once); err != nil {
			t.Errorf("Enroll = %v; want a new factor, as nothing was recorded", err)
		}
	}
}

func TestKeyOfAnotherRequest(t *testing.T) {
	ctx := t.Context()
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
	c := w.challenge(f)
	enroll := func(user, request string) error {
		_, err := w.Enroll(ctx, sandbox, mfa.EnrollParams{Type: mfa.TOTP, User: user}, claimed(onceKey[mfa.Enrollment]("enroll", request)))
		return err
	}
	challenge := func(request string) error {
		_, err := w.Challenge(ctx, sandbox, f, mfa.ChallengeParams{}, onceKey[mfa.IssuedChallenge]("challenge", request))
		return err
	}
	verify := func(request string) error {
		_, err := w.Verify(ctx, sandbox, c.ID, mfa.VerifyParams{Code: wrong}, onceKey[mfa.Verification]("verify", request))
		return err
	}
	if err := errors.Join(enroll("ada", "r"), challenge("r"), verify("r")); err != nil {
		t.Fatal(err)
	}
	before := len(w.events(f.Bucket()))
	for name, err := range map[string]error{
		"Enroll":                             enroll("ada", "other"),
		"Enroll of a user in another bucket": enroll("grace", "other"),
		"Enroll without a user":              enroll("", "other"),
		"Challenge":                          challenge("other"),
		"Verify":                             verify("other"),
	} {
		if !errors.Is(err, mfa.ErrKeyReused) {
			t.Errorf("%s = %v; want %v", name, err, mfa.ErrKeyReused)
		}
	}
	if after := len(w.events(f.Bucket())); after != before {
		t.Errorf("%d events were added", after-before)
	}
}

func TestKeyIsForgottenAfterItsTime(t *testing.T) {
	for _, claim := range []bool{false, true} {
		w := newFixture(t, mfa.Options{})
		enroll := func(request string) error {
			once := onceKey[mfa.Enrollment]("k", request)
			once.TargetInBody = claim
			return fresh(w.Enroll(t.Context(), sandbox, mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}, once))
		}
		if err := enroll("r"); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(24*time.Hour - time.Millisecond)
		err := enroll("r")
		if !isReplay(err) {
			t.Errorf("in the last millisecond: %v; want the answer repeated", err)
		}
		w.clock.Advance(time.Millisecond)
		if err := enroll("other"); err != nil {
			t.Errorf("after 24 h: %v; want a new request", err)
		}
		if n := w.count(mfa.FactorEnrolled); n != 2 {
			t.Errorf("%d factors were enrolled; want 2", n)
		}
	}
}

// Two requests under one key are in the air at the same time. One is refused,
// and must not take back what the other's message was counted.
func TestKeyOfAnotherRequestChangesNoCount(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
	challenge := func(s *mfa.Service, request string) error {
		return fresh(s.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, onceKey[mfa.IssuedChallenge]("k", request)))
	}
	var inner error
	overtaken := false
	slow := w.serviceOver(&tapped{Store: w.store, before: func(r mfa.Read) {
		if r.Phone != (delivery.PhoneKey{}) && !overtaken {
			overtaken = true
			inner = challenge(w.Service, "first")
		}
	}}, mfa.Options{})
	if err := challenge(slow, "second"); !errors.Is(err, mfa.ErrKeyReused) || inner != nil {
		t.Fatalf("Challenge = %v, and %v; want %v, and nil", err, inner, mfa.ErrKeyReused)
	}
	_, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil)
	if !errors.Is(err, delivery.ErrSendLimit) || w.carrier.Sent() != 1 {
		t.Errorf("Challenge = %v after %d messages; want %v, as one was sent just now", err, w.carrier.Sent(), delivery.ErrSendLimit)
	}
}

// tapped is a Store that lets a test act just before an Update.
type tapped struct {
	mfa.Store
	before func(mfa.Read)
}

func (s *tapped) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	s.before(r)
	return s.Store.Update(ctx, r, fn)
}

// derived is a key that was made of the request.
func derived[T any](name string) *idempotency.Request[T] {
	o := onceKey[T](name, "the request")
	o.Derived, o.Keep = true, 30*time.Second
	return o
}

// Two people can send the same request, and have the same derived key.
func TestDerivedKeyEnrollsEachTime(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	for name, p := range map[string]mfa.EnrollParams{
		"totp, nobody named": {Type: mfa.TOTP, Issuer: "Acme"},
		"totp":               {Type: mfa.TOTP, Account: "ada"},
		"totp of a user":     {Type: mfa.TOTP, User: "ada", Challenge: true},
		"generic_otp":        {Type: mfa.GenericOTP, User: "user_1"},
		"sms":                {Type: mfa.SMS, PhoneNumber: "+12025550100"},
	} {
		t.Run(name, func(t *testing.T) {
			var made []mfa.Enrollment
			for range 2 {
				e, err := w.Enroll(t.Context(), sandbox, p, derived[mfa.Enrollment](name))
				if err != nil {
					t.Fatal(err)
				}
				made = append(made, e)
			}
			if made[0].ID == made[1].ID || p.Type == mfa.TOTP && made[0].Secret.Reveal() == made[1].Secret.Reveal() {
				t.Error("two people share a factor or a secret")
			}
			if p.Challenge {
				w.mustVerify(made[1].Challenge.ID, w.app(made[1], 0), true)
			}
		})
	}
}

// A client that tried a code has seen the answer, and means another sign-in.
func TestDerivedKeyGivesNoTriedChallenge(t *testing.T) {
	for _, tc := range []struct {
		name   string
		opts   mfa.Options
		before func(w *fixture, c mfa.IssuedChallenge)
		again  bool // the first challenge is given again
	}{
		{"untouched", mfa.Options{}, func(*fixture, mfa.IssuedChallenge) {}, true},
		{"verified", mfa.Options{}, func(w *fixture, c mfa.IssuedChallenge) { w.mustVerify(c.ID, c.Code.Reveal(), true) }, false},
		{"tried", mfa.Options{}, func(w *fixture, c mfa.IssuedChallenge) { w.mustVerify(c.ID, wrong, false) }, false},
		{"expired", mfa.Options{ChallengeTTL: time.Second}, func(w *fixture, _ mfa.IssuedChallenge) { w.clock.Advance(time.Second) }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, tc.opts)
			f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
			challenge := func() (mfa.IssuedChallenge, error) {
				return w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, derived[mfa.IssuedChallenge]("k"))
			}
			first, err := challenge()
			if err != nil {
				t.Fatal(err)
			}
			tc.before(w, first)
			second, err := challenge()
			if again := isReplay(fresh(second, err)); again != tc.again {
				t.Fatalf("the second: %v; given again is %v, want %v", err, again, tc.again)
			}
			if tc.again {
				return
			}
			if err != nil || second.ID == first.ID {
				t.Fatalf("the second: %v, %v; want another challenge than %v", second.ID, err, first.ID)
			}
			third, err := challenge()
			if err != nil || replayed(third) != told(second, nil) {
				t.Errorf("a retry of the second: %v; want the second again", err)
			}
			w.mustVerify(second.ID, second.Code.Reveal(), true)
		})
	}
}

func TestOfManyNewSignInsUnderADerivedKeyOneChallengeComes(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	challenge := func() (mfa.IssuedChallenge, error) {
		return w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, derived[mfa.IssuedChallenge]("k"))
	}
	first, err := challenge()
	if err != nil {
		t.Fatal(err)
	}
	w.mustVerify(first.ID, first.Code.Reveal(), true)
	storm(t, challenge)
}

// A second sign-in does not get around the limits of its phone number.
func TestDerivedKeySendsNoMessageUncounted(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: "+12025550100"}).ID
	challenge := func() (mfa.IssuedChallenge, error) {
		return w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, derived[mfa.IssuedChallenge]("k"))
	}
	first, err := challenge()
	if err != nil {
		t.Fatal(err)
	}
	w.mustVerify(first.ID, w.carrier.Last().Code.Reveal(), true)
	if _, err := challenge(); !errors.Is(err, delivery.ErrSendLimit) {
		t.Errorf("a second message at once: %v; want %v", err, delivery.ErrSendLimit)
	}
	if got := w.carrier.Sent(); got != 1 {
		t.Errorf("%d messages; want 1", got)
	}
}

func TestDerivedKeyDoesNotVerifyTwice(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	c := w.challenge(f)
	for _, want := range []error{nil, mfa.ErrAlreadyVerified} {
		err := fresh(w.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: c.Code.Reveal()}, derived[mfa.Verification]("k")))
		if !errors.Is(err, want) {
			t.Errorf("Verify = %v; want %v", err, want)
		}
	}
}

func TestDerivedKeyCountsTheMessageAfterOneThatFailed(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{SendSpacing: time.Second}})
	f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
	do := func() (mfa.IssuedChallenge, error) {
		return w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, derived[mfa.IssuedChallenge]("k"))
	}
	first, err := do()
	if err != nil {
		t.Fatal(err)
	}
	w.mustVerify(first.ID, w.carrier.Last().Code.Reveal(), true)
	w.clock.Advance(2 * time.Second)
	w.carrier.Lost = errCarrier
	if _, err := do(); !errors.Is(err, delivery.ErrNotDelivered) {
		t.Fatal(err)
	}
	w.carrier.Lost = nil
	if err := fresh(do()); err != nil { // the library's retry
		t.Fatal(err)
	}
	if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil); !errors.Is(err, delivery.ErrSendLimit) {
		t.Errorf("in the same instant: %v, %d messages; want %v", err, w.carrier.Sent(), delivery.ErrSendLimit)
	}
}

// A sweeper whose clock is ahead may remove the record of a sign-in before the next sign-in
// under the same derived key looks for it.
func TestDerivedKeyCountsTheMessageAfterALostRecord(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{SendSpacing: time.Second}})
	f := w.phone(sandbox, adasPhone)
	key := derived[mfa.IssuedChallenge]("k")
	for n := range 2 {
		w.clock.Advance(time.Duration(n) * (key.Keep - time.Second))
		if err := fresh(w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, key)); err != nil {
			t.Fatal(err)
		}
		err := w.store.Update(t.Context(), mfa.Read{Bucket: f.Bucket(), Replay: w.ReplayKey(key.Key)}, func(tx *mfa.Tx) error {
			tx.Writes = append(tx.Writes, mfa.DeleteReplay{Bucket: f.Bucket(), Key: tx.Replay.Key})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil); !errors.Is(err, delivery.ErrSendLimit) {
		t.Errorf("in the same instant: %v, %d messages; want %v", err, w.carrier.Sent(), delivery.ErrSendLimit)
	}
}

func TestDerivedKeyRepeatsNoRefusal(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{FreeFailures: 5, FactorFailures: 5}})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	challenge := func() error {
		return fresh(w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, derived[mfa.IssuedChallenge]("k")))
	}
	for range 5 {
		w.fail(f)
	}
	if err := challenge(); !errors.Is(err, mfa.ErrTooManyAttempts) {
		t.Fatalf("locked: %v; want %v", err, mfa.ErrTooManyAttempts)
	}
	if err := w.unlockFactor(f); err != nil {
		t.Fatal(err)
	}
	if err := challenge(); err != nil {
		t.Errorf("after an operator lifted the lock: %v", err)
	}
}

func TestOfManyNewSignInsUnderADerivedKeyOneMessageGoes(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{SendSpacing: time.Second}})
	f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
	do := func() (mfa.IssuedChallenge, error) {
		return w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, derived[mfa.IssuedChallenge]("k"))
	}
	first, err := do()
	if err != nil {
		t.Fatal(err)
	}
	w.mustVerify(first.ID, w.carrier.Last().Code.Reveal(), true)
	w.clock.Advance(time.Second)
	storm(t, do)
	if w.carrier.Sent() != 2 {
		t.Errorf("%d messages; want one of each sign-in", w.carrier.Sent())
	}
}

// overtaken is a Store that calls a function after the first time that a factor is read.
type overtaken struct {
	mfa.Store
	meanwhile func()
}

func (o *overtaken) View(ctx context.Context, r mfa.Read) (mfa.Rows, error) {
	defer o.was(r)
	return o.Store.View(ctx, r)
}

func (o *overtaken) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	defer o.was(r)
	return o.Store.Update(ctx, r, fn)
}

func (o *overtaken) was(r mfa.Read) {
	if call := o.meanwhile; call != nil && r.Factor != (mfa.FactorID{}) {
		o.meanwhile = nil
		call()
	}
}

// TestRequestOvertakenByItselfIsReplayed has the same request come twice. The second
// to begin is done with everything before the first has counted its message.
func TestRequestOvertakenByItselfIsReplayed(t *testing.T) {
	keys := map[string]func() *idempotency.Request[mfa.IssuedChallenge]{
		"random": func() *idempotency.Request[mfa.IssuedChallenge] {
			return onceKey[mfa.IssuedChallenge]("k", "challenge")
		},
		"derived": func() *idempotency.Request[mfa.IssuedChallenge] { return derived[mfa.IssuedChallenge]("k") },
	}
	for name, key := range keys {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			f := w.phone(sandbox, adasPhone)
			do := func(s *mfa.Service) (mfa.IssuedChallenge, error) {
				return s.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, key())
			}
			store := &overtaken{Store: w.store}
			slow := w.serviceOver(store, mfa.Options{})
			store.meanwhile = func() {
				if _, err := do(w.Service); err != nil {
					t.Error(err)
				}
			}
			err := fresh(do(slow))
			if !isReplay(err) {
				t.Errorf("the one that was overtaken: %v; want the answer of the other", err)
			}
			if n := w.carrier.Sent(); n != 1 {
				t.Errorf("%d messages; want 1", n)
			}
		})
	}
}
