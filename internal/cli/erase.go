package cli

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/server"
)

type eraseUser struct {
	operatorFlags
	keysetFlag
	reasonFlag
	Env string `required:"" placeholder:"NAME" help:"The user's environment."`
	ID  string `arg:"" help:"The user's id, as it was given at enrollment."`
}

func (eraseUser) Help() string {
	return `The events of the user stay, without the user's id, addresses and user agents. Without this command, they lose them an
hour after the user's last factor was deleted. Backups and copies of events in other systems keep them.

Example:

  countersign user erase user_42 --env production --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *eraseUser) Run(ctx context.Context, con console) error {
	cfg := c.config()
	cfg.Keyset = c.Keyset
	return server.WithOperator(ctx, cfg, func(s *operator.Service) error {
		env, err := c.environment(ctx, s, c.Env)
		if err != nil {
			return err
		}
		if err := s.EraseUser(ctx, c.by(c.Reason), env, c.ID); err != nil {
			return err
		}
		con.printf("erased user %s of environment %s: there are no factors and no personal data in events\n", c.ID, env.Name)
		return nil
	})
}
