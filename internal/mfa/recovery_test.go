package mfa_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// quickHash are options whose recovery codes take little time.
var quickHash = mfa.Options{RecoveryIterations: 2}

// recoveryCodes creates the recovery codes of a user of the sandbox.
func (w *fixture) recoveryCodes(user string) (mfa.Factor, []string) {
	w.t.Helper()
	n, err := w.CreateRecoveryCodes(w.t.Context(), sandbox, mfa.RecoveryParams{User: user, AllowSole: true}, nil)
	if err != nil {
		w.t.Fatalf("CreateRecoveryCodes = %v", err)
	}
	var codes []string
	for _, c := range n.Codes {
		codes = append(codes, mfa.FormatRecoveryCode(c))
	}
	return n.Factor, codes
}

func (w *fixture) try(c mfa.ChallengeID, code string) (mfa.Verification, error) {
	return w.Verify(w.t.Context(), sandbox, c, mfa.VerifyParams{Code: code}, nil)
}

func TestEachRecoveryCodeIsRightOnce(t *testing.T) {
	w := newFixture(t, quickHash)
	set, codes := w.recoveryCodes("ada")
	if len(codes) != 10 {
		t.Fatalf("%d codes; want 10", len(codes))
	}
	for i, code := range codes {
		v, err := w.try(w.challenge(set.ID).ID, code)
		if err != nil || !v.Valid || v.Recovery == nil || v.Recovery.Remaining != 9-i {
			t.Fatalf("code %d: %+v, %v; want valid with %d left", i, v, err, 9-i)
		}
		if v, err = w.try(w.challenge(set.ID).ID, code); err != nil || v.Valid {
			t.Errorf("code %d again: valid=%v, %v; want a wrong code", i, v.Valid, err)
		}
	}
}

func TestRecoveryCodesAreReadLeniently(t *testing.T) {
	w := newFixture(t, quickHash)
	set, codes := w.recoveryCodes("ada")
	for i, change := range []func(string) string{
		strings.ToLower,
		func(s string) string { return strings.ReplaceAll(s, "-", "") },
		func(s string) string { return " " + strings.ReplaceAll(s, "-", " - ") + "\n" },
		func(s string) string { return strings.NewReplacer("0", "O", "1", "l").Replace(s) },
		func(s string) string { return strings.NewReplacer("0", "o", "1", "I").Replace(s) },
		func(s string) string { return strings.ReplaceAll(s, "-", "–") },
	} {
		typed := change(codes[i])
		if v, err := w.try(w.challenge(set.ID).ID, typed); err != nil || !v.Valid {
			t.Errorf("change %d: valid=%v, %v", i, v.Valid, err)
		}
	}
}

func TestInputThatIsNoRecoveryCodeIsWrong(t *testing.T) {
	hashed := 0
	opts := mfa.Options{RecoveryIterations: 1, SlowHash: func(code string, salt []byte, n int) ([]byte, error) {
		hashed++
		return []byte(code), nil
	}}
	w := newFixture(t, opts)
	set, codes := w.recoveryCodes("ada")
	before := hashed
	for _, code := range []string{
		"", "0", "123456", codes[0] + "0", codes[0][1:], strings.Replace(codes[0], codes[0][:1], "U", 1),
		strings.Repeat("A", 1<<16), "AAAAAAAAAAAAAAA\x00", "ÄÄÄÄÄÄÄÄ", "\xff\xfe" + codes[0], "{\"id\":\"aaaaaaaa\"}",
	} {
		v, err := w.try(w.challenge(set.ID).ID, code)
		if err != nil || v.Valid {
			t.Errorf("%.20q: valid=%v, %v; want a wrong code", code, v.Valid, err)
		}
		w.clock.Advance(time.Hour)
	}
	if hashed != before {
		t.Errorf("%d slow hashes of input that is no recovery code; want none", hashed-before)
	}
}

func TestWrongRecoveryCodesLockTheSetAndItsUser(t *testing.T) {
	w := newFixture(t, quickHash)
	set, codes := w.recoveryCodes("ada")
	c := w.challenge(set.ID)
	for range 5 {
		if v, err := w.try(c.ID, "0000-0000-0000-0000"); err != nil || v.Valid {
			t.Fatalf("a wrong code: valid=%v, %v", v.Valid, err)
		}
	}
	if _, err := w.try(c.ID, codes[0]); !errors.Is(err, mfa.ErrTooManyAttempts) {
		t.Errorf("after five wrong codes: %v; want ErrTooManyAttempts", err)
	}
	c = w.challenge(set.ID)
	if v, err := w.try(c.ID, "0000-0000-0000-0000"); err != nil || v.Valid {
		t.Fatalf("a wrong code: valid=%v, %v", v.Valid, err)
	}
	if _, err := w.try(c.ID, codes[0]); !errors.Is(err, mfa.ErrTooManyAttempts) {
		t.Errorf("a right code of a locked set: %v; want ErrTooManyAttempts", err)
	}
	w.clock.Advance(time.Minute)
	if v, err := w.try(c.ID, codes[0]); err != nil || !v.Valid {
		t.Errorf("after the lock: valid=%v, %v; want valid", v.Valid, err)
	}
	rows, err := w.store.View(t.Context(), mfa.Read{Bucket: set.ID.Bucket(), Factor: set.ID})
	if err != nil || rows.User != nil || rows.Factor.Failures != 0 {
		t.Errorf("after a right code: %+v, %+v, %v; want no failures", rows.User, rows.Factor, err)
	}
}

// acceptRecovery are the parameters of a challenge that a recovery code can verify.
var acceptRecovery = mfa.ChallengeParams{AcceptRecovery: true}

func (w *fixture) challengeWith(id mfa.FactorID, p mfa.ChallengeParams) mfa.IssuedChallenge {
	w.t.Helper()
	c, err := w.Challenge(w.t.Context(), sandbox, id, p, nil)
	if err != nil {
		w.t.Fatalf("Challenge = %v", err)
	}
	return c
}

func TestChallengeOfAnotherFactorAcceptsARecoveryCodeIfAsked(t *testing.T) {
	w := newFixture(t, quickHash)
	for name, p := range map[string]mfa.EnrollParams{
		"totp": {Type: mfa.TOTP}, "sms": {Type: mfa.SMS, PhoneNumber: adasPhone}, "generic_otp": {Type: mfa.GenericOTP},
	} {
		t.Run(name, func(t *testing.T) {
			p.User = name
			f := w.enroll(p)
			set, codes := w.recoveryCodes(name)
			if v, err := w.try(w.challenge(f.ID).ID, codes[0]); err != nil || v.Valid {
				t.Errorf("without being asked: valid=%v, %v; want a wrong code", v.Valid, err)
			}
			w.clock.Advance(time.Minute)
			v, err := w.try(w.challengeWith(f.ID, acceptRecovery).ID, codes[0])
			if err != nil || !v.Valid || v.Recovery == nil || v.Recovery.Remaining != 9 || v.Challenge.Factor != f.ID {
				t.Errorf("%+v, %v; want valid with 9 codes left", v, err)
			}
			found, err := w.Factor(t.Context(), sandbox, f.ID)
			if err != nil || found.IsVerified() {
				t.Errorf("the challenged factor is verified (%v): a recovery code proves nothing about it", err)
			}
			if found, err = w.Factor(t.Context(), sandbox, set.ID); err != nil || !found.IsVerified() || found.Recovery.Remaining != 9 {
				t.Errorf("the set: %+v, %v", found.Recovery, err)
			}
		})
	}
}

func TestLockOfTheFactorDoesNotKeepARecoveryCodeOut(t *testing.T) {
	w := newFixture(t, quickHash)
	f := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	_, codes := w.recoveryCodes("ada")
	for range 50 {
		for {
			v, err := w.try(w.challenge(f.ID).ID, wrong)
			if err == nil && !v.Valid {
				break
			}
			w.clock.Advance(time.Hour)
		}
	}
	if _, err := w.Challenge(t.Context(), sandbox, f.ID, mfa.ChallengeParams{}, nil); !errors.Is(err, mfa.ErrTooManyAttempts) {
		t.Fatalf("challenge of a locked factor: %v; want ErrTooManyAttempts", err)
	}
	c := w.challengeWith(f.ID, acceptRecovery)
	if _, err := w.try(c.ID, totp.Code(w.secretOf(f), totp.Step(w.clock.Now()))); !errors.Is(err, mfa.ErrTooManyAttempts) {
		t.Errorf("the factor's own code: %v; want ErrTooManyAttempts", err)
	}
	if v, err := w.try(c.ID, codes[0]); err != nil || !v.Valid {
		t.Errorf("a recovery code: valid=%v, %v; want valid", v.Valid, err)
	}
	if d, err := w.Factor(t.Context(), sandbox, f.ID); err != nil || d.Failures != 50 {
		t.Errorf("the locked factor has %d wrong codes, %v; want 50: a recovery code lifts no other lock", d.Failures, err)
	}
}

func (w *fixture) secretOf(e mfa.Enrollment) []byte {
	w.t.Helper()
	key, err := totp.ParseSecret(e.Secret.Reveal())
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

func TestSuspendedFactorRefusesRecoveryCodes(t *testing.T) {
	w := newFixture(t, quickHash)
	f := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	set, codes := w.recoveryCodes("ada")
	c, own := w.challengeWith(f.ID, acceptRecovery), w.challenge(set.ID)
	if err := w.operator().SuspendFactor(t.Context(), adaWhy, f.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.try(c.ID, codes[0]); !errors.Is(err, mfa.ErrSuspended) {
		t.Errorf("challenge of a suspended factor: %v; want ErrSuspended", err)
	}
	if v, err := w.try(own.ID, codes[0]); err != nil || !v.Valid {
		t.Errorf("challenge of the codes: valid=%v, %v; want valid", v.Valid, err)
	}
	other := w.challenge(set.ID)
	if err := w.operator().SuspendFactor(t.Context(), adaWhy, set.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.try(other.ID, codes[1]); !errors.Is(err, mfa.ErrSuspended) {
		t.Errorf("challenge of suspended codes: %v; want ErrSuspended", err)
	}
}

func TestRecoveryCodesNeedAnotherVerifiedFactor(t *testing.T) {
	w := newFixture(t, quickHash)
	create := func() error {
		_, err := w.CreateRecoveryCodes(t.Context(), sandbox, mfa.RecoveryParams{User: "ada"}, nil)
		return err
	}
	if err := create(); !errors.Is(err, mfa.ErrSoleFactor) {
		t.Errorf("without a factor: %v; want ErrSoleFactor", err)
	}
	f := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	if err := create(); !errors.Is(err, mfa.ErrSoleFactor) {
		t.Errorf("with an unverified factor: %v; want ErrSoleFactor", err)
	}
	if v, err := w.try(w.challenge(f.ID).ID, totp.Code(w.secretOf(f), totp.Step(w.clock.Now()))); err != nil || !v.Valid {
		t.Fatalf("verify: %v, %v", v.Valid, err)
	}
	if err := create(); err != nil {
		t.Errorf("with a verified factor: %v", err)
	}
	if err := w.DeleteFactor(t.Context(), sandbox, f.ID); err != nil {
		t.Fatal(err)
	}
	if err := create(); !errors.Is(err, mfa.ErrSoleFactor) {
		t.Errorf("with recovery codes only: %v; want ErrSoleFactor", err)
	}
	if d, err := w.RecoveryCodes(t.Context(), sandbox, "ada"); err != nil || d.Recovery.Remaining != 10 {
		t.Errorf("the codes after the last other factor was deleted: %+v, %v; want 10", d.Recovery, err)
	}
}

func TestNewRecoveryCodesReplaceAllEarlierOnes(t *testing.T) {
	w := newFixture(t, quickHash)
	first, old := w.recoveryCodes("ada")
	c := w.challenge(first.ID)
	if v, err := w.try(c.ID, "0000-0000-0000-0000"); err != nil || v.Valid {
		t.Fatal(v.Valid, err)
	}
	w.clock.Advance(time.Minute)
	second, codes := w.recoveryCodes("ada")
	if second.ID != first.ID || second.Failures != 1 {
		t.Errorf("the new set is %s with %d wrong codes; want %s with 1", second.ID, second.Failures, first.ID)
	}
	if v, err := w.try(c.ID, old[0]); err != nil || v.Valid {
		t.Errorf("an old code: valid=%v, %v; want a wrong code", v.Valid, err)
	}
	if v, err := w.try(c.ID, codes[0]); err != nil || !v.Valid {
		t.Errorf("a new code: valid=%v, %v; want valid", v.Valid, err)
	}
}

// A code that was hashed for a set that is replaced before the transaction is wrong, and counted.
func TestCodeOfASetThatIsReplacedMeanwhileIsWrong(t *testing.T) {
	for _, end := range []string{"replaced", "deleted", "deleted and created"} {
		t.Run(end, func(t *testing.T) {
			var during func()
			opts := mfa.Options{RecoveryIterations: 1, SlowHash: func(code string, salt []byte, _ int) ([]byte, error) {
				if run := during; run != nil {
					during = nil
					run()
				}
				return append([]byte(code), salt...), nil
			}}
			w := newFixture(t, opts)
			other := w.serviceOver(w.store, quickHash) // another node: the only place of this one is taken
			f := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
			_, codes := w.recoveryCodes("ada")
			c := w.challengeWith(f.ID, acceptRecovery)
			during = func() {
				if end != "replaced" {
					if err := other.DeleteRecoveryCodes(t.Context(), sandbox, "ada", mfa.ChallengeID{}); err != nil {
						t.Error(err)
					}
				}
				if end != "deleted" {
					if _, err := other.CreateRecoveryCodes(t.Context(), sandbox, mfa.RecoveryParams{User: "ada", AllowSole: true}, nil); err != nil {
						t.Error(err)
					}
				}
			}
			v, err := w.try(c.ID, codes[0])
			if err != nil || v.Valid || v.Challenge.Attempts != 1 {
				t.Errorf("valid=%v after %d attempts, %v; want a wrong code that is counted", v.Valid, v.Challenge.Attempts, err)
			}
		})
	}
}

// slowly returns options whose slow hash waits for a value of the channel, and reports its start.
func slowly() (opts mfa.Options, started, release chan struct{}) {
	started, release = make(chan struct{}, 100), make(chan struct{})
	return mfa.Options{RecoveryIterations: 1, SlowHash: func(code string, salt []byte, _ int) ([]byte, error) {
		started <- struct{}{}
		<-release
		return append([]byte(code), salt...), nil
	}}, started, release
}

func TestSlowHashHoldsNoTransaction(t *testing.T) {
	opts, started, release := slowly()
	w := newFixture(t, opts)
	defer close(release)
	go func() {
		_, err := w.CreateRecoveryCodes(context.Background(), sandbox, mfa.RecoveryParams{User: "ada", AllowSole: true}, nil)
		if err != nil && !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("CreateRecoveryCodes = %v", err)
		}
	}()
	<-started
	// The hash is blocked; requests that write are not.
	f := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	if v, err := w.try(w.challenge(f.ID).ID, totp.Code(w.secretOf(f), totp.Step(w.clock.Now()))); err != nil || !v.Valid {
		t.Errorf("verify during a slow hash: valid=%v, %v", v.Valid, err)
	}
}

func TestExcessSlowHashesAreRejected(t *testing.T) {
	opts, started, release := slowly()
	w := newFixture(t, opts)
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 400)
	var all sync.WaitGroup
	for i := range 40 { // ten hashes each
		all.Go(func() {
			_, err := w.CreateRecoveryCodes(ctx, sandbox, mfa.RecoveryParams{User: fmt.Sprint("user", i), AllowSole: true}, nil)
			results <- err
		})
	}
	<-started
	busy := 0
	for busy == 0 {
		if err := <-results; errors.Is(err, mfa.ErrUnavailable) {
			busy++
		} else {
			t.Fatalf("CreateRecoveryCodes = %v; want ErrUnavailable", err)
		}
	}
	cancel() // the others wait no longer
	close(release)
	all.Wait()
	close(results)
	for err := range results {
		if err != nil && !errors.Is(err, mfa.ErrUnavailable) && !errors.Is(err, context.Canceled) {
			t.Errorf("CreateRecoveryCodes = %v", err)
		}
	}
}

// TestManyGuessesOfOneUserDoNotKeepOthersWaiting sends guesses at once. Each waits for the one before it, and
// those after the lock need no slow hash.
func TestManyGuessesOfOneUserDoNotKeepOthersWaiting(t *testing.T) {
	var hashes atomic.Int32
	started, release := make(chan struct{}, 100), make(chan struct{})
	opts := mfa.Options{RecoveryIterations: 2, SlowHash: func(code string, salt []byte, _ int) ([]byte, error) {
		if code == "ABCDABCDABCDABCD" {
			hashes.Add(1)
			started <- struct{}{}
			<-release
		}
		return []byte(code), nil
	}}
	w := newFixture(t, opts)
	w.recoveryCodes("eve")
	_, codes := w.recoveryCodes("ada")
	var all sync.WaitGroup
	var checked, locked, busy atomic.Int32
	for range 50 {
		all.Go(func() {
			_, err := w.VerifyUser(t.Context(), sandbox, "eve", mfa.VerifyParams{Code: "ABCDABCDABCDABCD"}, nil)
			switch {
			case err == nil:
				checked.Add(1)
			case errors.Is(err, mfa.ErrTooManyAttempts):
				locked.Add(1)
			case errors.Is(err, mfa.ErrUnavailable):
				busy.Add(1)
			default:
				t.Errorf("VerifyUser = %v", err)
			}
		})
	}
	<-started
	for busy.Load() < 50-33 { // one is checked, and 32 wait
		time.Sleep(time.Millisecond)
	}
	all.Go(func() {
		if v, err := w.VerifyUser(t.Context(), sandbox, "ada", mfa.VerifyParams{Code: codes[0]}, nil); err != nil || !v.Valid {
			t.Errorf("the code of another user: valid=%v, %v", v.Valid, err)
		}
	})
	time.Sleep(10 * time.Millisecond) // enough for it to wait, or to be refused
	close(release)
	all.Wait()
	if n := hashes.Load(); n != 6 || checked.Load() != 6 || locked.Load() != 27 || busy.Load() != 17 {
		t.Errorf("%d hashes, %d guesses checked, %d refused because of the lock, %d because too many wait", n, checked.Load(), locked.Load(), busy.Load())
	}
}

func TestDumpOfTheDatabaseVerifiesNothing(t *testing.T) {
	w := newFixture(t, quickHash)
	set, codes := w.recoveryCodes("ada")
	c := w.challenge(set.ID)
	var file []byte
	for _, name := range []string{w.path, w.path + "-wal"} {
		part, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, part...)
	}
	for _, code := range codes {
		plain := strings.ReplaceAll(code, "-", "")
		for _, text := range []string{code, plain, strings.ToLower(plain)} {
			if bytes.Contains(file, []byte(text)) {
				t.Error("the file contains a code")
			}
		}
	}
	stolen, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	right := w.Keys()
	w.SetKeys(stolen)
	if v, err := w.try(c.ID, codes[0]); err == nil && v.Valid {
		t.Error("a code is right under another keyset")
	}
	w.SetKeys(right)
	if v, err := w.try(c.ID, codes[0]); err != nil || !v.Valid {
		t.Errorf("under the keyset: valid=%v, %v; want valid", v.Valid, err)
	}
}

func TestRecoveryCodesOutliveTheKeysThatSealedThem(t *testing.T) {
	w := newFixture(t, quickHash)
	set, codes := w.recoveryCodes("ada")
	rotated, err := w.Keys().Rotate()
	if err != nil {
		t.Fatal(err)
	}
	w.SetKeys(rotated)
	if err := w.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	retired, err := rotated.Retire()
	if err != nil {
		t.Fatal(err)
	}
	w.SetKeys(retired)
	if v, err := w.try(w.challenge(set.ID).ID, codes[3]); err != nil || !v.Valid {
		t.Errorf("after the rotation: valid=%v, %v; want valid", v.Valid, err)
	}
}

func TestOneOfManyRacingUsesOfARecoveryCodeWins(t *testing.T) {
	w := newFixture(t, quickHash)
	node := w.serviceOver(w.store, quickHash)
	set, codes := w.recoveryCodes("ada")
	var racing sync.WaitGroup
	valid := make(chan bool, 16)
	for i := range 8 {
		c := w.challenge(set.ID).ID
		for _, s := range []*mfa.Service{w.Service, node} {
			racing.Go(func() {
				v, err := s.Verify(t.Context(), sandbox, c, mfa.VerifyParams{Code: codes[0]}, nil)
				if err != nil && !errors.Is(err, mfa.ErrAlreadyVerified) && !errors.Is(err, mfa.ErrTooManyAttempts) {
					t.Errorf("racer %d: %v", i, err)
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
		t.Errorf("%d of 16 racers won; want 1", won)
	}
}

func TestRacingRequestsCreateOneSet(t *testing.T) {
	w := newFixture(t, quickHash)
	var racing sync.WaitGroup
	for range 8 {
		racing.Go(func() {
			_, err := w.CreateRecoveryCodes(t.Context(), sandbox, mfa.RecoveryParams{User: "ada", AllowSole: true}, nil)
			if err != nil && !errors.Is(err, mfa.ErrUnavailable) {
				t.Errorf("CreateRecoveryCodes = %v", err)
			}
		})
	}
	racing.Wait()
	page, err := w.Factors(t.Context(), sandbox, mfa.ListParams{User: "ada", All: true})
	if err != nil || len(page.Factors) != 1 {
		t.Errorf("%d factors, %v; want one set", len(page.Factors), err)
	}
}

func TestListsLeaveOutRecoveryCodesUnlessAsked(t *testing.T) {
	w := newFixture(t, quickHash)
	var want []mfa.FactorID
	for i := range 7 {
		if i == 3 {
			w.recoveryCodes("ada")
		}
		want = append(want, w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID)
		w.clock.Advance(time.Second)
	}
	var got []mfa.FactorID
	p := mfa.ListParams{User: "ada", Limit: 2, Ascending: true}
	for {
		page, err := w.Factors(t.Context(), sandbox, p)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Factors) < 2 && page.After != "" {
			t.Errorf("a page of %d factors, and more follow; want 2", len(page.Factors))
		}
		for _, f := range page.Factors {
			got = append(got, f.ID)
		}
		if p.After = page.After; p.After == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v; want %v", got, want)
	}
	page, err := w.Factors(t.Context(), sandbox, mfa.ListParams{User: "ada", All: true})
	if err != nil || len(page.Factors) != 8 {
		t.Errorf("%d factors, %v; want 8", len(page.Factors), err)
	}
}

// in returns the caller by with other settings of the environment.
func in(t testing.TB, by mfa.Caller, changes map[string]string) mfa.Caller {
	by.Settings = with(t, by.Settings, changes)
	return by
}

func TestEnvironmentAcceptsRecoveryCodesAtEveryChallenge(t *testing.T) {
	w := newFixture(t, quickHash)
	_, codes := w.recoveryCodes("ada")
	app, err := w.Enroll(t.Context(), sandbox, mfa.EnrollParams{Type: mfa.TOTP, User: "ada"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	accepting := in(t, sandbox, map[string]string{"accept_recovery": "true"})
	for _, tc := range []struct {
		by   mfa.Caller
		want bool
	}{{sandbox, false}, {accepting, true}} {
		c := w.challenge(app.ID)
		v, err := w.Verify(t.Context(), tc.by, c.ID, mfa.VerifyParams{Code: codes[0]}, nil)
		if err != nil || v.Valid != tc.want {
			t.Errorf("accept_recovery=%v: valid=%v, %v", tc.want, v.Valid, err)
		}
	}
}

func TestNISTProfileReplacesAUsedRecoveryCode(t *testing.T) {
	w := newFixture(t, quickHash)
	set, codes := w.recoveryCodes("ada")
	nist := in(t, sandbox, map[string]string{"recovery_profile": "nist"})
	code := codes[0]
	for i := range 12 { // more than the set has codes
		v, err := w.Verify(t.Context(), nist, w.challenge(set.ID).ID, mfa.VerifyParams{Code: code}, nil)
		if err != nil || !v.Valid || v.Recovery.Remaining != 10 {
			t.Fatalf("use %d: %+v, %v; want valid, with 10 left", i, v, err)
		}
		used := code
		if code = v.Recovery.Replacement.Reveal(); code == "" || code == used {
			t.Fatalf("use %d: the replacement is %q", i, code)
		}
		if v, err := w.Verify(t.Context(), nist, w.challenge(set.ID).ID, mfa.VerifyParams{Code: used}, nil); err != nil || v.Valid {
			t.Fatalf("use %d: the used code again: valid=%v, %v", i, v.Valid, err)
		}
		w.clock.Advance(time.Hour) // ends the lock by wrong codes
	}
	if v, err := w.try(w.challenge(set.ID).ID, codes[1]); err != nil || !v.Valid || v.Recovery.Replacement.Reveal() != "" {
		t.Errorf("another code without the profile: %+v, %v; want valid, without a replacement", v, err)
	}
}
