package mfa

import (
	"context"
	"errors"
	"time"
)

// An impermanent is a kind whose factors are removed if they stay unverified, also in an
// environment that does not ask for it.
type impermanent interface {
	// unverifiedLife is the time after which a factor is removed.
	unverifiedLife() time.Duration
}

// unverifiedLife returns how long a new factor of a kind may stay unverified; 0 means forever.
func unverifiedLife(env Environment, k kind) time.Duration {
	life := env.Settings.Values().UnverifiedExpiry
	if k, ok := k.(impermanent); ok && (life == 0 || k.unverifiedLife() < life) {
		life = k.unverifiedLife()
	}
	return life
}

// ExpireFactors deletes the factors that were not verified in time, each in its own transaction
// and with an event. Several nodes may do so at the same time.
func (s *Service) ExpireFactors(ctx context.Context) error {
	now := s.now()
	for {
		found, err := s.store.ExpiredFactors(ctx, now, batch)
		if err != nil {
			return err
		}
		var errs []error
		for i := range found {
			// A factor that cannot be deleted must not delay the others.
			if err := s.expireFactor(ctx, &found[i], now); err != nil {
				errs = append(errs, err)
			}
		}
		if err := errors.Join(errs...); err != nil || len(found) < batch {
			return err
		}
	}
}

// errVerified is the error of a factor that was verified after it was listed.
var errVerified = errors.New("the factor was verified")

func (s *Service) expireFactor(ctx context.Context, f *Factor, now time.Time) error {
	by := Caller{Environment: Environment{ID: f.Environment}, Reason: reasonUnverified}
	err := s.deleteFactor(ctx, by, Read{Factor: f.ID}, func(tx *Tx, _ time.Time) error {
		if at := tx.Factor.ExpiresAt; at.IsZero() || now.Before(at) {
			return errVerified
		}
		return nil
	})
	if errors.Is(err, errVerified) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
