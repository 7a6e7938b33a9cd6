package smstext

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"
)

// Place marks the position of the code in a template.
const Place = "{{code}}"

const (
	fallbackKey = "default"
	maxTemplate = 1600 // characters; carriers join at most this many into one message
	maxLocale   = 35   // characters; the least that RFC 5646 (section 4.4.1) requires
)

// Templates are the templates of a message by language. A nil *Templates is empty.
type Templates struct {
	byLanguage map[language.Base]languageTemplates
	fallback   string // "" if not set
}

// languageTemplates are the templates of one language, for its scripts and regions.
type languageTemplates struct {
	matcher language.Matcher
	texts   []string // in the order of the matcher
}

// NewTemplates returns Templates. The keys of texts are BCP 47 tags, such as "de",
// "pt-BR" and "zh-Hant", and "default" for all other languages. A template contains
// Place and has at most 1600 characters. An error names the key.
func NewTemplates(texts map[string]string) (*Templates, error) {
	t := &Templates{byLanguage: map[language.Base]languageTemplates{}}
	tags := map[language.Base][]language.Tag{}
	keys := map[language.Tag]string{}
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		template := texts[key]
		switch {
		case !strings.Contains(template, Place):
			return nil, fmt.Errorf("template %q: must contain %s, which the code replaces", key, Place)
		case utf8.RuneCountInString(template) > maxTemplate:
			return nil, fmt.Errorf("template %q: must have at most %d characters", key, maxTemplate)
		case key == fallbackKey:
			t.fallback = template
			continue
		}
		tag, err := language.Parse(key)
		if err != nil {
			return nil, fmt.Errorf("template %q: %w", key, err)
		}
		base := languageOf(tag)
		if base == (language.Base{}) || len(tag.Variants()) > 0 || len(tag.Extensions()) > 0 { // matchers ignore variants and extensions
			return nil, fmt.Errorf("template %q: must be a language tag, optionally with a script or region, or %q", key, fallbackKey)
		}
		if same, ok := keys[canonical(tag)]; ok {
			return nil, fmt.Errorf("template %q: means the same as %q", key, same)
		}
		keys[canonical(tag)] = key
		tags[base] = append(tags[base], tag)
		l := t.byLanguage[base]
		l.texts = append(l.texts, template)
		t.byLanguage[base] = l
	}
	for base, l := range t.byLanguage {
		l.matcher = language.NewMatcher(tags[base])
		t.byLanguage[base] = l
	}
	return t, nil
}

// Find returns the template for locale, a BCP 47 tag that may contain underscores. If
// locale is "", Find uses the most likely language of country, an ISO 3166-1 code. Without
// a template in that language, Find returns the default template; without a default
// template, ok is false.
//
// A template also serves the other regions of its language. It does not serve another
// script or a related language: Danes do not get Norwegian. Bokmål and Nynorsk count
// as one language.
func (t *Templates) Find(locale, country string) (template string, ok bool) {
	if t == nil {
		return "", false
	}
	tag := spokenIn(country)
	if locale != "" {
		tag, _ = parse(locale)
	}
	if l, ok := t.byLanguage[languageOf(tag)]; ok {
		// A match between two regions of one language has at most the confidence High.
		if _, i, confidence := l.matcher.Match(tag); confidence >= language.High {
			return l.texts[i], true
		}
	}
	return t.fallback, t.fallback != ""
}

// CheckLocale returns nil if s is a well-formed BCP 47 tag of at most 35 characters.
// Otherwise its error describes a valid locale. The language itself may be unknown.
func CheckLocale(s string) error {
	_, err := parse(s)
	return err
}

// parse returns the known parts of a well-formed locale; language.Und if it has no
// known parts.
func parse(s string) (language.Tag, error) {
	if len(s) > maxLocale {
		return language.Und, fmt.Errorf("must have at most %d characters", maxLocale)
	}
	tag, err := language.Parse(s)
	if _, unknown := errors.AsType[language.ValueError](err); err != nil && !unknown {
		return language.Und, errors.New("must be a BCP 47 language tag, such as de or pt-BR")
	}
	return tag, nil
}

// spokenIn returns the most likely language of a country, with its script;
// language.Und, which has no template, if the country is unknown.
func spokenIn(country string) language.Tag {
	region, err := language.ParseRegion(country)
	if err != nil || !region.IsCountry() {
		return language.Und
	}
	in, err := language.Compose(region)
	if err != nil {
		return language.Und
	}
	base, _ := in.Base()
	script, _ := in.Script()
	spoken, err := language.Compose(base, script, region)
	if err != nil {
		return language.Und
	}
	return spoken
}

var (
	norwegian = language.MustParseBase("no")
	nynorsk   = language.MustParseBase("nn")
)

// languageOf returns the language of tag without script and region. Synonyms have one
// name. If tag names no language, languageOf returns the zero Base.
func languageOf(tag language.Tag) language.Base {
	base, _, _ := canonical(tag).Raw()
	if base == nynorsk {
		return norwegian
	}
	return base
}

// canonical returns the same tag for all tags that have the same meaning. Matchers get
// the original tags: the canonical form loses the fact that Bokmål is the usual form of
// Norwegian.
func canonical(tag language.Tag) language.Tag {
	same, err := language.All.Canonicalize(tag)
	if err != nil {
		return tag
	}
	return same
}
