package server

import (
	"context"
	"errors"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// An EventReader reads the events of a store that servers may be using.
type EventReader struct {
	*events.Service
	access *access.Service

	// Sealed is why personal data stays sealed: the keyset cannot be loaded. Nil if it is
	// opened.
	Sealed error
}

// Environments lists all environments, oldest first.
func (r *EventReader) Environments(ctx context.Context) ([]mfa.Environment, error) {
	return r.access.Environments(ctx)
}

// Environment returns the environment of that name, or access.ErrNotFound.
func (r *EventReader) Environment(ctx context.Context, name string) (mfa.Environment, error) {
	return r.access.Environment(ctx, name)
}

// WithEvents calls fn with the events of the store that cfg names, which must exist.
func WithEvents(ctx context.Context, cfg config.Config, fn func(*EventReader) error) (err error) {
	store, err := openInUse(ctx, cfg.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	r := &EventReader{access: access.NewService(store.access, nil)}
	keys, err := keysetInUse(ctx, cfg, store.transfer)
	if r.Sealed = err; err != nil {
		keys = nil // also those that do not belong to the store
	}
	r.Service = events.NewService(store.events, events.Options{Keys: func() *secret.Keyset { return keys }})
	return fn(r)
}
