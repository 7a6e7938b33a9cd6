package mfa_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A meter is a Store that counts its transactions while it is on.
type meter struct {
	mfa.Store
	on             bool
	updates, views atomic.Int64
}

func (m *meter) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	if m.on {
		m.updates.Add(1)
	}
	return m.Store.Update(ctx, r, fn)
}

func (m *meter) View(ctx context.Context, r mfa.Read) (mfa.Rows, error) {
	if m.on {
		m.views.Add(1)
	}
	return m.Store.View(ctx, r)
}

// Each Update is a commit that the caller waits for. ADR 29 gives the reason for each.
func TestUpdatesOfAChallenge(t *testing.T) {
	type key = func(string) *idempotency.Request[mfa.IssuedChallenge]
	noKey := func(string) *idempotency.Request[mfa.IssuedChallenge] { return nil }
	plainKey := func(name string) *idempotency.Request[mfa.IssuedChallenge] {
		return onceKey[mfa.IssuedChallenge](name, "the request")
	}
	totp := mfa.EnrollParams{Type: mfa.TOTP}
	sms := mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}
	withReceipts := delivery.Accepted{Provider: "gateway", ID: "m"}
	for _, tc := range []struct {
		name            string
		factor          mfa.EnrollParams
		accepted        delivery.Accepted
		key             key
		updates, resend int64
		views           int64
	}{
		{"totp", totp, delivery.Accepted{}, noKey, 1, 0, 0},
		{"totp with a key", totp, delivery.Accepted{}, plainKey, 1, 0, 0},
		{"sms", sms, delivery.Accepted{}, noKey, 3, 3, 1},
		{"sms with a key", sms, delivery.Accepted{}, plainKey, 3, 3, 1},
		{"sms with a derived key", sms, delivery.Accepted{}, derived[mfa.IssuedChallenge], 3, 3, 1},
		{"sms with receipts", sms, withReceipts, noKey, 4, 4, 1},
		{"sms with receipts and a derived key", sms, withReceipts, derived[mfa.IssuedChallenge], 4, 4, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			w.carrier.Accepted = tc.accepted
			store := &meter{Store: w.store}
			s := w.serviceOver(store, mfa.Options{})
			f := w.enroll(tc.factor).ID
			count := func(operation string, updates int64, do func() (mfa.IssuedChallenge, error)) (c mfa.IssuedChallenge) {
				t.Helper()
				store.updates.Store(0)
				store.views.Store(0)
				store.on = true
				c, err := do()
				store.on = false
				if err != nil {
					t.Fatal(err)
				}
				if got := store.updates.Load(); got != updates {
					t.Errorf("%s: %d Updates; want %d", operation, got, updates)
				}
				if got := store.views.Load(); got != tc.views {
					t.Errorf("%s: %d Views; want %d", operation, got, tc.views)
				}
				return c
			}
			c := count("challenge", tc.updates, func() (mfa.IssuedChallenge, error) {
				return s.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, tc.key("challenge"))
			})
			if tc.resend == 0 {
				return
			}
			w.clock.Advance(30 * time.Second)
			count("resend", tc.resend, func() (mfa.IssuedChallenge, error) {
				return s.Resend(t.Context(), sandbox, c.ID, tc.key("resend"))
			})
		})
	}
}

// The id of an sms factor does not say that its codes are sent if an older release made it.
func TestSMSFactorOfAnOlderReleaseIsChallenged(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := *w.stored(w.phone(sandbox, adasPhone))
	associated := func() []byte { return append([]byte("factors.sealed.sms"), f.ID[:]...) }
	number, err := w.keys.Open(f.Sealed, associated())
	if err != nil {
		t.Fatal(err)
	}
	f.ID[14] &^= 1 << 2
	if f.Sealed, err = w.keys.Seal(number, associated()); err != nil {
		t.Fatal(err)
	}
	err = w.store.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, func(tx *mfa.Tx) error {
		tx.Writes = append(tx.Writes, mfa.InsertFactor{Factor: &f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c := w.challenge(f.ID)
	if n := w.carrier.Sent(); n != 1 {
		t.Errorf("%d messages; want 1", n)
	}
	w.mustVerify(c.ID, w.carrier.Last().Code.Reveal(), true)
}
