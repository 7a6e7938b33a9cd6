package mfa_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// onBothStores runs a test on SQLite and on PostgreSQL. The fixture is that of the Service.
func onBothStores(t *testing.T, test func(t *testing.T, w *fixture, s *mfa.Service, store mfa.Store)) {
	t.Run("SQLite", func(t *testing.T) {
		w := newFixture(t, mfa.Options{})
		test(t, w, w.Service, w.store)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		url := pgtest.Start(t).Database(t)
		if err := postgres.Migrate(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		store, err := postgres.Open(t.Context(), url, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		w := newFixture(t, mfa.Options{})
		test(t, w, w.serviceOver(store, mfa.Options{}), store)
	})
}

func TestUnverifiedFactorsAreRemoved(t *testing.T) {
	onBothStores(t, func(t *testing.T, w *fixture, s *mfa.Service, store mfa.Store) {
		twoDays := configured(t, "unverified_expiry", "2d")
		enroll := func(by mfa.Caller, p mfa.EnrollParams) mfa.FactorID {
			t.Helper()
			e, err := s.Enroll(t.Context(), by, p, nil)
			if err != nil {
				t.Fatal(err)
			}
			return e.ID
		}
		generic, passkey := mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}, mfa.EnrollParams{Type: mfa.WebAuthn, User: "ada"}
		forever, lost, used := enroll(sandbox, generic), enroll(twoDays, generic), enroll(twoDays, generic)
		pending, pendingToo := enroll(sandbox, passkey), enroll(twoDays, passkey)
		c, err := s.Challenge(t.Context(), twoDays, used, mfa.ChallengeParams{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := s.Verify(t.Context(), twoDays, c.ID, mfa.VerifyParams{Code: c.Code.Reveal()}, nil); err != nil || !v.Valid {
			t.Fatalf("Verify = %v, %v", v.Valid, err)
		}
		left := func() (names string) {
			t.Helper()
			if err := s.ExpireFactors(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, f := range []struct {
				name string
				id   mfa.FactorID
			}{{"forever", forever}, {"lost", lost}, {"used", used}, {"pending", pending}, {"pendingToo", pendingToo}} {
				switch _, err := s.Factor(t.Context(), sandbox, f.id); {
				case err == nil:
					names += f.name + " "
				case !errors.Is(err, mfa.ErrNotFound):
					t.Fatal(err)
				}
			}
			return names
		}
		start := w.clock.Now()
		for _, tc := range []struct {
			after time.Duration
			want  string
		}{
			{0, "forever lost used pending pendingToo "},
			{time.Hour - time.Millisecond, "forever lost used pending pendingToo "},
			{time.Hour, "forever lost used "},
			{48*time.Hour - time.Millisecond, "forever lost used "},
			{48 * time.Hour, "forever used "},
			{1000 * time.Hour, "forever used "},
		} {
			w.clock.Advance(start.Add(tc.after).Sub(w.clock.Now()))
			if got := left(); got != tc.want {
				t.Errorf("after %v: %s; want %s", tc.after, got, tc.want)
			}
		}
		removed := map[mfa.FactorID]string{}
		for _, e := range storetest.Events(t, store) {
			if e.Type == mfa.FactorDeleted {
				removed[e.Factor] = fmt.Sprintf("%s %q %q", e.Kind, e.Reason, e.Caller)
			}
		}
		want := map[mfa.FactorID]string{
			lost:       `generic_otp "not_verified_in_time" ""`,
			pending:    `webauthn "not_verified_in_time" ""`,
			pendingToo: `webauthn "not_verified_in_time" ""`,
		}
		if fmt.Sprint(removed) != fmt.Sprint(want) {
			t.Errorf("the events are %v; want %v", removed, want)
		}
	})
}

// A lateVerification is a Store that runs verify between the list of expired factors and their
// removal.
type lateVerification struct {
	mfa.Store
	verify func()
}

func (l *lateVerification) ExpiredFactors(ctx context.Context, at time.Time, limit int) ([]mfa.Factor, error) {
	found, err := l.Store.ExpiredFactors(ctx, at, limit)
	l.verify()
	return found, err
}

func TestAFactorThatIsVerifiedAtTheLastMomentStays(t *testing.T) {
	onBothStores(t, func(t *testing.T, w *fixture, s *mfa.Service, store mfa.Store) {
		hour := configured(t, "unverified_expiry", "1h")
		enroll := func() mfa.FactorID {
			e, err := s.Enroll(t.Context(), hour, mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return e.ID
		}
		verified, deleted := enroll(), enroll()
		w.clock.Advance(time.Hour)
		late := w.serviceOver(&lateVerification{store, func() {
			c, err := s.Challenge(t.Context(), hour, verified, mfa.ChallengeParams{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if v, err := s.Verify(t.Context(), hour, c.ID, mfa.VerifyParams{Code: c.Code.Reveal()}, nil); err != nil || !v.Valid {
				t.Fatalf("Verify = %v, %v", v.Valid, err)
			}
			if err := s.DeleteFactor(t.Context(), hour, deleted); err != nil {
				t.Fatal(err)
			}
		}}, mfa.Options{})
		if err := late.ExpireFactors(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d, err := s.Factor(t.Context(), hour, verified); err != nil || d.Status != mfa.StatusVerified {
			t.Errorf("the factor is %s, %v", d.Status, err)
		}
		n := 0
		for _, e := range storetest.Events(t, store) {
			if e.Type == mfa.FactorDeleted {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d events say that a factor was deleted; want only that of the caller", n)
		}
	})
}

func TestManyUnverifiedFactorsAreRemoved(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	hour := configured(t, "unverified_expiry", "1h")
	var ids []mfa.FactorID
	for range 1100 {
		e, err := w.Enroll(t.Context(), hour, mfa.EnrollParams{Type: mfa.GenericOTP}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	w.clock.Advance(time.Hour)
	if err := w.ExpireFactors(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := w.Factor(t.Context(), hour, id); !errors.Is(err, mfa.ErrNotFound) {
			t.Fatalf("Factor = %v; want %v", err, mfa.ErrNotFound)
		}
	}
}
