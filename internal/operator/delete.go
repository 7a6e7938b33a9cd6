package operator

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Remover deletes factors and personal data; every *mfa.Service is one.
type Remover interface {
	DeleteFactor(ctx context.Context, by mfa.Caller, id mfa.FactorID) error
	EraseUser(ctx context.Context, by mfa.Caller, user string) error
}

// DeleteFactor deletes a factor of any environment, and every copy of its secret. by must have
// a reason. It needs the keyset. It returns mfa.ErrNotFound for an unknown factor.
func (s *Service) DeleteFactor(ctx context.Context, by By, id mfa.FactorID) error {
	if err := by.checkReason(); err != nil {
		return err
	}
	rows, err := s.store.View(ctx, mfa.Read{Bucket: id.Bucket(), Factor: id})
	if err != nil {
		return err
	}
	if rows.Factor == nil || !by.sees(rows.Factor.Environment) {
		return &mfa.NotFoundError{Entity: mfa.EntityFactor, ID: id.String()}
	}
	remover, err := s.opts.Remover(ctx)
	if err != nil {
		return err
	}
	return remover.DeleteFactor(ctx, by.in(mfa.Environment{ID: rows.Factor.Environment}), id)
}

// EraseUser deletes all factors of a user, and then everything in events that identifies the
// user. The events stay. It is not an error if the user is unknown: the user's factors may
// have been deleted before. It needs the keyset.
func (s *Service) EraseUser(ctx context.Context, by By, env mfa.Environment, user string) error {
	if err := by.Check(); err != nil {
		return err
	}
	remover, err := s.opts.Remover(ctx)
	if err != nil {
		return err
	}
	return remover.EraseUser(ctx, by.in(env), user)
}
