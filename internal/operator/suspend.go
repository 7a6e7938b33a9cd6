package operator

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// SuspendFactor makes a factor of any environment unusable until ResumeFactor: no challenge of
// it is created or verified, also none that was created before. by must have a reason. It
// returns mfa.ErrNotFound for an unknown factor, and mfa.ErrSuspended, without an event, for
// a factor that is suspended.
func (s *Service) SuspendFactor(ctx context.Context, by By, id mfa.FactorID) error {
	if err := by.checkReason(); err != nil {
		return err
	}
	return s.change(ctx, by, id, mfa.FactorSuspended, func(f *mfa.Factor) error {
		if !f.Suspend(s.now()) {
			return mfa.ErrSuspended
		}
		return nil
	})
}

// ResumeFactor ends the suspension of a factor of any environment. Its wrong codes still
// count. by must have a reason. It returns mfa.ErrNotFound for an unknown factor, and
// mfa.ErrNotSuspended, without an event, for a factor that is not suspended.
func (s *Service) ResumeFactor(ctx context.Context, by By, id mfa.FactorID) error {
	if err := by.checkReason(); err != nil {
		return err
	}
	return s.change(ctx, by, id, mfa.FactorResumed, func(f *mfa.Factor) error {
		if !f.Resume(s.now()) {
			return mfa.ErrNotSuspended
		}
		return nil
	})
}

// change makes one change of the state of a factor, with its event. An error of fn changes
// nothing.
func (s *Service) change(ctx context.Context, by By, id mfa.FactorID, t mfa.EventType, fn func(*mfa.Factor) error) error {
	return s.store.Update(ctx, mfa.Read{Bucket: id.Bucket(), Factor: id}, func(tx *mfa.Tx) error {
		f := tx.Factor
		if f == nil || !by.sees(f.Environment) {
			return &mfa.NotFoundError{Entity: mfa.EntityFactor, ID: id.String()}
		}
		if err := fn(f); err != nil {
			return err
		}
		event := mfa.Event{Type: t, Factor: id, Kind: f.Type}
		tx.Writes = append(tx.Writes, f.Update(), s.event(by, f.Environment, id.Bucket(), event))
		return nil
	})
}
