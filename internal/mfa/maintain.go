package mfa

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

const (
	sweepEvery  = 5 * time.Second
	resealEvery = 10 * time.Minute
	batch       = 500 // rows of each kind in one transaction
)

// Maintain removes what has outlived its retention and seals anew what is sealed
// under an old key, until ctx ends. It works in small transactions, between which
// others have their turn.
func (s *Service) Maintain(ctx context.Context) {
	sweep, reseal := time.NewTicker(sweepEvery), time.NewTicker(resealEvery)
	defer sweep.Stop()
	defer reseal.Stop()
	for {
		var what string
		var err error
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			what, err = "sweep", s.Sweep(ctx)
		case <-reseal.C:
			what, err = "reseal", s.Reseal(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.opts.Logger.Error("maintenance", "of", what, "error", err)
		}
	}
}

// Sweep removes all that has outlived its retention.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.now()
	h := Horizon{
		Now:        now,
		Challenges: now.Add(-s.opts.ChallengeRetention),
		Events:     now.Add(-s.opts.EventRetention),
		Expired:    now,
	}
	for {
		if more, err := s.store.Sweep(ctx, h, batch); err != nil || !more {
			return err
		}
	}
}

// Reseal seals every factor under the newest key of the keyset. It has nothing to
// do, and reads nothing, while there is only one.
func (s *Service) Reseal(ctx context.Context) error {
	keys := s.keys.Load()
	if !keys.Rotating() {
		return nil
	}
	var errs []error
	var after FactorID
	for {
		factors, err := s.store.FactorsAfter(ctx, after, batch)
		if err != nil {
			return err
		}
		if len(factors) == 0 {
			break
		}
		for i := range factors {
			after = factors[i].ID
			if factors[i].Sealed == nil || !keys.Stale(factors[i].Sealed) {
				continue
			}
			// One that does not open must not hold up the others.
			if err := s.resealFactor(ctx, keys, after); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if s.opts.Resealed == nil || errs != nil {
		return errors.Join(errs...)
	}
	return s.opts.Resealed(ctx, keys)
}

func (s *Service) resealFactor(ctx context.Context, keys *secret.Keyset, id FactorID) error {
	return s.store.Update(ctx, Read{Bucket: id.Bucket(), Factor: id}, func(tx *Tx) error {
		f := tx.Factor
		if f == nil || !keys.Stale(f.Sealed) {
			return nil
		}
		plain, err := keys.Open(f.Sealed, f.associated())
		if err != nil {
			return fmt.Errorf("open %s: %w", id, err)
		}
		if f.Sealed, err = keys.Seal(plain, f.associated()); err != nil {
			return fmt.Errorf("seal %s: %w", id, err)
		}
		tx.put(UpdateFactor{f})
		return nil
	})
}
