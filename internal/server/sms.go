package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/aws"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/messagebird"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/plivo"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smpp"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/telnyx"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/twilio"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/vonage"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/webhook"
	"github.com/countersign-mfa/countersign/internal/metrics"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// An smsFile names who delivers text messages, which numbers each takes, and the
// rules of all environments and of some.
type smsFile struct {
	smsEnvironment `yaml:",inline"`

	Providers  []map[string]yaml.Node `yaml:"providers"`
	Routes     []smsRoute             `yaml:"routes"`
	TryTimeout time.Duration          `yaml:"try_timeout"`
	Budget     time.Duration          `yaml:"budget"`
	MinTry     time.Duration          `yaml:"min_try"`
	Breaker    smsBreaker             `yaml:"breaker"`

	Environments map[string]yaml.Node `yaml:"environments"`
}

type smsRoute struct {
	Prefix  string      `yaml:"prefix"`
	Choices []smsChoice `yaml:"choices"`
}

type smsChoice struct {
	Provider string `yaml:"provider"`
	Priority int    `yaml:"priority"`
	Weight   *int   `yaml:"weight"`
}

type smsBreaker struct {
	Failures int           `yaml:"failures"`
	Ratio    float64       `yaml:"ratio"`
	MinTries int           `yaml:"min_tries"`
	Window   time.Duration `yaml:"window"`
	Pause    time.Duration `yaml:"pause"`
	MaxPause time.Duration `yaml:"max_pause"`
}

// mostBudget leaves time to answer before mfa gives a message up, after 12 s.
const mostBudget = 11500 * time.Millisecond

// A delivery is the providers of text messages at work, and their rules. It must be
// closed. Without providers there is nothing but the rules.
type delivery struct {
	io.Closer
	Sender    mfa.Sender
	Router    *sms.Router    // tells how the providers fare
	Callbacks *sms.Callbacks // takes in receipts

	rules smsRules
}

// A recorder keeps what a provider says about a message. After an error the provider
// is to say it again.
type recorder func(ctx context.Context, provider string, r sms.Receipt) error

// readSMS reads the file at path, with the rules of its environments.
func readSMS(path string, countries []string) (*smsFile, smsRules, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, smsRules{}, fmt.Errorf("read the SMS providers: %w", err)
	}
	var file smsFile
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil && err != io.EOF {
		return nil, smsRules{}, fmt.Errorf("%s: %w", path, config.YAMLError(err))
	}
	rules, err := file.rules(countries)
	if err == nil {
		err = mfa.CheckSMSRules(rules.all, rules.of)
	}
	if err != nil {
		return nil, rules, fmt.Errorf("%s: %w", path, err)
	}
	return &file, rules, nil
}

// openSMS reads the file at path and opens the providers that it names. countries are
// those of the command line. The providers are measured by m unless it is nil.
func openSMS(path string, countries []string, record recorder, log *slog.Logger, m *metrics.Metrics) (_ *delivery, err error) {
	file, rules, err := readSMS(path, countries)
	if err != nil {
		return nil, err
	}
	var opened closers
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", path, err), opened.Close())
		}
	}()
	var named []sms.Named
	for i, settings := range file.Providers {
		var name, kind string
		if err := errors.Join(take(settings, "name", &name), take(settings, "type", &kind)); err != nil {
			return nil, fmt.Errorf("provider %d: %w", i+1, err)
		}
		if _, to, ours := strings.Cut(settings["callback_url"].Value, "/sms/receipts/"); ours && to != name {
			return nil, fmt.Errorf("provider %q: callback_url must end in /sms/receipts/%s", name, name)
		}
		p, err := openProvider(kind, settings, filepath.Dir(path), log, func(ctx context.Context, r sms.Receipt) error {
			return record(ctx, name, r)
		})
		if err != nil {
			return nil, fmt.Errorf("provider %q: %w", name, err)
		}
		if c, ok := p.(io.Closer); ok {
			opened = append(opened, c)
		}
		named = append(named, sms.Named{Name: name, Provider: p})
	}
	var routes []sms.Route
	for _, r := range file.Routes {
		route := sms.Route{Prefix: r.Prefix}
		for _, c := range r.Choices {
			choice := sms.Choice{Provider: c.Provider, Priority: c.Priority, Weight: 1}
			if c.Weight != nil {
				choice.Weight = *c.Weight
			}
			if choice.Weight == 0 {
				return nil, fmt.Errorf("route %q: the weight of %q is 0; leave it out instead", r.Prefix, c.Provider)
			}
			route.Choices = append(route.Choices, choice)
		}
		routes = append(routes, route)
	}
	if file.Budget > mostBudget {
		return nil, fmt.Errorf("budget is %v; it must be at most %v", file.Budget, mostBudget)
	}
	if len(named) == 0 && len(routes) == 0 {
		return &delivery{Closer: opened, rules: rules}, nil
	}
	router, err := sms.NewRouter(routes, named, sms.RouterOptions{
		TryTimeout: file.TryTimeout, Budget: file.Budget, MinTry: file.MinTry,
		Breaker: sms.BreakerOptions(file.Breaker), Observe: observeTries(log, m),
	})
	if err != nil {
		return nil, err
	}
	watch(router, m)
	return &delivery{
		Closer:    opened,
		Sender:    sms.Sender{Router: router},
		Router:    router,
		Callbacks: sms.NewCallbacks(named, record, log),
		rules:     rules,
	}, nil
}

// take moves a setting that every provider has out of the others.
func take(settings map[string]yaml.Node, key string, into *string) error {
	node, ok := settings[key]
	if !ok {
		return fmt.Errorf("%s is missing", key)
	}
	delete(settings, key)
	if err := node.Decode(into); err != nil || *into == "" {
		return fmt.Errorf("%s must be a text", key)
	}
	return nil
}

// openProvider makes a provider of a kind. Receipts that come over its own connection
// go to record; those that are posted go to sms.Callbacks.
func openProvider(kind string, settings map[string]yaml.Node, dir string, log *slog.Logger, record func(context.Context, sms.Receipt) error) (sms.Provider, error) {
	switch kind {
	case "aws":
		return open(settings, dir, aws.New)
	case "messagebird":
		return open(settings, dir, messagebird.New)
	case "plivo":
		return open(settings, dir, plivo.New)
	case "smpp":
		return open(settings, dir, func(o smpp.Options) (*smpp.Provider, error) {
			o.OnReceipt, o.Logger = record, log
			return smpp.New(o)
		})
	case "telnyx":
		return open(settings, dir, telnyx.New)
	case "twilio":
		return open(settings, dir, twilio.New)
	case "vonage":
		return open(settings, dir, vonage.New)
	case "webhook":
		return open(settings, dir, webhook.New)
	}
	return nil, fmt.Errorf("there is no type %q; there are aws, messagebird, plivo, smpp, telnyx, twilio, vonage and webhook", kind)
}

// open makes a provider out of settings that are named as the fields of its
// options are.
func open[Options any, P sms.Provider](settings map[string]yaml.Node, dir string, make func(Options) (P, error)) (sms.Provider, error) {
	var o Options
	if err := fill(&o, settings, dir); err != nil {
		return nil, err
	}
	p, err := make(o)
	if err != nil {
		return nil, err // not a nil P in an interface that is none
	}
	return p, nil
}

// logTry tells of every try that failed, and who took the message after all.
func logTry(log *slog.Logger) func(sms.Try) {
	return func(t sms.Try) {
		challenge, _, _ := strings.Cut(t.Reference, "-")
		attrs := []any{
			"provider", t.Provider, "challenge", "auth_challenge_" + challenge, "try", t.Number, "took_ms", float64(t.Took.Microseconds()) / 1000,
		}
		switch {
		case t.Kind != "":
			log.Warn("message not accepted", append(attrs, "kind", string(t.Kind), "code", t.Code, "reason", t.Reason)...)
		case t.Number > 1:
			log.Info("message accepted after all", attrs...)
		default:
			log.Debug("message accepted", attrs...)
		}
	}
}

type closers []io.Closer

func (all closers) Close() error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
