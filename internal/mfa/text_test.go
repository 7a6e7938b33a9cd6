package mfa_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

const austrianPhone = "+436641234567"

func TestTextOfAMessage(t *testing.T) {
	texts := map[string]string{"de": "{{code}} ist Ihr Code", "pt-BR": "Seu código: {{code}}", "default": "Code {{code}}"}
	german := map[string]string{"de": texts["de"]}
	for _, tc := range []struct {
		name     string
		rules    delivery.Rules
		p        mfa.ChallengeParams
		phone    string
		want     string // CODE means the code
		segments int
	}{
		{"no texts", delivery.Rules{}, mfa.ChallengeParams{}, gracesPhone, "Your verification code is: CODE", 1},
		{"no texts, and a locale", delivery.Rules{}, mfa.ChallengeParams{Locale: "de"}, gracesPhone, "Your verification code is: CODE", 1},
		{"of the country", delivery.Rules{Texts: texts}, mfa.ChallengeParams{}, gracesPhone, "CODE ist Ihr Code", 1},
		{"of another country", delivery.Rules{Texts: texts}, mfa.ChallengeParams{}, austrianPhone, "CODE ist Ihr Code", 1},
		{"of the locale", delivery.Rules{Texts: texts}, mfa.ChallengeParams{Locale: "pt-BR"}, gracesPhone, "Seu código: CODE", 1},
		{"of the locale's language", delivery.Rules{Texts: texts}, mfa.ChallengeParams{Locale: "de-CH"}, adasPhone, "CODE ist Ihr Code", 1},
		{"of a locale in underscores", delivery.Rules{Texts: texts}, mfa.ChallengeParams{Locale: "pt_BR"}, adasPhone, "Seu código: CODE", 1},
		{"default, for the locale", delivery.Rules{Texts: texts}, mfa.ChallengeParams{Locale: "fr"}, gracesPhone, "Code CODE", 1},
		{"default, for the country", delivery.Rules{Texts: texts}, mfa.ChallengeParams{}, adasPhone, "Code CODE", 1},
		{"none for the locale", delivery.Rules{Texts: german}, mfa.ChallengeParams{Locale: "fr"}, gracesPhone, "Your verification code is: CODE", 1},
		{"the caller's own", delivery.Rules{Texts: texts}, mfa.ChallengeParams{Template: "Hi: {{code}}", Locale: "de"}, gracesPhone, "Hi: CODE", 1},
		{
			"origin", delivery.Rules{Texts: texts, Origin: "example.com"}, mfa.ChallengeParams{}, gracesPhone,
			"CODE ist Ihr Code\n\n@example.com #CODE", 1,
		},
		{
			"origin after the caller's own", delivery.Rules{Origin: "example.com"}, mfa.ChallengeParams{Template: "{{code}}: " + strings.Repeat("x", 131)},
			gracesPhone, "CODE: " + strings.Repeat("x", 131) + "\n\n@example.com #CODE", 2,
		},
		{
			"the same without it", delivery.Rules{}, mfa.ChallengeParams{Template: "{{code}}: " + strings.Repeat("x", 131)},
			gracesPhone, "CODE: " + strings.Repeat("x", 131), 1,
		},
		{
			"links, where they are allowed", delivery.Rules{Links: true}, mfa.ChallengeParams{Template: "https://example.com/{{code}}"},
			gracesPhone, "https://example.com/CODE", 1,
		},
		{"two segments of UCS-2", delivery.Rules{}, mfa.ChallengeParams{Template: "{{code}} " + strings.Repeat("ж", 64)}, gracesPhone, "CODE " + strings.Repeat("ж", 64), 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{SMS: tc.rules})
			c, err := w.Challenge(t.Context(), sandbox, w.phone(sandbox, tc.phone), tc.p, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first message, and the same again
				m := w.carrier.Last()
				if want := strings.ReplaceAll(tc.want, "CODE", m.Code.Reveal()); m.Text.Reveal() != want {
					t.Errorf("text is %q; want %q", m.Text.Reveal(), want)
				}
				if d := w.delivery(c.ID); d.Segments != tc.segments {
					t.Errorf("%d segments; want %d", d.Segments, tc.segments)
				}
				w.clock.Advance(30 * time.Second)
				if _, err := w.resend(c.ID); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestTextsThatAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		p    mfa.ChallengeParams
		want string
	}{
		{"address", mfa.ChallengeParams{Template: "https://example.com/?c={{code}}"}, "sms_template has_link"},
		{"domain", mfa.ChallengeParams{Template: "{{code}} for example.com"}, "sms_template has_link"},
		{"mailbox", mfa.ChallengeParams{Template: "{{code}}, ask ada@example.com"}, "sms_template has_link"},
		{"phone", mfa.ChallengeParams{Template: "{{code}}, or call +1 607 351 7112"}, "sms_template has_link"},
		{"code in a domain", mfa.ChallengeParams{Template: "{{code}}.example.com"}, "sms_template has_link"},
		{"line of an origin", mfa.ChallengeParams{Template: "{{code}}\n\n@example.com #{{code}}"}, "sms_template has_link"},
		{"locale", mfa.ChallengeParams{Locale: "no such locale"}, "locale invalid"},
		{"long locale", mfa.ChallengeParams{Locale: "de" + strings.Repeat("-x", 30)}, "locale invalid"},
		{"both", mfa.ChallengeParams{Template: "no code", Locale: "?"}, "sms_template missing_code, locale invalid"},
		{"link and locale", mfa.ChallengeParams{Template: "{{code}} example.com", Locale: "?"}, "sms_template has_link, locale invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			_, err := w.Challenge(t.Context(), sandbox, w.phone(sandbox, adasPhone), tc.p, nil)
			var got []string
			if bad, ok := errors.AsType[*mfa.InvalidError](err); ok {
				for _, f := range bad.Fields {
					got = append(got, f.Field+" "+f.Code)
				}
			}
			if strings.Join(got, ", ") != tc.want || w.carrier.Sent() != 0 {
				t.Errorf("Challenge = %v after %d messages; want an InvalidError of %s", err, w.carrier.Sent(), tc.want)
			}
		})
	}
}

func TestEnvironmentsHaveTheirOwnRules(t *testing.T) {
	w := newFixture(t, mfa.Options{
		SMS: delivery.Rules{Texts: map[string]string{"default": "All: {{code}}"}},
		SMSOf: map[string]delivery.Rules{
			"Acme":   {Countries: []string{"at"}, Texts: map[string]string{"default": "Acme: {{code}}"}, Links: true, Daily: 1},
			"Nobody": {},
		},
	})
	other := mfa.Caller{Environment: mfa.Environment{ID: 3, Name: "Analytical", Production: true}}
	nobody := mfa.Caller{Environment: mfa.Environment{ID: 4, Name: "Nobody", Production: true}}
	link := mfa.ChallengeParams{Template: "{{code}} example.com"}
	for _, tc := range []struct {
		env   mfa.Caller
		phone string
		p     mfa.ChallengeParams
		want  error
		text  string
	}{
		{production, gracesPhone, mfa.ChallengeParams{}, delivery.ErrCountry, ""},
		{production, austrianPhone, mfa.ChallengeParams{}, nil, "Acme: "},
		{production, "+436641234568", link, delivery.ErrDailyLimit, ""},
		{other, austrianPhone, mfa.ChallengeParams{}, delivery.ErrCountry, ""},
		{other, gracesPhone, link, mfa.ErrInvalid, ""},
		{other, gracesPhone, mfa.ChallengeParams{}, nil, "All: "},
		{other, adasPhone, mfa.ChallengeParams{}, nil, "All: "},
		{sandbox, gracesPhone, mfa.ChallengeParams{}, nil, "All: "},
		{nobody, gracesPhone, mfa.ChallengeParams{}, delivery.ErrCountry, ""},
	} {
		_, err := w.Challenge(t.Context(), tc.env, w.phone(tc.env, tc.phone), tc.p, nil)
		if !errors.Is(err, tc.want) {
			t.Errorf("Challenge of %s in %s = %v; want %v", tc.phone, tc.env.Name, err, tc.want)
		} else if m := w.carrier; err == nil && m.Last().Text.Reveal() != tc.text+m.Last().Code.Reveal() {
			t.Errorf("text in %s is %q; want %q and the code", tc.env.Name, m.Last().Text.Reveal(), tc.text)
		}
	}
}
