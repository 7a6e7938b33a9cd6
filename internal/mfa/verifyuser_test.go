package mfa_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/totp"
)

func (w *fixture) tryUser(user, code string) (mfa.UserVerification, error) {
	return w.VerifyUser(w.t.Context(), sandbox, user, mfa.VerifyParams{Code: code}, nil)
}

// totpOf enrolls a totp factor of a user and returns it with its current code.
func (w *fixture) totpOf(user string) (mfa.FactorID, func() string) {
	w.t.Helper()
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: user})
	key := w.secretOf(e)
	return e.ID, func() string { return totp.Code(key, totp.Step(w.clock.Now())) }
}

func TestOneCallFindsTheFactorOfACode(t *testing.T) {
	w := newFixture(t, quickHash)
	first, firstCode := w.totpOf("ada")
	second, secondCode := w.totpOf("ada")
	set, codes := w.recoveryCodes("ada")
	for _, tc := range []struct {
		code   string
		factor mfa.FactorID
		kind   mfa.FactorType
	}{{firstCode(), first, mfa.TOTP}, {secondCode(), second, mfa.TOTP}, {codes[0], set.ID, mfa.RecoveryCodes}} {
		v, err := w.tryUser("ada", tc.code)
		if err != nil || !v.Valid || v.Factor != tc.factor || v.Type != tc.kind {
			t.Errorf("%+v, %v; want valid for %s", v, err, tc.factor)
		}
		if v, err = w.tryUser("ada", tc.code); err != nil || v.Valid {
			t.Errorf("%s again: valid=%v, %v; want a spent code", tc.kind, v.Valid, err)
		}
	}
}

func TestOneCallCountsAWrongCodeOnce(t *testing.T) {
	w := newFixture(t, quickHash)
	first, _ := w.totpOf("ada")
	second, code := w.totpOf("ada")
	set, _ := w.recoveryCodes("ada")
	failures := func() string {
		rows, err := w.store.View(t.Context(), mfa.Read{
			Bucket: set.ID.Bucket(), User: mfa.UserKey{Environment: sandbox.ID, ID: "ada"}, Others: []mfa.FactorID{first, second, set.ID},
		})
		if err != nil {
			t.Fatal(err)
		}
		user := 0
		if rows.User != nil {
			user = rows.User.Failures
		}
		return fmt.Sprint(user, rows.Others[0].Failures, rows.Others[1].Failures, rows.Others[2].Failures)
	}
	for _, tc := range []struct{ name, code, want string }{
		{"six digits count in the totp factors", "000000x", "1 1 1 0"},
		{"a recovery code counts in the recovery codes", "0000-0000-0000-0000", "2 1 1 1"},
		{"a right code clears its factor and the user", code(), "0 1 0 1"},
	} {
		if _, err := w.tryUser("ada", tc.code); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if got := failures(); got != tc.want {
			t.Errorf("%s: failures of user, factors and codes are %s; want %s", tc.name, got, tc.want)
		}
	}
}

func TestOneCallObeysLocks(t *testing.T) {
	w := newFixture(t, quickHash)
	_, locked := w.totpOf("ada")
	for range 6 {
		if v, err := w.tryUser("ada", wrong); err != nil || v.Valid {
			t.Fatalf("valid=%v, %v; want a wrong code", v.Valid, err)
		}
	}
	_, err := w.tryUser("ada", locked())
	if limit, ok := errors.AsType[*mfa.LimitError](err); !ok || limit.After != 30*time.Second {
		t.Errorf("after six wrong codes: %v; want a lock of 30 s", err)
	}
	second, open := w.totpOf("ada")
	if v, err := w.tryUser("ada", locked()); err != nil || v.Valid {
		t.Errorf("a code of the locked factor: valid=%v, %v; want a wrong code", v.Valid, err)
	}
	if v, err := w.tryUser("ada", open()); err != nil || v.Factor != second {
		t.Errorf("a code of the open factor: %+v, %v; want valid", v, err)
	}
	for range 200 { // until the user is locked
		if _, err = w.tryUser("ada", wrong); err != nil {
			w.clock.Advance(time.Hour)
		}
		if limit, ok := errors.AsType[*mfa.LimitError](err); ok && limit.After == 0 {
			break
		}
	}
	_, codes := w.recoveryCodes("ada")
	if _, err := w.tryUser("ada", codes[0]); err != nil && !errors.Is(err, mfa.ErrTooManyAttempts) {
		t.Errorf("recovery code: %v", err)
	}
}

func TestOneCallRefusesALockedUser(t *testing.T) {
	w := newFixture(t, mfa.Options{RecoveryIterations: 2, Limits: mfa.Limits{UserFailures: 3}})
	_, code := w.totpOf("ada")
	_, codes := w.recoveryCodes("ada")
	for range 3 {
		if v, err := w.tryUser("ada", wrong); err != nil || v.Valid {
			t.Fatal(v.Valid, err)
		}
	}
	for name, code := range map[string]string{"totp": code(), "recovery": codes[0]} {
		if _, err := w.tryUser("ada", code); !errors.Is(err, mfa.ErrTooManyAttempts) {
			t.Errorf("a right %s code of a locked user: %v; want ErrTooManyAttempts", name, err)
		}
	}
	bypass, _, err := w.operator().CreateBypass(t.Context(), adaWhy, operator.BypassParams{Environment: sandbox.Environment, User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := w.tryUser("ada", "0000000000"); err != nil || v.Valid {
		t.Errorf("a wrong bypass code: valid=%v, %v; want a wrong code", v.Valid, err)
	}
	if v, err := w.tryUser("ada", bypass.Reveal()); err != nil || !v.Valid || !v.Bypass {
		t.Errorf("the bypass code: %+v, %v; want valid", v, err)
	}
	if _, err := w.tryUser("ada", bypass.Reveal()); !errors.Is(err, mfa.ErrTooManyAttempts) {
		t.Errorf("the bypass code again: %v; want ErrTooManyAttempts", err)
	}
}

func TestOneCallLeavesOutSuspendedFactors(t *testing.T) {
	w := newFixture(t, quickHash)
	f, code := w.totpOf("ada")
	if err := w.operator().SuspendFactor(t.Context(), adaWhy, f); err != nil {
		t.Fatal(err)
	}
	if _, err := w.tryUser("ada", code()); !errors.Is(err, mfa.ErrSuspended) {
		t.Errorf("all factors are suspended: %v; want ErrSuspended", err)
	}
	w.totpOf("ada")
	if v, err := w.tryUser("ada", code()); err != nil || v.Valid {
		t.Errorf("a code of the suspended factor: valid=%v, %v; want a wrong code", v.Valid, err)
	}
}

func TestOneCallNeedsAFactorWithoutChallenge(t *testing.T) {
	w := newFixture(t, quickHash)
	w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone, User: "grace"})
	_, err := w.Enroll(t.Context(), production, mfa.EnrollParams{Type: mfa.TOTP, User: "eve"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"nobody", "grace", "eve"} {
		for _, code := range []string{"123456", "0000-0000-0000-0000", "0123456789", ""} {
			if _, err := w.tryUser(user, code); !errors.Is(err, mfa.ErrNotFound) {
				t.Errorf("%s with %q: %v; want ErrNotFound", user, code, err)
			}
		}
	}
	if _, err := w.tryUser("", "123456"); !errors.Is(err, mfa.ErrInvalid) {
		t.Errorf("without a user: %v; want ErrInvalid", err)
	}
}

func TestOneOfManyRacingUsesOfACodeWinsInOneCall(t *testing.T) {
	w := newFixture(t, quickHash)
	node := w.serviceOver(w.store, quickHash)
	_, code := w.totpOf("ada")
	_, codes := w.recoveryCodes("ada")
	for name, code := range map[string]string{"totp": code(), "recovery": codes[0]} {
		var racing sync.WaitGroup
		valid := make(chan bool, 8)
		for range 4 {
			for _, s := range []*mfa.Service{w.Service, node} {
				racing.Go(func() {
					v, err := s.VerifyUser(t.Context(), sandbox, "ada", mfa.VerifyParams{Code: code}, nil)
					if err != nil && !errors.Is(err, mfa.ErrTooManyAttempts) {
						t.Error(err)
					}
					valid <- v.Valid
				})
			}
		}
		racing.Wait()
		close(valid)
		won := 0
		for v := range valid {
			if v {
				won++
			}
		}
		if won != 1 {
			t.Errorf("%s: %d of 8 racers won; want 1", name, won)
		}
	}
}

// TestOneCallTriesVerifiedFactorsFirst enrolls more apps than one call tries, after the one in use.
func TestOneCallTriesVerifiedFactorsFirst(t *testing.T) {
	w := newFixture(t, quickHash)
	used, code := w.totpOf("ada")
	w.mustVerify(w.challenge(used).ID, code(), true)
	for range 10 {
		w.totpOf("ada")
	}
	w.clock.Advance(time.Minute)
	if v, err := w.tryUser("ada", code()); err != nil || v.Factor != used {
		t.Errorf("the code of the app in use: %+v, %v", v, err)
	}
}

// An attacker in a session of the application can enroll and verify factors.
func TestLaterFactorsDoNotDisplaceTheAppInUse(t *testing.T) {
	w := newFixture(t, quickHash)
	used, code := w.totpOf("ada")
	w.mustVerify(w.challenge(used).ID, code(), true)
	for range 10 {
		w.clock.Advance(time.Minute)
		other, code := w.totpOf("ada")
		w.mustVerify(w.challenge(other).ID, code(), true)
	}
	w.clock.Advance(time.Minute)
	if v, err := w.tryUser("ada", code()); err != nil || v.Factor != used {
		t.Errorf("the code of the app in use: %+v, %v", v, err)
	}
}
