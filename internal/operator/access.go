package operator

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// CreateEnvironment makes a new environment. Errors: access.ErrInvalidName,
// access.ErrExists, ErrDevelopment.
func (s *Service) CreateEnvironment(ctx context.Context, by By, name string, production bool) (mfa.Environment, error) {
	if err := by.Check(); err != nil {
		return mfa.Environment{}, err
	}
	if production && s.opts.Development {
		return mfa.Environment{}, ErrDevelopment
	}
	return s.access.CreateEnvironment(ctx, by.in(mfa.Environment{}), name, production)
}

// Environments lists all environments, oldest first.
func (s *Service) Environments(ctx context.Context) ([]mfa.Environment, error) {
	return s.access.Environments(ctx)
}

// Environment returns the environment of that name, or access.ErrNotFound.
func (s *Service) Environment(ctx context.Context, name string) (mfa.Environment, error) {
	return s.access.Environment(ctx, name)
}

// CreateKey makes an API key of env. The key itself is returned this once.
func (s *Service) CreateKey(ctx context.Context, by By, env mfa.Environment) (secret.String, access.Key, error) {
	if err := by.Check(); err != nil {
		return secret.String{}, access.Key{}, err
	}
	return s.access.CreateKey(ctx, by.in(env))
}

// Keys lists all API keys, oldest first, revoked ones as well.
func (s *Service) Keys(ctx context.Context) ([]access.Key, error) { return s.access.Keys(ctx) }

// RevokeKey revokes an API key. Every node refuses it within 5 s. Error: access.ErrNotFound.
func (s *Service) RevokeKey(ctx context.Context, by By, id access.KeyID) error {
	if err := by.Check(); err != nil {
		return err
	}
	return s.access.Revoke(ctx, by.in(mfa.Environment{}), id)
}
