package webhook

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// Reseal seals the secrets of all endpoints under the newest key.
func (s *Service) Reseal(ctx context.Context) error {
	keys := s.keys.Load()
	all, err := s.store.AllEndpoints(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for i := range all {
		if e := &all[i]; !e.stale(keys) {
			continue
		}
		errs = append(errs, s.store.UpdateEndpoint(ctx, all[i].ID, func(tx *Tx) error {
			e := tx.Endpoint
			if e == nil || !e.stale(keys) {
				return nil
			}
			for _, sealed := range []*[]byte{&e.Sealed, &e.NextSealed} {
				if *sealed == nil {
					continue
				}
				plain, err := keys.Open(*sealed, e.associated())
				if err != nil {
					return fmt.Errorf("open the secret of %s: %w", e.ID, err)
				}
				if *sealed, err = keys.Seal(plain, e.associated()); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return errors.Join(errs...)
}

func (e *Endpoint) stale(keys *secret.Keyset) bool {
	return keys.Stale(e.Sealed) || e.NextSealed != nil && keys.Stale(e.NextSealed)
}
