package mfa_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// Numbers of area codes that are not assigned.
const (
	unassigned       = "+12222345678"
	unassignedPrefix = "+1 (222)"
	otherUnassigned  = "+12212345678"
)

func TestRangesThatTheOperatorAllows(t *testing.T) {
	enroll := func(w *fixture, env mfa.Caller, number string) (mfa.Enrollment, error) {
		return w.Enroll(t.Context(), env, mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: number}, nil)
	}
	if _, err := enroll(newFixture(t, mfa.Options{}), production, unassigned); !errors.Is(err, mfa.ErrInvalid) {
		t.Fatalf("Enroll(%s) = %v without allow_numbers; want %v", unassigned, err, mfa.ErrInvalid)
	}
	w := newFixture(t, mfa.Options{SMS: delivery.Rules{Countries: []string{"CA"}, AllowNumbers: map[string]string{unassignedPrefix: "ca"}}})
	for _, written := range []string{unassigned, strings.TrimPrefix(unassigned, "+")} {
		e, err := enroll(w, production, written)
		if err != nil || e.Phone.E164() != unassigned {
			t.Fatalf("Enroll(%s) = %v, %v", written, e.Phone, err)
		}
		if written == unassigned {
			if _, err := w.sendIn(production, e.ID); err != nil {
				t.Errorf("Challenge = %v", err)
			}
		}
	}
	if w.carrier.Sent() != 1 || w.carrier.Last().To.Text() != unassigned {
		t.Errorf("%d messages were sent", w.carrier.Sent())
	}
	w.wantCounters("a new range", map[string]string{"CA": "1 sent, 0 verified", "all": "1 sent, 0 verified", "abroad": ""})
	for name, number := range map[string]string{"another range": otherUnassigned, "a digit too many": unassigned + "9", "a digit too few": unassigned[:len(unassigned)-1]} {
		if _, err := enroll(w, production, number); !errors.Is(err, mfa.ErrInvalid) {
			t.Errorf("%s: Enroll = %v; want %v", name, err, mfa.ErrInvalid)
		}
	}

	// The range is of its country: no message goes there without it.
	abroad := newFixture(t, mfa.Options{SMS: delivery.Rules{Countries: []string{"US"}, AllowNumbers: map[string]string{unassignedPrefix: "CA"}}})
	e, err := enroll(abroad, production, unassigned)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := abroad.sendIn(production, e.ID); !errors.Is(err, delivery.ErrCountry) {
		t.Errorf("Challenge = %v; want %v", err, delivery.ErrCountry)
	}
}
