package smstext_test

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/smstext"
)

// templates returns Templates in which each text is its key, followed by Place.
func templates(t *testing.T, keys ...string) *smstext.Templates {
	t.Helper()
	texts := map[string]string{}
	for _, key := range keys {
		texts[key] = key + smstext.Place
	}
	b, err := smstext.NewTemplates(texts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// find returns the key of the template found, or "".
func find(b *smstext.Templates, locale, country string) string {
	template, ok := b.Find(locale, country)
	key, found := strings.CutSuffix(template, smstext.Place)
	if ok != found {
		return "broken promise: " + template
	}
	return key
}

func TestFindByLocale(t *testing.T) {
	words := strings.Fields
	for _, tc := range []struct {
		keys, locale, want string
	}{
		{"de en default", "de", "de"},
		{"de en default", "DE", "de"},
		{"de en default", "deu", "de"},
		{"de en default", "de-AT", "de"},
		{"de en default", "de_AT", "de"},
		{"de en default", "de-Latn-AT-1996", "de"},
		{"de en default", "de-AT-u-co-phonebk", "de"},
		{"ca default", "ca-ES-valencia", "ca"},
		{"de en default", "de-XQ", "de"}, // an unknown region
		{"de en default", "en-001", "en"},

		{"pt-BR default", "pt", "pt-BR"},
		{"pt-BR default", "pt-PT", "pt-BR"},
		{"pt-BR pt-PT default", "pt-AO", "pt-PT"},
		{"pt-BR pt-PT default", "pt", "pt-BR"},
		{"en en-GB default", "en-AU", "en-GB"},
		{"en en-GB default", "en-US", "en"},
		{"es es-419 default", "es-MX", "es-419"},
		{"es es-419 default", "es-ES", "es"},
		{"de-CH default", "de-AT", "de-CH"},

		{"zh zh-Hant default", "zh-TW", "zh-Hant"},
		{"zh zh-Hant default", "zh-HK", "zh-Hant"},
		{"zh zh-Hant default", "zh_Hant_HK", "zh-Hant"},
		{"zh zh-Hant default", "zh-SG", "zh"},
		{"zh zh-Hant default", "cmn", "zh"},
		{"zh default", "zh-TW", "default"}, // another script
		{"zh-Hant default", "zh-CN", "default"},
		{"sr default", "sr-Latn", "default"},
		{"sr sr-Latn default", "sr-Latn-RS", "sr-Latn"},
		{"sr sr-Latn default", "sr-ME", "sr-Latn"},

		{"he id ro default", "iw", "he"}, // old codes, which some phones send
		{"he id ro default", "in-ID", "id"},
		{"he id ro default", "mo", "ro"},
		{"fil default", "tl", "fil"},

		// A related language is another language, although matchers treat it as the same.
		{"no default", "da", "default"},
		{"nb default", "da-DK", "default"},
		{"da default", "nb", "default"},
		{"da default", "no", "default"},
		{"en default", "ur", "default"},
		{"de default", "lb", "default"},
		{"de default", "nl", "default"},
		{"es default", "ca", "default"},
		{"ru default", "uk", "default"},
		{"id default", "ms", "default"},

		{"no default", "nb-NO", "no"},
		{"nb default", "no", "nb"},
		{"no default", "nn", "no"},
		{"nn default", "nb", "nn"},
		{"nb nn default", "nn-NO", "nn"},

		{"de default", "xx", "default"},
		{"de default", "xx-DE", "default"},
		{"de default", "und", "default"},
		{"de default", "und-DE", "default"},
		{"de default", "x-de", "default"},
		{"de default", "xx yy", "default"},
		{"de default", "de;q=0.5", "default"},
		{"de default", "de-" + strings.Repeat("1996-", 100), "default"},
		{"de default", "default", "default"},
		{"de", "fr", ""},
		{"de", "xx yy", ""},
		{"default", "de", "default"},
		{"", "de", ""},
	} {
		t.Run(tc.locale+" in "+tc.keys, func(t *testing.T) {
			b := templates(t, words(tc.keys)...)
			if got := find(b, tc.locale, ""); got != tc.want {
				t.Errorf("Find(%q) = %q; want %q", tc.locale, got, tc.want)
			}
			// The locale takes precedence over the language of the country.
			if got := find(b, tc.locale, "DE"); got != tc.want {
				t.Errorf("Find(%q) in Germany = %q; want %q", tc.locale, got, tc.want)
			}
		})
	}
}

func TestFindByCountry(t *testing.T) {
	words := strings.Fields
	for _, tc := range []struct {
		keys, country, want string
	}{
		{"de en default", "AT", "de"},
		{"de en default", "at", "de"},
		{"de en default", "CH", "de"},
		{"de en default", "US", "en"},
		{"de en default", "FR", "default"},
		{"de en", "FR", ""},
		{"pt-BR pt-PT default", "BR", "pt-BR"},
		{"pt-BR pt-PT default", "MZ", "pt-PT"},
		{"zh zh-Hant default", "TW", "zh-Hant"},
		{"zh zh-Hant default", "CN", "zh"},
		{"zh default", "HK", "default"},
		{"sr-Latn default", "RS", "default"}, // Serbia writes Cyrillic first
		{"sr-Latn default", "ME", "sr-Latn"},
		{"no da default", "NO", "no"},
		{"no da default", "DK", "da"},
		{"no default", "DK", "default"},
		{"nn default", "NO", "nn"},

		{"en default", "", "default"},
		{"en default", "ZZ", "default"},
		{"en default", "AQ", "default"}, // no native language
		{"en default", "EU", "default"},
		{"en default", "001", "default"},
		{"en default", "Austria", "default"},
		{"en default", "1", "default"},
		{"en default", "\xff\xff", "default"},
	} {
		t.Run(tc.country+" in "+tc.keys, func(t *testing.T) {
			if got := find(templates(t, words(tc.keys)...), "", tc.country); got != tc.want {
				t.Errorf("Find(country %q) = %q; want %q", tc.country, got, tc.want)
			}
		})
	}
}

func TestEveryTemplateIsFoundByItsKey(t *testing.T) {
	keys := strings.Fields(`de de-AT de-CH en en-GB en-AU es es-419 es-MX fr fr-CA pt pt-BR pt-PT zh zh-Hant zh-Hant-HK
		sr sr-Latn nb nn da sv fi he ar ar-EG fa uz uz-Cyrl az az-Arab pa pa-Arab mn mn-Mong yue gsw lb ca id ms fil hi ur`)
	b := templates(t, append(keys, "default")...)
	for _, key := range keys {
		if got := find(b, key, "JP"); got != key {
			t.Errorf("Find(%q) = %q", key, got)
		}
	}
}

func TestNilTemplatesFindNothing(t *testing.T) {
	var b *smstext.Templates
	if got, ok := b.Find("de", "AT"); got != "" || ok {
		t.Errorf("Find = %q, %t", got, ok)
	}
}

func TestTemplatesDoNotChangeWithTheirMap(t *testing.T) {
	templates := map[string]string{"de": "vorher {{code}}", "default": "before {{code}}"}
	b, err := smstext.NewTemplates(templates)
	if err != nil {
		t.Fatal(err)
	}
	templates["de"], templates["default"] = "x", "x"
	for locale, want := range map[string]string{"de": "vorher {{code}}", "fr": "before {{code}}"} {
		if got, _ := b.Find(locale, ""); got != want {
			t.Errorf("Find(%q) = %q; want %q", locale, got, want)
		}
	}
}

func TestTemplatesAreSafeForConcurrentUse(t *testing.T) {
	b := templates(t, "de", "pt-BR", "zh-Hant", "default")
	var wg sync.WaitGroup
	for _, locale := range []string{"de-AT", "pt", "zh-TW", "fr"} {
		want := find(b, locale, "")
		for range 4 {
			wg.Go(func() {
				for range 100 {
					if got := find(b, locale, ""); got != want {
						t.Errorf("Find(%q) = %q; want %q", locale, got, want)
					}
				}
			})
		}
	}
	wg.Wait()
}

func TestNewTemplatesRefuses(t *testing.T) {
	const good = "{{code}}"
	for _, tc := range []struct {
		name      string
		templates map[string]string
		want      []string // in the error
	}{
		{"no code", map[string]string{"de": good, "fr": "Votre code"}, []string{`"fr"`, "{{code}}"}},
		{"code in single braces", map[string]string{"fr": "{code}"}, []string{`"fr"`, "{{code}}"}},
		{"no code in the default", map[string]string{"default": ""}, []string{`"default"`, "{{code}}"}},
		{"too long", map[string]string{"fr": good + strings.Repeat("é", 1593)}, []string{`"fr"`, "1600"}},
		{"a default that is too long", map[string]string{"default": good + strings.Repeat("é", 1593)}, []string{`"default"`, "1600"}},
		{"no tag", map[string]string{"xx yy": good}, []string{`"xx yy"`}},
		{"empty key", map[string]string{"": good}, []string{`""`}},
		{"default in capitals", map[string]string{"Default": good}, []string{`"Default"`}},
		{"unknown language", map[string]string{"xx": good}, []string{`"xx"`, "unknown"}},
		{"unknown variant", map[string]string{"de-foobar": good}, []string{`"de-foobar"`, "unknown"}},
		{"no language", map[string]string{"und": good}, []string{`"und"`, `"default"`}},
		{"only a country", map[string]string{"und-AT": good}, []string{`"und-AT"`, `"default"`}},
		{"private use", map[string]string{"x-acme": good}, []string{`"x-acme"`}},
		{"a variant", map[string]string{"ca-valencia": good}, []string{`"ca-valencia"`}},
		{"an extension", map[string]string{"de-u-co-phonebk": good}, []string{`"de-u-co-phonebk"`}},
		{"twice in other letters", map[string]string{"pt-BR": good, "pt_br": good}, []string{`"pt-BR"`, `"pt_br"`}},
		{"twice by an old code", map[string]string{"he": good, "iw": good}, []string{`"he"`, `"iw"`}},
		{"twice by a usual script", map[string]string{"de": good, "de-Latn": good}, []string{`"de"`, `"de-Latn"`}},
		{"twice as Norwegian", map[string]string{"nb": good, "no": good}, []string{`"nb"`, `"no"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := smstext.NewTemplates(tc.templates)
			if err == nil || b != nil {
				t.Fatalf("NewTemplates = %v, %v; want nil and an error", b, err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %s", err, want)
				}
			}
		})
	}
}

func TestNewTemplatesAcceptsTheLongestTemplate(t *testing.T) {
	long := "{{code}}" + strings.Repeat("é", 1592)
	if _, err := smstext.NewTemplates(map[string]string{"fr": long, "default": long}); err != nil {
		t.Error(err)
	}
}

func TestCheckLocale(t *testing.T) {
	for _, s := range []string{"de", "de-AT", "de_AT", "zh-Hant-TW", "es-419", "xx", "de-XQ", "x-acme", "und", "en-US-u-ca-gregory", "DE",
		"sl-Latn-IT-nedis-u-co-phonebk-x-abc"} { // 35 characters
		if err := smstext.CheckLocale(s); err != nil {
			t.Errorf("CheckLocale(%q) = %v", s, err)
		}
	}
	for s, want := range map[string]string{
		"":                                     "BCP 47",
		"xx yy":                                "BCP 47",
		"de,en":                                "BCP 47",
		"de;q=0.5":                             "BCP 47",
		"*":                                    "BCP 47",
		"d":                                    "BCP 47",
		"-de":                                  "BCP 47",
		"de-":                                  "BCP 47",
		"deutschland":                          "BCP 47",
		"de_AT.UTF-8":                          "BCP 47",
		"dé":                                   "BCP 47",
		"de\x00":                               "BCP 47",
		"\xff\xfe":                             "BCP 47",
		"sl-Latn-IT-nedis-u-co-phonebk-x-abcd": "35",
	} {
		if err := smstext.CheckLocale(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckLocale(%q) = %v; want an error with %s", s, err, want)
		}
	}
}

func FuzzTemplates(f *testing.F) {
	for _, s := range []string{"de", "de_AT", "zh-Hant-TW", "x-acme", "xx", "xx yy", "und-AT", "i-default", "en-GB-oed", "nn", ""} {
		f.Add(s, "AT")
		f.Add("", s)
	}
	templates := map[string]string{"de": "1{{code}}", "nb": "2{{code}}", "zh-Hant": "3{{code}}", "pt-BR": "4{{code}}", "default": "0{{code}}"}
	b, err := smstext.NewTemplates(templates)
	if err != nil {
		f.Fatal(err)
	}
	all := slices.Collect(maps.Values(templates))
	f.Fuzz(func(t *testing.T, locale, country string) {
		found, ok := b.Find(locale, country)
		if !ok || !slices.Contains(all, found) {
			t.Errorf("Find = %q, %t, which is not one of the templates", found, ok)
		}
		if locale != "" && smstext.CheckLocale(locale) != nil && found != templates["default"] {
			t.Errorf("Find(%q) = %q, though it is malformed", locale, found)
		}
		// Find finds each template by its key.
		if own, err := smstext.NewTemplates(map[string]string{locale: "{{code}}"}); err == nil && locale != "default" {
			if _, ok := own.Find(locale, ""); !ok && len(locale) <= 35 {
				t.Errorf("key %q is not found by itself", locale)
			}
		}
	})
}
