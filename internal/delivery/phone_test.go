package delivery_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const (
	adasPhone   = "+16073517112"
	gracesPhone = "+4915123456789"
)

func TestParsePhone(t *testing.T) {
	for _, tc := range []struct {
		name, text          string
		sandbox, production string // "" if it is refused
	}{
		{"E.164", "+16073517112", adasPhone, adasPhone},
		{"without its plus sign", "16073517112", adasPhone, adasPhone},
		{"dialled with 00", "0016073517112", adasPhone, adasPhone},
		{"dialled with 00, in groups", "001 607 351 7112", adasPhone, adasPhone},
		{"hyphens and parentheses", "+1 (607) 351-7112", adasPhone, adasPhone},
		{"dots", "+1.607.351.7112", adasPhone, adasPhone},
		{"spaces around", "  +16073517112\n", adasPhone, adasPhone},
		{"full-width digits", "+１６０７３５１７１１２", adasPhone, adasPhone},
		{"full-width plus sign", "＋16073517112", adasPhone, adasPhone},
		{"Arabic-Indic digits", "+١٦٠٧٣٥١٧١١٢", adasPhone, adasPhone},
		{"Arabic-Indic digits without a plus sign", "١٦٠٧٣٥١٧١١٢", adasPhone, adasPhone},
		{"Persian digits, dialed with 00", "۰۰۱۶۰۷۳۵۱۷۱۱۲", adasPhone, adasPhone},
		{"plus sign in parentheses", "(+1) 607-351-7112", adasPhone, adasPhone},
		{"all in parentheses", "( +1 607 351 7112 )", adasPhone, adasPhone},
		{"tel URI", "tel:+1-607-351-7112", adasPhone, adasPhone},
		{"tel URI in capitals, escaped", " TEL:%2B1%20607%20351%207112", adasPhone, adasPhone},
		{"tel URI with an extension", "tel:+1-607-351-7112;ext=5", "", ""},
		{"tel URI of a local number", "tel:351-7112;phone-context=+1607", "", ""},
		{"tel URI without a number", "tel:", "", ""},
		{"tel URI, badly escaped", "tel:+1607%zz", "", ""},
		{"another URI", "sms:+16073517112", "", ""},
		{"hyphens of all kinds", "+1‐607‑351–7112", adasPhone, adasPhone},
		{"spaces of all kinds", "+1\u00a0607\u2009351\u202f7112\u3000", adasPhone, adasPhone},
		{"marks of direction, as contact lists copy them", "\u202a+1 607 351 7112\u202c", adasPhone, adasPhone},
		{"dialed with 011, to Germany", "011 49 1512 3456789", gracesPhone, gracesPhone},
		{"dialed with 011, in North America", "01116073517112", adasPhone, adasPhone},
		{"dialed with 011, belongs to nobody", "01115555550100", "", ""},
		{"of Delhi, like St Helena dialed with 011", "011 2902 2345", "", ""},
		{"of Buenos Aires, like Austria dialed with 011", "011 4312 3456", "", ""},
		{"of Germany", "+49 1512 3456789", gracesPhone, gracesPhone},
		{"zero kept in Italy", "+39 06 1234567", "+39061234567", "+39061234567"},
		{"test number", "+15005550006", "+15005550006", "+15005550006"},
		{"belongs to nobody", "+15555550100", "+15555550100", ""},
		{"a word", "foo", "", ""},
		{"empty", "", "", ""},
		{"only spaces", "   ", "", ""},
		{"only a plus sign", "+", "", ""},
		{"national form", "(607) 351-7112", "", ""},
		{"letters for digits", "1800FLOWERS", "", ""},
		{"emergency number", "911", "", ""},
		{"one digit short", "+1607351711", "", ""},
		{"one digit long", "+160735171122", "", ""},
		{"no such country", "+99912345678", "", ""},
		{"extension", "+16073517112 x5", "", ""},
		{"extension, as in a URI", "+16073517112;ext=5", "", ""},
		{"text behind", "+16073517112abc", "", ""},
		{"long, yet a number", "+1 607 351 7112" + strings.Repeat(" ", 50), adasPhone, adasPhone},
		{"too long to be read", "+1" + strings.Repeat("-", 60) + "6073517112", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for production, want := range map[bool]string{false: tc.sandbox, true: tc.production} {
				p, err := delivery.ParsePhone(tc.text, production)
				if p.E164() != want || (err == nil) != (want != "") {
					t.Errorf("ParsePhone(production: %v) = %q, %v; want %q", production, p.E164(), err, want)
				}
				if err == nil {
					continue
				}
				bad, ok := errors.AsType[*delivery.InvalidPhoneError](err)
				if !ok || bad.Given.Reveal() != tc.text || !errors.Is(err, delivery.ErrInvalid) {
					t.Errorf("error is %#v; want an InvalidPhoneError for the text", err)
				}
			}
		})
	}
}

func TestInvisibleCharactersInPhoneNumbersDoNotMatter(t *testing.T) {
	for _, r := range mfatest.Invisible {
		for _, text := range []string{adasPhone, "16073517112", "0016073517112", "tel:" + adasPhone, "(+1) 607 351 7112"} {
			if p, err := delivery.ParsePhone(mfatest.WithInvisible(text, r), true); err != nil || p.E164() != adasPhone {
				t.Errorf("%s with %U = %q, %v", text, r, p.E164(), err)
			}
		}
	}
}

func TestAnExtensionIsNamed(t *testing.T) {
	for text, want := range map[string]bool{
		"tel:+16073517112;ext=5": true, "+16073517112;ext=5": true, "+1 607 351 7112 x5": true, "+1 (607) ext. 5": true, "+16073517112#5": true,
		"foo": false, "5": false, "x5": false, "+1607": false, "1800FLOWERS": false,
	} {
		_, err := delivery.ParsePhone(text, true)
		if bad, ok := errors.AsType[*delivery.InvalidPhoneError](err); !ok || bad.Extension != want {
			t.Errorf("%s: %v, extension: %t; want %t", text, err, ok && bad.Extension, want)
		}
	}
}

func FuzzParsePhone(f *testing.F) {
	for _, text := range []string{"16073517112", "0016073517112", "+49 1512 3456789", "foo", "+1;phone-context=+44", "tel:+1", "(+1) 6073517112", "tel:+1-607-351-7112", "01116073517112"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		strict, err := delivery.ParsePhone(text, true)
		if err != nil {
			return
		}
		for _, r := range mfatest.Invisible {
			if p, err := delivery.ParsePhone(mfatest.WithInvisible(text, r), true); err != nil || p.E164() != strict.E164() {
				t.Errorf("%q with %U is %q, %v; want %q", text, r, p.E164(), err, strict.E164())
			}
		}
		lax, err := delivery.ParsePhone(text, false)
		if err != nil || lax.E164() != strict.E164() {
			t.Errorf("%q is %q in production and %q, %v in a sandbox", text, strict.E164(), lax.E164(), err)
		}
		again, err := delivery.ParsePhone(strict.E164(), true)
		if err != nil || again.E164() != strict.E164() {
			t.Errorf("%q is read back as %q, %v", strict.E164(), again.E164(), err)
		}
	})
}

func TestPhonePrintsMasked(t *testing.T) {
	p, err := delivery.ParsePhone(adasPhone, true)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.String(), "+*********12"; got != want {
		t.Errorf("String = %q; want %q", got, want)
	}
	if got, want := (delivery.Phone{}).String(), "[no phone]"; got != want {
		t.Errorf("zero value prints as %q; want %q", got, want)
	}

	values := []any{
		p, &p, []delivery.Phone{p}, map[string]delivery.Phone{"to": p}, map[int]*delivery.Phone{1: &p},
		delivery.Message{To: p.Address()}, p.Address(),
		struct{ hidden delivery.Phone }{p},
	}
	var printed bytes.Buffer
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%T", "%b", "%o", "%U"} {
			fmt.Fprintf(&printed, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&printed, nil)).Info("test", "value", v)
		slog.New(slog.NewJSONHandler(&printed, nil)).Info("test", "value", v)
		if err := json.NewEncoder(&printed).Encode(v); err != nil && !strings.Contains(err.Error(), "unsupported") {
			t.Error(err)
		}
	}
	bad := &delivery.InvalidPhoneError{Given: secret.NewString(adasPhone)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&printed, verb, bad)
	}
	digits := strings.TrimPrefix(adasPhone, "+")
	for _, form := range []string{digits, digits[:6], fmt.Sprintf("%x", digits), fmt.Sprintf("%X", digits), fmt.Sprintf("% x", digits)} {
		if strings.Contains(printed.String(), form) {
			t.Errorf("the number appears as %q", form)
		}
	}
}
