package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/server"
)

type factorCommand struct {
	Show    showFactor    `cmd:"" help:"Show a factor, why it is locked, and what happened to it."`
	List    listFactors   `cmd:"" help:"List the factors of an environment or of a user."`
	Unlock  unlockFactor  `cmd:"" help:"Unlock a factor, so its codes can be tried again."`
	Suspend suspendFactor `cmd:"" help:"Suspend a factor, so it cannot be used until it is resumed."`
	Resume  resumeFactor  `cmd:"" help:"End the suspension of a factor."`
	Delete  deleteFactor  `cmd:"" help:"Delete a factor and its secret."`
}

type unlockFactor struct {
	operatorFlags
	reasonFlag
	ID string `arg:"" help:"The id of the factor, auth_factor_…."`
}

func (unlockFactor) Help() string {
	return `Before you lift a lock, find out who guessed codes.

Example:

  countersign factor unlock auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M --reason=ticket-4711 --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *unlockFactor) Run(ctx context.Context, con console) error {
	id, err := mfa.ParseFactorID(c.ID)
	if err != nil {
		return fmt.Errorf("%q is not the id of a factor", c.ID)
	}
	return c.operator(ctx, func(s *operator.Service) error {
		err := s.UnlockFactor(ctx, c.by(c.Reason), id)
		switch {
		case errors.Is(err, mfa.ErrNotLocked):
			con.printf("%s is %v\n", id, mfa.ErrNotLocked)
		case err != nil:
			return fmt.Errorf("%s: %w", id, err)
		default:
			con.printf("unlocked %s\n", id)
		}
		return nil
	})
}

type userCommand struct {
	Show   showUser   `cmd:"" help:"Show a user: factors, locks, the newest challenges and events."`
	Unlock unlockUser `cmd:"" help:"Unlock a user, so codes of the user's factors can be tried again."`
	Erase  eraseUser  `cmd:"" help:"Delete all factors of a user, and all personal data of the user in events."`
}

type unlockUser struct {
	operatorFlags
	keysetFlag
	reasonFlag
	Env string `required:"" placeholder:"NAME" help:"The user's environment."`
	ID  string `arg:"" help:"The user's id, as it was given at enrollment."`
}

func (unlockUser) Help() string {
	return `Factors that are locked themselves stay locked. The keyset is read only for a user without factors: the store keeps the
wrong codes of such a user under a keyed hash.

Example:

  countersign user unlock user_42 --env production --reason=ticket-4711 --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *unlockUser) Run(ctx context.Context, con console) error {
	cfg := c.config()
	cfg.Keyset = c.Keyset
	return server.WithOperator(ctx, cfg, func(s *operator.Service) error {
		env, err := c.environment(ctx, s, c.Env)
		if err != nil {
			return err
		}
		const others = "factors that are locked themselves are unlocked by 'countersign factor unlock'"
		err = s.UnlockUser(ctx, c.by(c.Reason), env, c.ID)
		const unknown = "environment %q has no user %q: no factor was enrolled with that user_id"
		switch {
		case errors.Is(err, mfa.ErrNotFound):
			return fmt.Errorf(unknown, env.Name, c.ID)
		case errors.Is(err, operator.ErrKeyset):
			return fmt.Errorf(unknown+"; %w", env.Name, c.ID, err)
		case errors.Is(err, mfa.ErrNotLocked):
			con.printf("user %s is %v; %s\n", c.ID, mfa.ErrNotLocked, others)
		case err != nil:
			return err
		default:
			con.printf("unlocked user %s; %s\n", c.ID, others)
		}
		return nil
	})
}
