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
	expireEvery = time.Minute
	resealEvery = 10 * time.Minute
	batch       = 500 // rows of each kind in one transaction
)

// Maintain removes expired rows and factors, and seals values that are sealed under an old key or not
// sealed, until ctx ends. It uses small transactions, between which others can run.
func (s *Service) Maintain(ctx context.Context) {
	sweep, expire, reseal := time.NewTicker(sweepEvery), time.NewTicker(expireEvery), time.NewTicker(resealEvery)
	defer sweep.Stop()
	defer expire.Stop()
	defer reseal.Stop()
	for {
		var what string
		var err error
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			what, err = "sweep", s.Sweep(ctx)
		case <-expire.C:
			what, err = "expire", s.ExpireFactors(ctx)
		case <-reseal.C:
			what, err = "reseal", s.Reseal(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.opts.Logger.Error("maintenance", "of", what, "error", err)
			s.opts.Failed(what)
		}
	}
}

// Sweep removes all rows whose retention has ended.
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

// Reseal seals every factor, the personal data of events and every name of a counter under the newest key of the keyset,
// also the values that an older release did not seal. It hashes the phone numbers that an
// older release did not hash. While the keyset has only one key
// and no such value is stored, it reads nothing.
func (s *Service) Reseal(ctx context.Context) error {
	keys, old := s.keys.Load(), s.unsealed.Load()
	if !keys.Rotating() && !old {
		return nil
	}
	var errs []error
	found, err := s.SealCounters(ctx)
	if err != nil {
		errs = append(errs, err)
	}
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
			found = found || !factors[i].Old.isEmpty() || factors[i].lacksPhoneHash()
			if !factors[i].stale(keys) {
				continue
			}
			// A factor that does not open must not delay the others.
			if err := s.resealFactor(ctx, keys, after); err != nil {
				errs = append(errs, err)
			}
		}
	}
	errs = append(errs, s.resealPersons(ctx, keys))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if old && !found {
		if s.opts.AllSealed != nil {
			if err := s.opts.AllSealed(ctx); err != nil {
				return err
			}
		}
		s.unsealed.Store(false)
	}
	if s.opts.Resealed == nil {
		return nil
	}
	return s.opts.Resealed(ctx, keys)
}

// stale reports whether some value of the factor is not sealed under the newest key, or not
// hashed.
func (f *Factor) stale(keys *secret.Keyset) bool {
	return f.Sealed != nil && keys.Stale(f.Sealed) || f.Label != nil && keys.Stale(f.Label) || !f.Old.isEmpty() || f.lacksPhoneHash()
}

func (s *Service) resealFactor(ctx context.Context, keys *secret.Keyset, id FactorID) error {
	return s.store.Update(ctx, Read{Bucket: id.Bucket(), Factor: id}, func(tx *Tx) error {
		f := tx.Factor
		if f == nil || !f.stale(keys) {
			return nil
		}
		if f.Sealed != nil {
			plain, err := keys.Open(f.Sealed, f.associated())
			if err != nil {
				return fmt.Errorf("open %s: %w", id, err)
			}
			if f.Sealed, err = keys.Seal(plain, f.associated()); err != nil {
				return fmt.Errorf("seal %s: %w", id, err)
			}
		}
		if err := f.resealLabel(keys); err != nil {
			return err
		}
		if m, ok := f.messenger(); ok {
			phone, err := m.recipient(keys, f)
			if err != nil {
				return err
			}
			f.PhoneHash = HashPhone(keys, f.Environment, phone)
		}
		f.Old = Unsealed{}
		tx.put(f.Seal())
		return nil
	})
}
