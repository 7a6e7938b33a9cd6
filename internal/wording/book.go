package wording

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"
)

// Place is where the code goes in a template.
const Place = "{{code}}"

const (
	fallbackKey = "default"
	maxTemplate = 1600 // characters; carriers join at most so many into one message
	maxLocale   = 35   // characters, what RFC 5646 asks for at least (section 4.4.1)
)

// A Book holds the templates of a message by language. A nil one is empty.
type Book struct {
	shelves  map[language.Base]shelf
	fallback string // "" if not set
}

// A shelf holds the templates of one language, for its scripts and regions.
type shelf struct {
	matcher   language.Matcher
	templates []string // in the order of the matcher
}

// NewBook returns a Book of templates by BCP 47 tag, such as "de", "pt-BR" and
// "zh-Hant", and "default" for everyone else. A template has Place in it and at
// most 1600 characters. An error names the key.
func NewBook(templates map[string]string) (*Book, error) {
	b := &Book{shelves: map[language.Base]shelf{}}
	tags := map[language.Base][]language.Tag{}
	keys := map[language.Tag]string{}
	for _, key := range slices.Sorted(maps.Keys(templates)) {
		template := templates[key]
		switch {
		case !strings.Contains(template, Place):
			return nil, fmt.Errorf("template %q: must contain %s, where the code goes", key, Place)
		case utf8.RuneCountInString(template) > maxTemplate:
			return nil, fmt.Errorf("template %q: must have at most %d characters", key, maxTemplate)
		case key == fallbackKey:
			b.fallback = template
			continue
		}
		tag, err := language.Parse(key)
		if err != nil {
			return nil, fmt.Errorf("template %q: %w", key, err)
		}
		base := languageOf(tag)
		if base == (language.Base{}) || len(tag.Variants()) > 0 || len(tag.Extensions()) > 0 { // matchers do not tell the latter two apart
			return nil, fmt.Errorf("template %q: must be for a language, perhaps with a script or region, or %q", key, fallbackKey)
		}
		if same, ok := keys[canonical(tag)]; ok {
			return nil, fmt.Errorf("template %q: means the same as %q", key, same)
		}
		keys[canonical(tag)] = key
		tags[base] = append(tags[base], tag)
		s := b.shelves[base]
		s.templates = append(s.templates, template)
		b.shelves[base] = s
	}
	for base, s := range b.shelves {
		s.matcher = language.NewMatcher(tags[base])
		b.shelves[base] = s
	}
	return b, nil
}

// Find returns the template for locale, a BCP 47 tag, which may have underscores;
// or if locale is "", for the most likely language of country, an ISO 3166-1
// code. If the book has no readable template, it returns the default; ok is false
// if there is no default either.
//
// A template serves the other regions of its language, but neither another script
// nor a related language: Danes do not get Norwegian. Bokmål and
// Nynorsk count as one.
func (b *Book) Find(locale, country string) (template string, ok bool) {
	if b == nil {
		return "", false
	}
	tag := spokenIn(country)
	if locale != "" {
		tag, _ = parse(locale)
	}
	if s, ok := b.shelves[languageOf(tag)]; ok {
		// High is as good as it gets from one region to another.
		if _, i, confidence := s.matcher.Match(tag); confidence >= language.High {
			return s.templates[i], true
		}
	}
	return b.fallback, b.fallback != ""
}

// CheckLocale returns an error that describes a valid locale unless s is well
// formed and has at most 35 characters. The language itself may be unknown.
func CheckLocale(s string) error {
	_, err := parse(s)
	return err
}

// parse returns the known parts of a well-formed locale, possibly none.
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

// spokenIn returns the most likely language of a country, with its script, or one
// that no book has.
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

// languageOf returns only the language of tag, under one name for synonyms; the
// zero Base if tag names no language.
func languageOf(tag language.Tag) language.Base {
	base, _, _ := canonical(tag).Raw()
	if base == nynorsk {
		return norwegian
	}
	return base
}

// canonical returns tag with one name for all that mean the same. Matchers do
// better without: this one drops that Bokmål is Norwegian's usual form.
func canonical(tag language.Tag) language.Tag {
	same, err := language.All.Canonicalize(tag)
	if err != nil {
		return tag
	}
	return same
}
