package server

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/smsfile"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// testProviders are the providers of the configuration, opened as a server does for the test
// messages of a command. They must be closed.
type testProviders struct {
	cfg      config.Config
	store    *Store
	limits   mfa.Limits
	delivery *smsfile.Delivery // nil until open
	service  atomic.Pointer[mfa.Service]
}

// open returns a service that sends messages through the providers.
func (p *testProviders) open(keys *secret.Keyset) (_ *mfa.Service, err error) {
	if p.cfg.SMS == "" {
		return nil, errors.New("no SMS provider is configured; give --sms, or --config with the configuration of the server")
	}
	log := slog.New(slog.DiscardHandler)
	if p.delivery == nil {
		p.delivery, err = smsfile.Open(p.cfg.SMS, smsfile.Options{Countries: p.cfg.SMSCountries, Record: p.receive, Logger: log})
		if err != nil {
			return nil, err
		}
	}
	service, err := mfa.NewService(p.store.mfa, keys, p.delivery.Sender, mfa.Options{
		Limits: p.limits, SMS: p.delivery.Rules.All, SMSOf: p.delivery.Rules.Of, Logger: log,
	})
	if err == nil {
		p.service.Store(service)
	}
	return service, err
}

// receive records a report about a message of a server: a carrier may choose any of the open
// connections of an account.
func (p *testProviders) receive(ctx context.Context, provider string, r sms.Receipt) error {
	service := p.service.Load()
	if service == nil {
		return errors.New("the command is starting")
	}
	return service.Receive(ctx, delivery.Receipt{Provider: provider, ID: r.ID, Also: r.Also, State: delivery.State(r.State), Reason: r.Reason})
}

func (p *testProviders) close() error {
	if p.delivery == nil {
		return nil
	}
	return p.delivery.Close()
}
