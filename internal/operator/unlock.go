package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// UnlockFactor lifts the lock of a factor of any environment: its wrong codes do not count
// any more. It returns mfa.ErrNotFound for an unknown factor, and mfa.ErrNotLocked, without
// an event, for a factor without wrong codes.
func (s *Service) UnlockFactor(ctx context.Context, by By, id mfa.FactorID) error {
	if err := by.Check(); err != nil {
		return err
	}
	return s.change(ctx, by, id, mfa.FactorUnlocked, func(f *mfa.Factor) error {
		if !f.Unlock() {
			return mfa.ErrNotLocked
		}
		return nil
	})
}

// ErrKeyset means that a user has no factors, and that a lock from the time of the user's
// factors could not be looked for.
var ErrKeyset = errors.New("the wrong codes of a user whose factors were deleted can be found only with the keyset")

// UnlockUser lifts the lock that a user has over all factors. The locks of the factors stay.
// It returns mfa.ErrNotFound for a user without factors and wrong codes, and
// mfa.ErrNotLocked, without an event, for a user with factors and without wrong codes.
// Only the keyset finds the wrong codes of a user whose factors were all deleted: for a user
// without factors, UnlockUser returns ErrKeyset if it cannot be opened.
func (s *Service) UnlockUser(ctx context.Context, by By, env mfa.Environment, user string) error {
	if err := by.Check(); err != nil {
		return err
	}
	key := mfa.UserKey{Environment: env.ID, ID: user}
	factors, err := s.store.Factors(ctx, mfa.FactorQuery{User: key, Limit: 1})
	if err != nil {
		return err
	}
	if len(factors) > 0 {
		// Readers of the event find the user through the factor.
		return s.unlockUser(ctx, key, key, func() []mfa.Write {
			e := mfa.Event{Type: mfa.UserUnlocked, Factor: factors[0].ID, Kind: factors[0].Type}
			return []mfa.Write{s.event(by, env.ID, key.Bucket(), e)}
		})
	}
	keys, err := s.opts.Keys(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeyset, err)
	}
	named, err := mfa.SealUser(keys, key)
	if err != nil {
		return err
	}
	err = s.unlockUser(ctx, key, mfa.FormerUser(keys, key), func() []mfa.Write {
		e := s.event(by, env.ID, key.Bucket(), mfa.Event{Type: mfa.UserUnlocked})
		e.Context = named
		return []mfa.Write{e, mfa.EraseLater(key, named.Person, s.now())}
	})
	if errors.Is(err, mfa.ErrNotLocked) {
		return &mfa.NotFoundError{Entity: mfa.EntityUser, ID: user}
	}
	return err
}

// unlockUser removes the row of a user with the given name, which counts wrong codes, and
// makes further writes.
func (s *Service) unlockUser(ctx context.Context, user, name mfa.UserKey, further func() []mfa.Write) error {
	return s.store.Update(ctx, mfa.Read{Bucket: user.Bucket(), User: name}, func(tx *mfa.Tx) error {
		if tx.User == nil {
			return mfa.ErrNotLocked
		}
		tx.Writes = append(append(tx.Writes, mfa.DeleteUser{Key: name}), further()...)
		return nil
	})
}

// event returns the write that appends e as an event of this moment. An event without a
// reason gets that of the operator.
func (s *Service) event(by By, env mfa.EnvironmentID, b mfa.Bucket, e mfa.Event) mfa.AppendEvent {
	return by.in(mfa.Environment{ID: env}).Append(e, s.now(), b)
}
