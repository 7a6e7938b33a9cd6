package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// Webhooks are the endpoints of a store that servers may be using.
type Webhooks struct {
	*webhook.Service
	access *access.Service

	// Sealed is why no secret can be created or shown: the keyset cannot be loaded. Nil if it
	// is open.
	Sealed error
}

// Environments lists all environments, oldest first.
func (w *Webhooks) Environments(ctx context.Context) ([]mfa.Environment, error) {
	return w.access.Environments(ctx)
}

// Environment returns the environment of that name, or access.ErrNotFound.
func (w *Webhooks) Environment(ctx context.Context, name string) (mfa.Environment, error) {
	return w.access.Environment(ctx, name)
}

// WithWebhooks calls fn with the endpoints of the store that cfg names, which must exist.
func WithWebhooks(ctx context.Context, cfg config.Config, fn func(*Webhooks) error) (err error) {
	store, err := openInUse(ctx, cfg.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	keys, sealed := keysetInUse(ctx, cfg, store.transfer)
	allow, err := webhook.ParseAllow(cfg.WebhookAllow)
	if err != nil {
		return fmt.Errorf("--webhook-allow: %w", err)
	}
	opts := webhook.Options{Allow: allow, PlainHTTP: cfg.WebhookPlainHTTP}
	return fn(&Webhooks{Service: webhook.NewService(store.webhook, keys, opts), access: access.NewService(store.access, nil), Sealed: sealed})
}
