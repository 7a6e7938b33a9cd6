package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/delivery/smsfile"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/stats"
)

// WithOperator calls fn with the actions of operators on the store that cfg names, which
// must exist. The keyset of cfg is opened when an action needs it.
func WithOperator(ctx context.Context, cfg config.Config, fn func(*operator.Service) error) error {
	return withOperator(ctx, cfg, openInUse, fn)
}

// WithNewOperator is WithOperator, but creates the store if it does not exist.
func WithNewOperator(ctx context.Context, cfg config.Config, fn func(*operator.Service) error) error {
	return withOperator(ctx, cfg, openQuietly, fn)
}

func withOperator(ctx context.Context, cfg config.Config, open func(context.Context, string) (*Store, error), fn func(*operator.Service) error) (err error) {
	rules, err := smsfile.ReadRules(cfg.SMS)
	if err != nil {
		return err
	}
	prices, err := readPrices(cfg.SMSPrices)
	if err != nil {
		return err
	}
	limits, err := limitsOf(cfg)
	if err != nil {
		return err
	}
	store, err := open(ctx, cfg.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	development, err := isDevelopment(ctx, store.transfer)
	if err != nil {
		return err
	}
	providers := testProviders{cfg: cfg, store: store, limits: limits}
	defer func() { err = errors.Join(err, providers.close()) }()
	keyset := func(ctx context.Context) (*secret.Keyset, error) { return keysetInUse(ctx, cfg, store.transfer) }
	return fn(operator.NewService(operatorStore{store.mfa, store.phones, store.events}, store.access, operator.Options{
		Keys: keyset,
		Remover: func(ctx context.Context) (operator.Remover, error) {
			keys, err := keyset(ctx)
			if err != nil {
				return nil, err
			}
			return mfa.NewService(store.mfa, keys, nil, mfa.Options{})
		},
		Tester: func(ctx context.Context) (operator.Tester, error) {
			keys, err := keyset(ctx)
			if err != nil {
				return nil, err
			}
			return providers.open(keys)
		},
		Statistics:  stats.NewReader(store.stats, store.events, prices, nil),
		SMS:         rules.All,
		SMSOf:       rules.Of,
		Limits:      limits,
		Development: development,
	}))
}

// Migrate creates the store of that name, or updates its schema.
func Migrate(ctx context.Context, name string) error {
	store, err := openQuietly(ctx, name)
	if err != nil {
		return err
	}
	return store.Close()
}

func openQuietly(ctx context.Context, name string) (*Store, error) {
	return OpenStore(ctx, name, slog.New(slog.DiscardHandler))
}

// openInUse opens a store that must exist, for a command.
func openInUse(ctx context.Context, name string) (*Store, error) {
	if path, ok := config.SQLitePath(name); ok {
		switch _, err := os.Stat(path); {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("there is no store at %s; name it with --store or --config", path)
		case err != nil:
			return nil, fmt.Errorf("open the store: %w", err)
		}
	}
	return openQuietly(ctx, name)
}

// keysetInUse loads the keyset of a store that is in use. It returns nil and an error for a
// keyset that does not open the store.
func keysetInUse(ctx context.Context, cfg config.Config, store metaStore) (*secret.Keyset, error) {
	source, err := KeysetSource(cfg)
	if err != nil {
		return nil, err
	}
	keys, err := secret.LoadKeyset(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("load keyset: %w", err)
	}
	proof, err := store.Meta(ctx, metaKeyset)
	if err == nil && proof != nil {
		err = proveKeyset(ctx, store, keys, proof)
	}
	if err != nil {
		return nil, err
	}
	return keys, nil
}
