package mfa_test

import (
	"errors"
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestMessagesGoWhereTheOperatorSays(t *testing.T) {
	for _, tc := range []struct {
		name      string
		countries []string
		env       mfa.Caller
		phone     string
		want      error
	}{
		{"a country that is named", []string{"DE", "US"}, production, "+4915123456789", nil},
		{"in lower case, with spaces", []string{" de "}, production, "+4915123456789", nil},
		{"another country", []string{"US"}, production, "+4915123456789", delivery.ErrCountry},
		{"another country of the same calling code", []string{"US"}, production, "+14165552123", delivery.ErrCountry},
		{"no country is named", []string{}, production, "+16073517112", delivery.ErrCountry},
		{"a premium-rate number", []string{"DE"}, production, "+499001234567", delivery.ErrNumberType},
		{"a premium-rate number, US", []string{"US"}, production, "+19002345678", delivery.ErrNumberType},
		{"a shared-cost number", []string{"GB"}, production, "+448431234567", delivery.ErrNumberType},
		{"a toll-free number", []string{"US"}, production, "+18002345678", delivery.ErrNumberType},
		{"a sandbox", []string{}, sandbox, "+4915123456789", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{SMS: delivery.Rules{Countries: tc.countries}})
			f, err := w.Enroll(t.Context(), tc.env, mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: tc.phone}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first of them is counted against no limit
				_, err = w.Challenge(t.Context(), tc.env, f.ID, mfa.ChallengeParams{}, nil)
				if !errors.Is(err, tc.want) {
					t.Fatalf("Challenge = %v; want %v", err, tc.want)
				}
				if tc.want == nil {
					return
				}
			}
			if got := w.carrier.Sent(); got != 0 {
				t.Errorf("%d messages were sent", got)
			}
			if left := w.count(mfa.ChallengeCreated); left != 0 {
				t.Errorf("%d challenges were made", left)
			}
		})
	}
}

func TestUnknownCountryIsRefused(t *testing.T) {
	for _, code := range []string{"XX", "USA", "Germany", "*", "", "001"} {
		w := newFixture(t, mfa.Options{})
		if _, err := mfa.NewService(w.store, w.keys, w.carrier, mfa.Options{SMS: delivery.Rules{Countries: []string{code}}}); err == nil {
			t.Errorf("%q was taken for a country", code)
		}
	}
}
