package mfa_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
)

func TestSweepRemovesExpiredRows(t *testing.T) {
	w := newFixture(t, mfa.Options{EventRetention: 48 * time.Hour})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
	phone := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
	var phoneRow mfa.Read
	tap := w.serviceOver(&tapped{Store: w.store, before: func(r mfa.Read) {
		if r.Phone != (delivery.PhoneKey{}) {
			phoneRow = r
		}
	}}, mfa.Options{})
	if _, err := tap.Challenge(t.Context(), sandbox, phone, mfa.ChallengeParams{}, nil); err != nil {
		t.Fatal(err)
	}
	c, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	once := onceKey[mfa.Verification]("k", "r") // its answer to a wrong code is recorded
	if _, err := w.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: wrong}, once); err != nil {
		t.Fatal(err)
	}
	start := w.clock.Now()

	stored := func() string {
		challenge := w.rows(mfa.Read{Bucket: f.Bucket(), Challenge: c.ID}).Challenge != nil
		replay := w.rows(mfa.Read{Bucket: f.Bucket(), Replay: w.ReplayKey(once.Key)}).Replay != nil
		events := len(w.events(f.Bucket())) + len(w.events(phone.Bucket()))
		return fmt.Sprintf("challenge %v, replay %v, phone %v, %d events", challenge, replay, w.rows(phoneRow).Phone != nil, events)
	}
	const ms = time.Millisecond
	for _, tc := range []struct {
		after time.Duration
		want  string
	}{
		{0, "challenge true, replay true, phone true, 6 events"},
		{24*time.Hour - ms, "challenge true, replay true, phone true, 6 events"},
		{24 * time.Hour, "challenge true, replay false, phone false, 6 events"},
		{24*time.Hour + ms, "challenge false, replay false, phone false, 6 events"},
		{48 * time.Hour, "challenge false, replay false, phone false, 6 events"},
		{48*time.Hour + ms, "challenge false, replay false, phone false, 0 events"},
	} {
		w.clock.Advance(start.Add(tc.after).Sub(w.clock.Now()))
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := stored(); got != tc.want {
			t.Errorf("after %v: %s; want %s", tc.after, got, tc.want)
		}
	}
	rows := w.rows(mfa.Read{Bucket: f.Bucket(), Factor: f})
	if rows.Factor == nil || rows.Factor.Failures != 1 || rows.User == nil || rows.User.Failures != 1 {
		t.Errorf("sweeping changed the factor or its user: %+v", rows)
	}
}

func TestSweepRemovesManyRows(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"}).ID
	var last mfa.ChallengeID
	for range 1100 {
		last = w.challenge(f).ID
	}
	w.clock.Advance(25 * time.Hour)
	open := w.challenge(f).ID
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.verify(last, wrong); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("Verify of the last of 1100 old challenges = %v; want %v", err, mfa.ErrNotFound)
	}
	w.mustVerify(open, wrong, false)
}

func TestResealBeforeAKeyIsRetired(t *testing.T) {
	ctx := t.Context()
	for _, resealed := range []bool{true, false} {
		t.Run(fmt.Sprint("resealed ", resealed), func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			app := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
			phone := w.enroll(mfa.EnrollParams{Type: mfa.SMS, User: "grace", PhoneNumber: adasPhone})
			w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"})
			rotated, err := w.keys.Rotate()
			if err != nil {
				t.Fatal(err)
			}
			w.SetKeys(rotated)
			w.mustVerify(w.challenge(app.ID).ID, w.app(app, 0), true) // old rows still open
			before := w.stored(app.ID)
			if resealed {
				if err := w.Reseal(ctx); err != nil {
					t.Fatal(err)
				}
			}
			retired, err := rotated.Retire()
			if err != nil {
				t.Fatal(err)
			}
			w.SetKeys(retired)
			w.clock.Advance(time.Minute)
			c := w.challenge(app.ID)
			v, err := w.verify(c.ID, w.app(app, 0))
			d, errPhone := w.Factor(ctx, sandbox, phone.ID)
			if !resealed {
				if !errors.Is(err, secret.ErrOpen) || !errors.Is(errPhone, secret.ErrOpen) {
					t.Errorf("Verify = %v, Factor = %v; want %v, as nothing was sealed anew", err, errPhone, secret.ErrOpen)
				}
				return
			}
			if err != nil || !v.Valid || errPhone != nil || d.Phone.E164() != adasPhone {
				t.Errorf("Verify = %v, %v; Factor = %v; want all to open under the new key", v.Valid, err, errPhone)
			}
			after := w.stored(app.ID)
			if after.UpdatedAt != before.UpdatedAt || bytes.Equal(after.Sealed, before.Sealed) {
				t.Errorf("factor was %+v and is %+v; want it sealed anew, and else as it was", before, after)
			}
		})
	}
}

// A value that does not open is reported. The values after it must still be sealed again.
func TestDamagedRowDoesNotHoldUpTheOthers(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	damaged := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"}).ID
	w.clock.Advance(time.Millisecond)
	sound := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"}).ID
	f := w.stored(damaged)
	f.Sealed[len(f.Sealed)-1] ^= 1
	w.update(f.Update())
	rotated, err := w.keys.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	w.SetKeys(rotated)
	if err := w.Reseal(t.Context()); !errors.Is(err, secret.ErrOpen) || !strings.Contains(err.Error(), damaged.String()) {
		t.Errorf("Reseal = %v; want %v of %s", err, secret.ErrOpen, damaged)
	}
	if rotated.Stale(w.stored(sound).Sealed) {
		t.Error("the sound factor is still sealed under the old key")
	}
}

func TestResealWithASingleKeyReadsNothing(t *testing.T) {
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	s, err := mfa.NewService(nil, keys, nil, mfa.Options{}) // any use of the store would panic
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reseal(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMaintainWorksUntilItsContextEnds(t *testing.T) {
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	if keys, err = keys.Rotate(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var failed []string
		store := &counted{fails: map[int]bool{2: true}}
		s, err := mfa.NewService(store, keys, nil, mfa.Options{
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Failed: func(task string) { failed = append(failed, task) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Hour+time.Second)
		defer stop()
		s.Maintain(ctx)
		synctest.Wait()
		if store.sweeps < 100 || store.lists < 5 {
			t.Errorf("in an hour it swept %d times and looked for stale rows %d times", store.sweeps, store.lists)
		}
		if n := strings.Count(log.String(), "store on fire"); n != 1 {
			t.Errorf("one failure was logged %d times", n)
		}
		if !slices.Equal(failed, []string{"sweep"}) {
			t.Errorf("failed tasks %q; want the sweep", failed)
		}
	})
}

// counted is a Store without rows that counts calls.
type counted struct {
	mfa.Store
	sweeps, lists int
	fails         map[int]bool // which sweeps
}

func (s *counted) Sweep(context.Context, mfa.Horizon, int) (bool, error) {
	s.sweeps++
	if s.fails[s.sweeps] {
		return false, errors.New("store on fire")
	}
	return false, nil
}

func (s *counted) FactorsAfter(context.Context, mfa.FactorID, int) ([]mfa.Factor, error) {
	s.lists++
	return nil, nil
}

func (*counted) Contexts(context.Context, mfa.EventID, int) ([]mfa.EventContext, error) {
	return nil, nil
}

func (*counted) ExpiredFactors(context.Context, time.Time, int) ([]mfa.Factor, error) {
	return nil, nil
}

func (*counted) DeletedFactors(context.Context, mfa.FactorID, int) ([]mfa.DeletedFactor, error) {
	return nil, nil
}
