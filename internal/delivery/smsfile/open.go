package smsfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/providers"
)

// Options are what Open takes from the process.
type Options struct {
	Countries []string // of the --sms-countries flag; they count if the file names none

	// Record keeps a receipt of a provider. After an error the provider is asked to send
	// the receipt again.
	Record  func(ctx context.Context, provider string, r sms.Receipt) error
	Observe func(sms.Try)                                                               // as in sms.RouterOptions; default none
	Trace   func(ctx context.Context, provider string) (context.Context, func(sms.Try)) // as in sms.RouterOptions; default none
	Logger  *slog.Logger                                                                // required
}

// A Delivery is the open providers of a file and their rules. It must be closed. If the
// file names no provider, only Rules is set.
type Delivery struct {
	Sender    delivery.Sender
	Router    *sms.Router    // reports the health of the providers
	Callbacks *sms.Callbacks // receives receipts
	Rules     Rules

	providers []sms.Named
}

// maxBudget leaves time to answer before mfa gives up on a message, after 12 s.
const maxBudget = 11500 * time.Millisecond

// Open reads the file at path and opens the providers that it names.
func Open(path string, opts Options) (*Delivery, error) {
	f, rules, err := read(path, opts.Countries)
	if err != nil {
		return nil, err
	}
	d := &Delivery{Rules: rules}
	if err := d.open(f, filepath.Dir(path), opts); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), d.Close())
	}
	return d, nil
}

// open opens the providers of f. Their paths are relative to dir.
func (d *Delivery) open(f *file, dir string, opts Options) error {
	for i, settings := range f.Providers {
		if err := d.add(i+1, settings, dir, opts); err != nil {
			return err
		}
	}
	routes, err := f.smsRoutes()
	if err != nil {
		return err
	}
	if f.Budget > maxBudget {
		return fmt.Errorf("budget is %v; it must be at most %v", f.Budget, maxBudget)
	}
	if len(d.providers) == 0 && len(routes) == 0 {
		return nil
	}
	d.Router, err = sms.NewRouter(routes, d.providers, sms.RouterOptions{
		TryTimeout: f.TryTimeout, Budget: f.Budget, MinTry: f.MinTry,
		Breaker: sms.BreakerOptions(f.Breaker), Observe: opts.Observe, Trace: opts.Trace,
	})
	if err != nil {
		return err
	}
	d.Sender = sms.Sender{Router: d.Router}
	d.Callbacks = sms.NewCallbacks(d.providers, opts.Record, opts.Logger)
	return nil
}

// add opens a provider. number is its position in the file, from 1.
func (d *Delivery) add(number int, settings providers.Settings, dir string, opts Options) error {
	var name, typ string
	if err := errors.Join(take(settings, "name", &name), take(settings, "type", &typ)); err != nil {
		return fmt.Errorf("provider %d: %w", number, err)
	}
	if _, to, ok := strings.Cut(settings["callback_url"].Value, "/sms/receipts/"); ok && to != name {
		return fmt.Errorf("provider %q: callback_url must end in /sms/receipts/%s", name, name)
	}
	p, err := providers.Open(typ, settings, providers.Parts{
		Dir:    dir,
		Record: func(ctx context.Context, r sms.Receipt) error { return opts.Record(ctx, name, r) },
		Logger: opts.Logger,
	})
	if err != nil {
		return fmt.Errorf("provider %q: %w", name, err)
	}
	d.providers = append(d.providers, sms.Named{Name: name, Provider: p})
	return nil
}

// take removes a setting that every provider has from the others.
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

// Close closes the providers that keep a connection.
func (d *Delivery) Close() error {
	var errs []error
	for _, p := range d.providers {
		if c, ok := p.Provider.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
