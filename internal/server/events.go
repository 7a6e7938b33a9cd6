package server

import (
	"context"
	"errors"
	"time"

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
	only   string // the name of the environment that is read; "": all are

	// Sealed is why personal data stays sealed: the keyset cannot be loaded. Nil if it is
	// opened.
	Sealed error
}

// Environments lists the environments that are read, oldest first. If there are events that
// belong to no environment, such as rotations of the keyset, the last one is the zero
// environment. The error for an unknown name is access.ErrNotFound.
func (r *EventReader) Environments(ctx context.Context) ([]mfa.Environment, error) {
	if r.only == "" {
		all, err := r.access.Environments(ctx)
		if err != nil {
			return nil, err
		}
		page, err := r.List(ctx, events.Query{Limit: 1})
		if len(page.Events) > 0 {
			all = append(all, mfa.Environment{})
		}
		return all, err
	}
	env, err := r.access.Environment(ctx, r.only)
	return []mfa.Environment{env}, err
}

// The time between two looks of Follow for new events of an environment. With many
// environments it is longer, so all of them together cause at most 200 reads a second.
const (
	shortestLook = 200 * time.Millisecond
	lookPerEach  = 5 * time.Millisecond
)

// WithEvents calls fn with the events of the store that cfg names, which must exist: of the
// environment with that name, or of all environments for "".
func WithEvents(ctx context.Context, cfg config.Config, environment string, fn func(*EventReader) error) (err error) {
	store, err := openInUse(ctx, cfg.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	r := &EventReader{access: access.NewService(store.access, nil), only: environment}
	all, err := r.access.Environments(ctx)
	if err != nil {
		return err
	}
	keys, sealed := keysetInUse(ctx, cfg, store.transfer)
	r.Sealed = sealed // keys is nil then
	r.Service = events.NewService(store.events, events.Options{
		Keys: func() *secret.Keyset { return keys },
		Poll: max(shortestLook, time.Duration(len(all))*lookPerEach),
	})
	return fn(r)
}
