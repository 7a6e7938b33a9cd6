package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/smstext"
)

// An smsEnvironment says where the messages of an environment go, how many there
// may be and what they read.
type smsEnvironment struct {
	Countries []string          `yaml:"countries"`
	Home      string            `yaml:"home"`
	Daily     count             `yaml:"daily"`
	Abroad    count             `yaml:"abroad"`
	Pumping   smsPumping        `yaml:"pumping"`
	Texts     map[string]string `yaml:"texts"`
	Origin    string            `yaml:"origin"`
	Links     bool              `yaml:"links"`

	AllowNumbers map[string]string `yaml:"allow_numbers"`
}

type smsPumping struct {
	Sends    count         `yaml:"sends"`
	Verified float64       `yaml:"verified"`
	Window   time.Duration `yaml:"window"`
	Pause    time.Duration `yaml:"pause"`
}

// A count is 1 or more, if it is given. In mfa.SMSRules 0 stands for the default, which
// nobody means who writes it.
type count int

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

func (e smsEnvironment) rules() mfa.SMSRules {
	p := e.Pumping
	return mfa.SMSRules{
		Countries: e.Countries, Home: e.Home, Daily: int(e.Daily), Abroad: int(e.Abroad),
		Pumping: mfa.Pumping{Sends: int(p.Sends), Verified: p.Verified, Window: p.Window, Pause: p.Pause},
		Texts:   e.Texts, Origin: e.Origin, Links: e.Links, AllowNumbers: e.AllowNumbers,
	}
}

// smsRules are the rules of all environments, and of those with a section of their own.
type smsRules struct {
	all mfa.SMSRules
	of  map[string]mfa.SMSRules
}

// rules puts what the section of each environment says in place of what the file
// says for all; countries are those of the command line, where the file has none.
func (f *smsFile) rules(countries []string) (smsRules, error) {
	base := f.smsEnvironment
	if base.Countries == nil {
		base.Countries = countries
	}
	rules := smsRules{all: base.rules(), of: map[string]mfa.SMSRules{}}
	for name, section := range f.Environments {
		own := base
		own.Texts, own.AllowNumbers = maps.Clone(base.Texts), maps.Clone(base.AllowNumbers)
		if err := decodeStrictly(&section, &own); err != nil {
			return rules, fmt.Errorf("environment %q: %w", name, err)
		}
		rules.of[name] = own.rules()
	}
	return rules, nil
}

// doubt warns of rules that may not mean what they say.
func (s *Server) doubt(ctx context.Context, rules smsRules) error {
	there, err := s.store.Environments(ctx)
	if err != nil {
		return err
	}
	sends := len(rules.all.Countries) > 0
	for name, own := range rules.of {
		sends = sends || len(own.Countries) > 0
		if !slices.ContainsFunc(there, func(e mfa.Environment) bool { return e.Name == name }) {
			s.log.Warn("the file of SMS providers has rules for an environment that is not there", "environment", name)
		}
	}
	if !sends {
		s.log.Warn("production environments send no messages: neither the file of SMS providers nor --sms-countries names a country")
	}
	return nil
}

// decodeStrictly is node.Decode that refuses keys it does not know.
func decodeStrictly(node *yaml.Node, into any) error {
	text, err := yaml.Marshal(node)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil && err != io.EOF {
		return config.YAMLError(err)
	}
	return nil
}

// An SMSText is one of the texts that a file of providers has, with a code in it.
type SMSText struct {
	Environment string // "(all)" for those of all others
	Locale      string
	Text        string
	smstext.Length
}

// SMSRules returns the rules of the file of providers at path: those of all environments,
// and those of environments with a section of their own by name. An empty path means the
// defaults.
func SMSRules(path string) (all mfa.SMSRules, of map[string]mfa.SMSRules, err error) {
	if path == "" {
		return all, nil, nil
	}
	_, rules, err := readSMS(path, nil)
	return rules.all, rules.of, err
}

// CheckSMS reads the file of providers at path as a server would, and returns its
// texts.
func CheckSMS(path string) ([]SMSText, error) {
	noReceipts := func(context.Context, string, sms.Receipt) error { return nil }
	opened, err := openSMS(path, nil, noReceipts, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, err
	}
	if err := opened.Close(); err != nil {
		return nil, err
	}
	texts := textsOf("(all)", opened.rules.all)
	for _, name := range slices.Sorted(maps.Keys(opened.rules.of)) {
		texts = append(texts, textsOf(name, opened.rules.of[name])...)
	}
	return texts, nil
}

func textsOf(environment string, rules mfa.SMSRules) (texts []SMSText) {
	samples := rules.Samples()
	for _, locale := range slices.Sorted(maps.Keys(samples)) {
		text := samples[locale]
		texts = append(texts, SMSText{environment, locale, text, smstext.Measure(text)})
	}
	return texts
}
