// Package smsfile reads the file of the --sms flag, which names the SMS providers, the
// numbers that each takes, and the rules of environments.
//
// Start with Open, which makes the providers and their router, and File, which has the
// keys of the file.
package smsfile

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/providers"
)

// file has the keys of the file. The rules at the top level apply to all
// environments; a section of an environment replaces some of them.
type file struct {
	environment `yaml:",inline"`

	Providers  []providers.Settings `yaml:"providers"`
	Routes     []route              `yaml:"routes"`
	TryTimeout time.Duration        `yaml:"try_timeout"`
	Budget     time.Duration        `yaml:"budget"`
	MinTry     time.Duration        `yaml:"min_try"`
	Breaker    breaker              `yaml:"breaker"`

	Environments map[string]yaml.Node `yaml:"environments"`
}

type route struct {
	Prefix  string   `yaml:"prefix"`
	Choices []choice `yaml:"choices"`
}

type choice struct {
	Provider string `yaml:"provider"`
	Priority int    `yaml:"priority"`
	Weight   *int   `yaml:"weight"` // nil means 1
}

// A breaker has the same fields as sms.BreakerOptions, in the same order.
type breaker struct {
	Failures int           `yaml:"failures"`
	Ratio    float64       `yaml:"ratio"`
	MinTries int           `yaml:"min_tries"`
	Window   time.Duration `yaml:"window"`
	Pause    time.Duration `yaml:"pause"`
	MaxPause time.Duration `yaml:"max_pause"`
}

// read reads and checks the file at path. countries is the value of the --sms-countries
// flag, which counts if the file names no country.
func read(path string, countries []string) (*file, Rules, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, Rules{}, fmt.Errorf("read the SMS providers: %w", err)
	}
	f, rules, err := parse(content, countries)
	if err != nil {
		return nil, Rules{}, fmt.Errorf("%s: %w", path, err)
	}
	return f, rules, nil
}

func parse(content []byte, countries []string) (*file, Rules, error) {
	var f file
	if err := decodeStrictly(content, &f); err != nil {
		return nil, Rules{}, err
	}
	rules, err := f.rules(countries)
	if err != nil {
		return nil, Rules{}, err
	}
	return &f, rules, delivery.CheckRules(rules.All, rules.Of)
}

// decodeStrictly decodes YAML and refuses unknown keys. Empty content changes nothing.
func decodeStrictly(content []byte, into any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil && err != io.EOF {
		return config.YAMLError(err)
	}
	return nil
}

// smsRoutes returns the routes of the file.
func (f *file) smsRoutes() ([]sms.Route, error) {
	var routes []sms.Route
	for _, r := range f.Routes {
		to := sms.Route{Prefix: r.Prefix}
		for _, c := range r.Choices {
			weight := 1
			if c.Weight != nil {
				weight = *c.Weight
			}
			if weight == 0 {
				return nil, fmt.Errorf("route %q: the weight of %q is 0; remove the provider from the route instead", r.Prefix, c.Provider)
			}
			to.Choices = append(to.Choices, sms.Choice{Provider: c.Provider, Priority: c.Priority, Weight: weight})
		}
		routes = append(routes, to)
	}
	return routes, nil
}
