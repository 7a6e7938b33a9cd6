package mfa_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// BenchmarkChallenge creates challenges, one after the other, over a store on disk.
func BenchmarkChallenge(b *testing.B) {
	type request = idempotency.Request[mfa.IssuedChallenge]
	noKey := func(int) *request { return nil }
	plainKey := func(i int) *request { return onceKey[mfa.IssuedChallenge](strconv.Itoa(i), "the request") }
	derivedKey := func(i int) *request { return derived[mfa.IssuedChallenge](strconv.Itoa(i)) }
	receipts := delivery.Accepted{Provider: "gateway", ID: "m"}
	for _, bc := range []struct {
		name     string
		factor   mfa.EnrollParams
		env      mfa.Caller
		accepted delivery.Accepted
		key      func(int) *request
		resend   bool
	}{
		{name: "totp", factor: mfa.EnrollParams{Type: mfa.TOTP}, env: sandbox, key: noKey},
		{name: "totp, key", factor: mfa.EnrollParams{Type: mfa.TOTP}, env: sandbox, key: plainKey},
		{name: "sms in a sandbox", factor: mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}, env: sandbox, key: noKey},
		{name: "sms in a sandbox, key", factor: mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}, env: sandbox, key: plainKey},
		{name: "sms in a sandbox, derived key", factor: mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}, env: sandbox, key: derivedKey},
		{name: "sms with receipts", factor: mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}, env: production, accepted: receipts, key: noKey},
		{name: "sms with receipts, derived key", factor: mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}, env: production, accepted: receipts, key: derivedKey},
		{name: "resend with receipts", factor: mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}, env: production, accepted: receipts, key: noKey, resend: true},
	} {
		b.Run(bc.name, func(b *testing.B) {
			w := newFixture(b, mfa.Options{})
			w.carrier.Accepted = bc.accepted
			store := &meter{Store: w.store}
			s := w.serviceOver(store, mfa.Options{Limits: often, SMS: delivery.Rules{
				Countries: []string{"US"}, Daily: 1 << 30, Pumping: delivery.Pumping{Sends: 1 << 30},
			}})
			e, err := s.Enroll(b.Context(), bc.env, bc.factor, nil)
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			challenge := func() mfa.ChallengeID {
				n++
				w.clock.Advance(time.Second)
				c, err := s.Challenge(b.Context(), bc.env, e.ID, mfa.ChallengeParams{}, bc.key(n))
				if err != nil {
					b.Fatal(err)
				}
				return c.ID
			}
			do := func() { challenge() }
			if bc.resend {
				do = func() {
					b.StopTimer()
					store.on = false
					c := challenge()
					store.on = true
					b.StartTimer()
					w.clock.Advance(time.Second)
					if _, err := s.Resend(b.Context(), bc.env, c, nil); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportAllocs()
			store.on = true
			for b.Loop() {
				do()
			}
			b.ReportMetric(float64(store.updates.Load())/float64(n), "updates/op")
			b.ReportMetric(float64(store.views.Load())/float64(n), "views/op")
		})
	}
}
