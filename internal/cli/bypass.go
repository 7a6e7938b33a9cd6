package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/operatorwire"
	"github.com/countersign-mfa/countersign/internal/server"
)

type bypassCommand struct {
	Create createBypass `cmd:"" help:"Issue a one-time code to a user who cannot use any factor, and print it."`
	Show   showBypass   `cmd:"" help:"Show until when the bypass code of a user can be used, and who issued it."`
	Revoke revokeBypass `cmd:"" help:"End the bypass code of a user."`
}

// A bypassUser names whom a bypass code is for.
type bypassUser struct {
	operatorFlags
	Env  string `required:"" placeholder:"NAME" help:"The user's environment."`
	JSON bool   `name:"json" help:"Print JSON."`
	ID   string `arg:"" name:"user" help:"The user's id, as it was given at enrollment, or the id of a factor without a user, auth_factor_…."`
}

// find returns the environment and the person. A factor must be in the environment.
func (c *bypassUser) find(ctx context.Context, s *operator.Service) (p operator.BypassParams, err error) {
	if p.Environment, err = c.environment(ctx, s, c.Env); err != nil {
		return p, err
	}
	if id, err := mfa.ParseFactorID(c.ID); err == nil {
		p.Factor = id
		return p, nil
	}
	p.User = c.ID
	return p, nil
}

// explain completes an error of an action for a person.
func (c *bypassUser) explain(err error) error {
	switch {
	case errors.Is(err, mfa.ErrNotFound):
		return fmt.Errorf("environment %q has no user and no factor %q: no factor was enrolled with that user_id", c.Env, c.ID)
	case errors.Is(err, operator.ErrNoBypass):
		return fmt.Errorf("%s: %w", c.ID, err)
	}
	return err
}

// A bypassReply is a bypass code as JSON.
type bypassReply struct {
	Environment string `json:"environment"`
	User        string `json:"user"`
	operatorwire.Bypass
}

func (c *bypassUser) reply(code string, b operator.Bypass) bypassReply {
	return bypassReply{c.Env, c.ID, operatorwire.NewBypass(b, code)}
}

type createBypass struct {
	bypassUser
	keysetFlag
	requiredReasonFlag
	Expires time.Duration `default:"15m" placeholder:"DURATION" help:"How long the code can be used, 1m to 1h. Default ${default}."`
}

func (createBypass) Help() string {
	return `Make sure first that you speak with the user. The user enters the code of ten digits in place of the code of any factor that is not
suspended. It works once, also while the factor or the user is locked, and lifts no lock. A new code replaces the one before. After five wrong
codes it ends. Standard output has only the code.

Example:

  countersign bypass create user_42 --env production --reason=ticket-4711 --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *createBypass) Run(ctx context.Context, con console) error {
	cfg := c.config()
	cfg.Keyset = c.Keyset
	return server.WithOperator(ctx, cfg, func(s *operator.Service) error {
		p, err := c.find(ctx, s)
		if err != nil {
			return err
		}
		p.TTL = c.Expires
		code, b, err := s.CreateBypass(ctx, c.by(c.Reason), p)
		switch {
		case err != nil:
			return c.explain(err)
		case c.JSON:
			return con.printJSON(c.reply(code.Reveal(), b))
		}
		digits := code.Reveal()
		con.printf("%s %s\n", digits[:len(digits)/2], digits[len(digits)/2:])
		if isTerminal(con.out) {
			con.notef("It works once, until %s. It is not shown again.\n", b.ExpiresAt.Format("15:04:05Z"))
		}
		return nil
	})
}

type showBypass struct{ bypassUser }

func (showBypass) Help() string {
	return `The code itself is not stored.

Example:

  countersign bypass show user_42 --env production --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *showBypass) Run(ctx context.Context, con console) error {
	return c.operator(ctx, func(s *operator.Service) error {
		p, err := c.find(ctx, s)
		if err != nil {
			return err
		}
		b, err := s.BypassOf(ctx, p)
		switch {
		case err != nil:
			return c.explain(err)
		case c.JSON:
			return con.printJSON(c.reply("", b))
		}
		con.printf("issued by %s at %s: %s\n%d wrong codes; it can be used until %s\n", b.Operator, b.CreatedAt.Format("2006-01-02 15:04:05Z"), b.Reason,
			b.Guesses, b.ExpiresAt.Format("2006-01-02 15:04:05Z"))
		return nil
	})
}

type revokeBypass struct {
	bypassUser
	requiredReasonFlag
}

func (revokeBypass) Help() string {
	return `Example:

  countersign bypass revoke user_42 --env production --reason=ticket-4711 --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *revokeBypass) Run(ctx context.Context, con console) error {
	return c.operator(ctx, func(s *operator.Service) error {
		p, err := c.find(ctx, s)
		if err != nil {
			return err
		}
		if err := s.RevokeBypass(ctx, c.by(c.Reason), p); err != nil {
			return c.explain(err)
		}
		if c.JSON {
			return con.printJSON(map[string]any{"environment": c.Env, "user": c.ID, "action": "revoked"})
		}
		con.printf("revoked the bypass code of %s\n", c.ID)
		return nil
	})
}
