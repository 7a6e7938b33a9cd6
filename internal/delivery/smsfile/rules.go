package smsfile

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/smstext"
)

// An environment has the rules of one environment: the countries that messages may go
// to, their number and their texts.
type environment struct {
	Countries []string          `yaml:"countries"`
	Home      string            `yaml:"home"`
	Daily     count             `yaml:"daily"`
	Abroad    count             `yaml:"abroad"`
	Pumping   pumping           `yaml:"pumping"`
	Texts     map[string]string `yaml:"texts"`
	Origin    string            `yaml:"origin"`
	Links     bool              `yaml:"links"`

	AllowNumbers map[string]string `yaml:"allow_numbers"`
}

type pumping struct {
	Sends    count         `yaml:"sends"`
	Verified float64       `yaml:"verified"`
	Window   time.Duration `yaml:"window"`
	Pause    time.Duration `yaml:"pause"`
}

// A count is at least 1 if the file gives it. In delivery.Rules 0 means the default, so a
// 0 in the file is an error instead of a surprise.
type count int

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *count) UnmarshalYAML(node *yaml.Node) error {
	var n int
	if err := node.Decode(&n); err != nil {
		return err
	}
	if n < 1 {
		return fmt.Errorf("line %d: %d must be at least 1", node.Line, n)
	}
	*c = count(n)
	return nil
}

func (e environment) rules() delivery.Rules {
	p := e.Pumping
	return delivery.Rules{
		Countries: e.Countries, Home: e.Home, Daily: int(e.Daily), Abroad: int(e.Abroad),
		Pumping: delivery.Pumping{Sends: int(p.Sends), Verified: p.Verified, Window: p.Window, Pause: p.Pause},
		Texts:   e.Texts, Origin: e.Origin, Links: e.Links, AllowNumbers: e.AllowNumbers,
	}
}

// Rules are the rules of a file.
type Rules struct {
	All delivery.Rules            // of every environment that is not in Of
	Of  map[string]delivery.Rules // of the environments that have a section, by name
}

// rules returns the rules of the file. A section of an environment replaces the values
// that it gives; texts and allowed numbers are added to those at the top level.
func (f *file) rules(countries []string) (Rules, error) {
	base := f.environment
	if base.Countries == nil {
		base.Countries = countries
	}
	rules := Rules{All: base.rules(), Of: map[string]delivery.Rules{}}
	for name, section := range f.Environments {
		own := base
		own.Texts, own.AllowNumbers = maps.Clone(base.Texts), maps.Clone(base.AllowNumbers)
		if err := decodeSection(&section, &own); err != nil {
			return rules, fmt.Errorf("environment %q: %w", name, err)
		}
		rules.Of[name] = own.rules()
	}
	return rules, nil
}

// decodeSection is node.Decode that refuses unknown keys, which yaml.Node cannot do.
func decodeSection(node *yaml.Node, into any) error {
	content, err := yaml.Marshal(node)
	if err != nil {
		return err
	}
	return decodeStrictly(content, into)
}

// ReadRules returns the rules of the file at path. An empty path means the defaults.
func ReadRules(path string) (Rules, error) {
	if path == "" {
		return Rules{}, nil
	}
	_, rules, err := read(path, nil)
	return rules, err
}

// Sends reports whether any environment may send messages: whether it has a country.
func (r Rules) Sends() bool {
	sends := len(r.All.Countries) > 0
	for _, own := range r.Of {
		sends = sends || len(own.Countries) > 0
	}
	return sends
}

// A Text is one of the texts of a file with an example of a code.
type Text struct {
	Environment string // "(all)" for the texts of all other environments
	Locale      string
	Text        string
	smstext.Length
}

// Check reads the file at path as a server does, opens and closes its providers, and
// returns its texts.
func Check(path string) ([]Text, error) {
	d, err := Open(path, Options{
		Record: func(context.Context, string, sms.Receipt) error { return nil },
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	texts := textsOf("(all)", d.Rules.All)
	for _, name := range slices.Sorted(maps.Keys(d.Rules.Of)) {
		texts = append(texts, textsOf(name, d.Rules.Of[name])...)
	}
	return texts, nil
}

func textsOf(environment string, rules delivery.Rules) (texts []Text) {
	samples := rules.Samples()
	for _, locale := range slices.Sorted(maps.Keys(samples)) {
		text := samples[locale]
		texts = append(texts, Text{environment, locale, text, smstext.Measure(text)})
	}
	return texts
}
