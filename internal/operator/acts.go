package operator

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// The steps of a rotation of the keyset.
const (
	KeysAdded    = "add"     // the keyset has new keys, which do not seal yet
	KeysPromoted = "promote" // the new keys seal
	KeysRetired  = "retire"  // the old keys are gone
)

// KeysetRotated records a step of a rotation of the keyset of the store. The keyset is not
// in the store, so the event follows the step.
func (s *Service) KeysetRotated(ctx context.Context, by By, step string) error {
	return s.record(ctx, By{Operator: by.Operator, Reason: step}, mfa.KeysetRotated)
}

// StoreCopied records that a copy of the store begins. The copy has the event as well.
func (s *Service) StoreCopied(ctx context.Context, by By) error {
	return s.record(ctx, by, mfa.StoreCopied)
}

// record appends an event that belongs to no environment.
func (s *Service) record(ctx context.Context, by By, t mfa.EventType) error {
	if err := by.Check(); err != nil {
		return err
	}
	return s.store.Update(ctx, mfa.Read{}, func(tx *mfa.Tx) error {
		tx.Writes = append(tx.Writes, s.event(by, 0, 0, mfa.Event{Type: t}))
		return nil
	})
}
