package mfa_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestEveryKindKeepsTheNameOfAFactor(t *testing.T) {
	const name = "Adas Schlüssel 🔑"
	for _, p := range []mfa.EnrollParams{
		{Type: mfa.TOTP, Issuer: "Acme", Account: "ada@example.com"},
		{Type: mfa.SMS, PhoneNumber: adasPhone},
		{Type: mfa.GenericOTP},
		{Type: mfa.WebAuthn, PasskeyUser: "ada@example.com"},
	} {
		t.Run(string(p.Type), func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			p.User = "ada"
			without := w.enroll(p)
			p.Name = "  " + name + " "
			e := w.enroll(p)
			if e.Name != name || without.Name != "" {
				t.Errorf("the new factors have the names %q and %q", e.Name, without.Name)
			}
			check := func() {
				t.Helper()
				d, err := w.Factor(t.Context(), sandbox, e.ID)
				if err != nil || d.Name != name || d.Issuer != e.Issuer || d.Account != e.Account || d.Phone.E164() != e.Phone.E164() || d.Passkey != e.Passkey {
					t.Errorf("the factor is %+v, %v; want %+v", d, err, e.Details)
				}
				if d, err = w.Factor(t.Context(), sandbox, without.ID); err != nil || d.Name != "" {
					t.Errorf("the factor without a name has %q, %v", d.Name, err)
				}
			}
			check()
			rotated, err := w.keys.Rotate()
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
			check()
			for _, file := range []string{w.path, w.path + "-wal"} {
				stored, err := os.ReadFile(file)
				if err != nil || bytes.Contains(stored, []byte("Schlüssel")) {
					t.Errorf("%s has the name as plain text, %v", file, err)
				}
			}
		})
	}
}

func TestANameHasAtMost100Characters(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	if e := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, Name: strings.Repeat("漢", 100)}); len(e.Name) != 300 {
		t.Errorf("a name of 100 characters is %q", e.Name)
	}
	for name, code := range map[string]string{
		strings.Repeat("漢", 101): "too_long", "a\x00b": "invalid_characters", "a\nb": "invalid_characters", "a\xffb": "invalid_characters",
	} {
		_, err := w.Enroll(t.Context(), sandbox, mfa.EnrollParams{Type: mfa.GenericOTP, Name: name}, nil)
		wantInvalid(t, err, "name", code)
	}
}
