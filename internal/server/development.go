package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/countersign-mfa/countersign/internal/config"
)

// metaDevelopment marks a store that ClaimDevelopment has accepted while it was new.
const metaDevelopment = "development"

// ClaimDevelopment prepares a store for a server that shows its messages to everyone
// and keeps its API key in a plain file. A new store is made and marked. A store with
// the mark is accepted unless it holds a production environment. Any other store is
// refused, because its codes and keys may belong to real users.
func ClaimDevelopment(ctx context.Context, name string, log *slog.Logger) (err error) {
	store, err := OpenStore(ctx, name, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	environments, err := store.access.Environments(ctx)
	if err != nil {
		return err
	}
	for _, e := range environments {
		if e.Production {
			return fmt.Errorf("%s holds the production environment %q, and 'countersign dev' would show its messages without a key; "+
				"give --store another store", config.StoreName(name), e.Name)
		}
	}
	marked, err := isDevelopment(ctx, store.transfer)
	if err != nil || marked {
		return err
	}
	sealed, err := store.transfer.Meta(ctx, metaKeyset)
	if err != nil {
		return err
	}
	if sealed != nil || len(environments) > 0 {
		return fmt.Errorf("%s was not made by 'countersign dev', or by a version before 0.2, and dev would show its messages without a key; "+
			"give --store a new store, or remove this one if it holds nothing but trials", config.StoreName(name))
	}
	return store.transfer.PutMeta(ctx, metaDevelopment, []byte("yes"))
}

// isDevelopment reports whether a store was made by ClaimDevelopment.
func isDevelopment(ctx context.Context, store metaStore) (bool, error) {
	mark, err := store.Meta(ctx, metaDevelopment)
	return mark != nil, err
}
