package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// FillStore is Fill for the store of that name, as --store takes it, and the only environment in
// it. The store and the file of the keyset must exist. It sets Environment and Keys of the plan.
func FillStore(ctx context.Context, name, keyset string, p Plan) (_ Sample, err error) {
	if p.Keys, err = secret.LoadKeyset(ctx, "file:"+keyset); err != nil {
		return Sample{}, err
	}
	var store interface {
		Store
		Environments(context.Context) ([]mfa.Environment, error)
		Close() error
	}
	quiet := slog.New(slog.DiscardHandler)
	if path, ok := strings.CutPrefix(name, "sqlite:"); ok {
		store, err = sqlite.OpenExisting(path, quiet)
	} else {
		store, err = postgres.Open(ctx, name, postgres.Options{Logger: quiet})
	}
	if err != nil {
		return Sample{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	all, err := store.Environments(ctx)
	if err != nil {
		return Sample{}, err
	}
	if len(all) != 1 {
		return Sample{}, fmt.Errorf("the store has %d environments", len(all))
	}
	p.Environment = all[0]
	return Fill(ctx, store, p)
}
