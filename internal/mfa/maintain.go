package mfa

import (
	"context"
	"time"
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
	if !s.keys.Load().Rotating() {
		return nil
	}
	var after FactorID
	for {
		factors, err := s.store.FactorsAfter(ctx, after, batch)
		if err != nil || len(factors) == 0 {
			return err
		}
		for i := range factors {
			after = factors[i].ID
			if factors[i].Sealed == nil || !s.keys.Load().Stale(factors[i].Sealed) {
				continue
			}
			if err := s.resealFactor(ctx, after); err != nil {
				return err
			}
		}
	}
}

func (s *Service) resealFactor(ctx context.Context, id FactorID) error {
	return s.store.Update(ctx, Read{Bucket: id.Bucket(), Factor: id}, func(tx *Tx) error {
		f := tx.Factor
		if f == nil || !s.keys.Load().Stale(f.Sealed) {
			return nil
		}
		plain, err := s.open(f)
		if err != nil {
			return err
		}
		if err := s.seal(f, plain); err != nil {
			return err
		}
		tx.put(UpdateFactor{f})
		return nil
	})
}
