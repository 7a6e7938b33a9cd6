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

// ChangeSettings changes settings of env and returns it with all of them. changes has texts by the
// names of settings; "" sets one back to its default. Every node uses the new settings
// within 5 s. Errors: access.ErrNotFound, and *mfa.InvalidError with the name of each wrong
// setting.
func (s *Service) ChangeSettings(ctx context.Context, by By, env mfa.Environment, changes map[string]string) (mfa.Environment, error) {
	if err := by.Check(); err != nil {
		return mfa.Environment{}, err
	}
	return s.access.ChangeSettings(ctx, by.in(env), changes)
}

// CreateKey makes a key of env. With a zero env, an operator key opens all environments. The
// key itself is returned this once. The error for unusable params is a *mfa.InvalidError.
func (s *Service) CreateKey(ctx context.Context, by By, env mfa.Environment, p access.KeyParams) (secret.String, access.Key, error) {
	if err := by.Check(); err != nil {
		return secret.String{}, access.Key{}, err
	}
	return s.access.CreateKey(ctx, by.in(env), p)
}

// Key returns the key with that id, or access.ErrNotFound.
func (s *Service) Key(ctx context.Context, id access.KeyID) (access.Key, error) {
	return s.access.Key(ctx, id)
}

// Keys lists all keys, oldest first, revoked and expired ones as well.
func (s *Service) Keys(ctx context.Context) ([]access.Key, error) { return s.access.Keys(ctx) }

// RenameKey gives a key another name. Errors: access.ErrNotFound, a *mfa.InvalidError.
func (s *Service) RenameKey(ctx context.Context, by By, id access.KeyID, name string) error {
	if err := by.Check(); err != nil {
		return err
	}
	return s.access.Rename(ctx, by.in(mfa.Environment{}), id, name)
}

// RevokeKey revokes an API key. Every node refuses it within 5 s. Error: access.ErrNotFound.
func (s *Service) RevokeKey(ctx context.Context, by By, id access.KeyID) error {
	if err := by.Check(); err != nil {
		return err
	}
	return s.access.Revoke(ctx, by.in(mfa.Environment{}), id)
}
