package mfa_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// guess has the form of a bypass code.
const guess = "0123456789"

func ofUser(user string) operator.BypassParams {
	return operator.BypassParams{Environment: sandbox.Environment, User: user}
}

// bypass issues a bypass code for a user of the sandbox.
func (w *fixture) bypass(user string) string {
	w.t.Helper()
	code, _, err := w.operator().CreateBypass(w.t.Context(), adaWhy, ofUser(user))
	if err != nil {
		w.t.Fatalf("CreateBypass = %v", err)
	}
	return code.Reveal()
}

// three enrolls a factor of each kind of a user.
func (w *fixture) three(user string) (all []mfa.Enrollment) {
	w.t.Helper()
	for _, p := range []mfa.EnrollParams{{Type: mfa.TOTP}, {Type: mfa.SMS, PhoneNumber: adasPhone}, {Type: mfa.GenericOTP}} {
		p.User = user
		all = append(all, w.enroll(p))
	}
	return all
}

func TestABypassCodeVerifiesOneChallengeOfItsUser(t *testing.T) {
	for i, kind := range []mfa.FactorType{mfa.TOTP, mfa.SMS, mfa.GenericOTP} {
		t.Run(string(kind), func(t *testing.T) {
			w := newFixture(t, mfa.Options{Limits: often})
			all := w.three("ada")
			foreign := w.challenge(w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "grace"}).ID)
			code := w.bypass("ada")
			if len(code) != 10 {
				t.Errorf("the code is %q; want 10 digits", code)
			}
			w.mustVerify(foreign.ID, code, false)
			c := w.challenge(all[i].ID)
			before := *w.stored(all[i].ID)
			v := w.mustVerify(c.ID, code[:5]+" "+code[5:], true)
			if !v.Bypass || v.Challenge.ID != c.ID || v.Challenge.Code.Reveal() != c.Code.Reveal() || w.kept(c.ID).VerifiedAt.IsZero() {
				t.Errorf("the verification is %+v", v)
			}
			if after := w.stored(all[i].ID); after.LastUsedAt != before.LastUsedAt || after.IsVerified() {
				t.Errorf("the factor is %+v; want it unchanged", after)
			}
			events := w.events(c.ID.Bucket())
			used, succeeded := events[len(events)-1], events[len(events)-2]
			if succeeded.Type != mfa.ChallengeSucceeded || succeeded.Reason != "bypass" || succeeded.Challenge != c.ID {
				t.Errorf("the event of the verification is %+v", succeeded)
			}
			if used.Type != mfa.BypassUsed || used.Reason != adaWhy.Reason || used.Factor != all[i].ID || used.Caller != sandbox.Key {
				t.Errorf("the event of the code is %+v", used)
			}
			for _, e := range all {
				w.clock.Advance(time.Second)
				w.mustVerify(w.challenge(e.ID).ID, code, false)
			}
			if _, err := w.verify(c.ID, code); !errors.Is(err, mfa.ErrAlreadyVerified) {
				t.Errorf("the same challenge again: %v", err)
			}
		})
	}
}

func TestABypassCodeEnds(t *testing.T) {
	for name, end := range map[string]func(w *fixture){
		"after its time": func(w *fixture) { w.clock.Advance(15 * time.Minute) },
		"replaced":       func(w *fixture) { w.bypass("ada") },
		"revoked": func(w *fixture) {
			if err := w.operator().RevokeBypass(w.t.Context(), adaWhy, ofUser("ada")); err != nil {
				w.t.Error(err)
			}
			if err := w.operator().RevokeBypass(w.t.Context(), adaWhy, ofUser("ada")); !errors.Is(err, operator.ErrNoBypass) {
				w.t.Errorf("revoked again: %v", err)
			}
		},
		"with the user": func(w *fixture) {
			if err := w.EraseUser(w.t.Context(), sandbox, "ada"); err != nil {
				w.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
			code := w.bypass("ada")
			end(w)
			again := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
			w.mustVerify(w.challenge(again.ID).ID, code, false)
		})
	}
}

func TestABypassCodeOfAFactorWithoutUser(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	mine, other := w.enroll(mfa.EnrollParams{Type: mfa.TOTP}), w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
	code, _, err := w.operator().CreateBypass(t.Context(), adaWhy, operator.BypassParams{Environment: sandbox.Environment, Factor: mine.ID})
	if err != nil {
		t.Fatal(err)
	}
	w.mustVerify(w.challenge(other.ID).ID, code.Reveal(), false)
	w.mustVerify(w.challenge(mine.ID).ID, code.Reveal(), true)
}

// TestABypassCodePassesALock locks a user, or only a factor, until an operator unlocks it.
func TestABypassCodePassesALock(t *testing.T) {
	for name, limits := range map[string]mfa.Limits{
		"of the user":   {UserFailures: 3, SendSpacing: time.Millisecond},
		"of the factor": {FactorFailures: 3, SendSpacing: time.Millisecond},
	} {
		for _, kind := range []mfa.FactorType{mfa.TOTP, mfa.SMS, mfa.GenericOTP} {
			t.Run(name+", "+string(kind), func(t *testing.T) {
				w := newFixture(t, mfa.Options{Limits: limits})
				p := mfa.EnrollParams{Type: kind, User: "ada"}
				if kind == mfa.SMS {
					p.PhoneNumber = adasPhone
				}
				e := w.enroll(p)
				for range 3 {
					w.fail(e.ID)
					w.clock.Advance(time.Hour)
				}
				locked := func() {
					t.Helper()
					if _, err := w.sendIn(sandbox, e.ID); !errors.Is(err, mfa.ErrTooManyAttempts) {
						t.Fatalf("Challenge of a locked factor = %v", err)
					}
				}
				locked()
				code, before := w.bypass("ada"), w.carrier.Sent()
				c := w.challenge(e.ID)
				if w.carrier.Sent() != before {
					t.Error("a message was sent, although its code could not be used")
				}
				right := wrong
				if kind != mfa.SMS {
					right = w.right(e, c)
				}
				if _, err := w.verify(c.ID, right); !errors.Is(err, mfa.ErrTooManyAttempts) {
					t.Errorf("the code of the locked factor = %v", err)
				}
				w.mustVerify(c.ID, code, true)
				locked() // the lock stays
			})
		}
	}
}

// TestGuessesOfABypassCode guesses the bypass code of a user who is locked.
func TestGuessesOfABypassCode(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{UserFailures: 3, Attempts: 2}})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	for range 3 {
		w.fail(e.ID)
	}
	code := w.bypass("ada")
	checked := 0
	for range 20 {
		c, err := w.sendIn(sandbox, e.ID)
		if err != nil {
			break
		}
		for range 5 {
			if v, err := w.verify(c.ID, guess); err == nil && !v.Valid {
				checked++
			}
		}
	}
	if checked != 5 {
		t.Errorf("%d guesses were checked; want 5", checked)
	}
	rows := w.rows(mfa.Read{Bucket: e.ID.Bucket(), Factor: e.ID})
	if rows.Factor.Failures != 8 || rows.User.Failures != 8 {
		t.Errorf("%d and %d failures are counted; want 8", rows.Factor.Failures, rows.User.Failures)
	}
	if _, err := w.sendIn(sandbox, e.ID); !errors.Is(err, mfa.ErrTooManyAttempts) {
		t.Errorf("Challenge after the guesses = %v", err)
	}
	if err := w.unlockUser(sandbox, "ada"); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	w.mustVerify(w.challenge(e.ID).ID, code, false)
	events := w.events(e.ID.Bucket())
	var ended []string
	for _, e := range events {
		if e.Type == mfa.BypassRevoked {
			ended = append(ended, e.Reason)
		}
	}
	if len(ended) != 1 || ended[0] != "too_many_attempts" {
		t.Errorf("the reasons why the code ended are %v", ended)
	}
}

func TestASuspendedFactorAcceptsNoBypassCode(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	stolen, other := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"}), w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	c := w.challenge(stolen.ID)
	code := w.bypass("ada")
	w.suspend(stolen.ID)
	if _, err := w.verify(c.ID, code); !errors.Is(err, mfa.ErrSuspended) {
		t.Errorf("Verify = %v; want %v", err, mfa.ErrSuspended)
	}
	w.mustVerify(w.challenge(other.ID).ID, code, true)
	w.suspend(other.ID)
	if _, _, err := w.operator().CreateBypass(t.Context(), adaWhy, ofUser("ada")); !errors.Is(err, operator.ErrAllSuspended) {
		t.Errorf("CreateBypass = %v; want %v", err, operator.ErrAllSuspended)
	}
}

// TestTheDatabaseDoesNotVerifyABypassCode looks for the code in the file, and tries it with
// another keyset.
func TestTheDatabaseDoesNotVerifyABypassCode(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	c := w.challenge(e.ID)
	code := w.bypass("ada")
	for _, file := range []string{w.path, w.path + "-wal"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(code)) {
			t.Errorf("%s contains the code", file)
		}
	}
	stranger := newFixture(t, mfa.Options{})
	stranger.clock = w.clock
	v, err := stranger.serviceOver(w.store, mfa.Options{}).Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: code}, nil)
	if err != nil || v.Valid {
		t.Errorf("Verify with another keyset = %v, %v; want a wrong code", v.Valid, err)
	}
	w.mustVerify(c.ID, code, true)
}

// reads is a Store that records the reads.
type reads struct {
	mfa.Store
	views, updates []mfa.Read
}

func (s *reads) View(ctx context.Context, r mfa.Read) (mfa.Rows, error) {
	s.views = append(s.views, r)
	return s.Store.View(ctx, r)
}

func (s *reads) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	s.updates = append(s.updates, r)
	return s.Store.Update(ctx, r, fn)
}

// TestOrdinaryCodesReadNoBypassCode checks that bypass codes cost other requests nothing.
func TestOrdinaryCodesReadNoBypassCode(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	store := &reads{Store: w.store}
	w.Service = w.serviceOver(store, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"})
	c := w.challenge(e.ID)
	for _, code := range []string{wrong, "123456789", "12345678901", "12345abcde", c.Code.Reveal()} {
		if _, err := w.verify(c.ID, code); err != nil {
			t.Fatal(err)
		}
	}
	if len(store.views) != 0 || len(store.updates) != 7 {
		t.Errorf("%d views and %d updates; want 0 and 7", len(store.views), len(store.updates))
	}
	for _, r := range store.updates {
		if r.Bypass != (mfa.BypassKey{}) {
			t.Errorf("an ordinary request reads the bypass code: %+v", r)
		}
	}
}

// TestOneOfRacingUsesOfABypassCodeWins uses a code in challenges of three factors on two
// nodes at once.
func TestOneOfRacingUsesOfABypassCodeWins(t *testing.T) {
	race := func(t *testing.T, w *fixture, node func() mfa.Store) {
		nodes := []*mfa.Service{w.serviceOver(node(), mfa.Options{}), w.serviceOver(node(), mfa.Options{})}
		o := w.operatorOn(node().(operator.Store))
		var factors []mfa.FactorID
		for range 3 {
			e, err := nodes[0].Enroll(t.Context(), sandbox, mfa.EnrollParams{Type: mfa.TOTP, User: "ada"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			factors = append(factors, e.ID)
		}
		for round := range 5 {
			code, _, err := o.CreateBypass(t.Context(), adaWhy, ofUser("ada"))
			if err != nil {
				t.Fatal(err)
			}
			var challenges []mfa.ChallengeID
			for i := range 4 { // with wrong codes after the first, a factor waits after five of them
				c, err := nodes[i%2].Challenge(t.Context(), sandbox, factors[(i+round)%3], mfa.ChallengeParams{}, nil)
				if err != nil {
					t.Fatal(err)
				}
				challenges = append(challenges, c.ID)
			}
			var valid atomic.Int32
			var all sync.WaitGroup
			for i, id := range challenges {
				all.Go(func() {
					v, err := nodes[i%2].Verify(t.Context(), sandbox, id, mfa.VerifyParams{Code: code.Reveal()}, nil)
					if err != nil && !errors.Is(err, mfa.ErrTooManyAttempts) {
						t.Errorf("Verify = %v", err)
					}
					if v.Valid {
						valid.Add(1)
					}
				})
			}
			all.Wait()
			if n := valid.Load(); n != 1 {
				t.Fatalf("round %d: %d uses were valid; want 1", round, n)
			}
			w.clock.Advance(time.Hour)
		}
	}
	t.Run("SQLite", func(t *testing.T) {
		w := newFixture(t, mfa.Options{})
		race(t, w, func() mfa.Store {
			s, err := sqlite.Open(w.path, nil)
			return closing(t, s, err)
		})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		url := pgtest.Start(t).Database(t)
		if err := postgres.Migrate(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		race(t, newFixture(t, mfa.Options{}), func() mfa.Store {
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			return closing(t, s, err)
		})
	})
}

// TestBypassCodesAreUniform draws codes from known numbers.
func TestBypassCodesAreUniform(t *testing.T) {
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	f := &mfa.Factor{ID: mfa.FactorID{1}}
	for _, tc := range []struct {
		drawn []byte
		want  string
	}{
		{make([]byte, 8), "0000000000"},
		{[]byte{7: 42}, "0000000042"},
		{bytes.Join([][]byte{bytes.Repeat([]byte{0xff}, 8), {7: 7}}, nil), "0000000007"}, // the first would favor small codes
	} {
		code, b, err := mfa.NewBypass(keys, bytes.NewReader(tc.drawn), f, time.Minute, time.UnixMilli(0))
		if err != nil || code.Reveal() != tc.want {
			t.Errorf("NewBypass from %x = %q, %v; want %q", tc.drawn, code.Reveal(), err, tc.want)
		}
		if text := fmt.Sprint(code, b); bytes.Contains([]byte(text), []byte(tc.want)) {
			t.Errorf("the code is printed: %s", text)
		}
	}
	if _, _, err := mfa.NewBypass(keys, bytes.NewReader(nil), f, time.Minute, time.UnixMilli(0)); err == nil {
		t.Error("NewBypass without random numbers succeeded")
	}
}

// TestABypassCodeVerifiesAPendingPasskey challenges a passkey that is not registered while its user is
// locked. The options then list the other passkeys of the user.
func TestABypassCodeVerifiesAPendingPasskey(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{UserFailures: 3}})
	e, pending := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}), w.pending("ada")
	for range 3 {
		w.fail(e.ID)
	}
	code := w.bypass("ada")
	w.mustVerify(w.challenge(pending.ID).ID, code, true)
}
