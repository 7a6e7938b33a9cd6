package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/server"
)

// A requiredReasonFlag is on commands that end or replace the use of a factor.
type requiredReasonFlag struct {
	Reason string `required:"" placeholder:"TEXT" help:"Why, in at most 200 characters. The event keeps it, so do not write personal data."`
}

// A factorAct is a command that changes a factor.
type factorAct struct {
	operatorFlags
	requiredReasonFlag
	JSON bool   `name:"json" help:"Print JSON."`
	ID   string `arg:"" help:"The id of the factor, auth_factor_…."`
}

// do carries out act on the factor and prints its outcome. An error already means that
// the factor was in the wanted state before, which is not a failure.
func (c *factorAct) do(ctx context.Context, con console, cfg config.Config, done string, already error, act func(*operator.Service, operator.By, mfa.FactorID) error) error {
	id, err := mfa.ParseFactorID(c.ID)
	if err != nil {
		return fmt.Errorf("%q is not the id of a factor", c.ID)
	}
	return server.WithOperator(ctx, cfg, func(s *operator.Service) error {
		err := act(s, c.by(c.Reason), id)
		unchanged := already != nil && errors.Is(err, already)
		switch {
		case err != nil && !unchanged:
			return fmt.Errorf("%s: %w", id, err)
		case c.JSON:
			return con.printJSON(map[string]any{"factor_id": id.String(), "action": done, "changed": !unchanged})
		case unchanged:
			con.printf("%s: nothing to do: %v\n", id, already)
		default:
			con.printf("%s %s\n", done, id)
		}
		return nil
	})
}

// printJSON prints v as indented JSON.
func (c console) printJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		c.printf("%s\n", b)
	}
	return err
}

type suspendFactor struct{ factorAct }

func (suspendFactor) Help() string {
	return `Use it when a phone is lost or stolen. No challenge of the factor is created or verified, also none that is open now. The API
answers 403 authentication_factor_suspended. 'factor resume' ends it.

Example:

  countersign factor suspend auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M --reason=ticket-4711 --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *suspendFactor) Run(ctx context.Context, con console) error {
	return c.do(ctx, con, c.config(), "suspended", mfa.ErrSuspended, func(s *operator.Service, by operator.By, id mfa.FactorID) error {
		return s.SuspendFactor(ctx, by, id)
	})
}

type resumeFactor struct{ factorAct }

func (resumeFactor) Help() string {
	return `Wrong codes and locks are as they were before the suspension.

Example:

  countersign factor resume auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M --reason=ticket-4711 --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *resumeFactor) Run(ctx context.Context, con console) error {
	return c.do(ctx, con, c.config(), "resumed", mfa.ErrNotSuspended, func(s *operator.Service, by operator.By, id mfa.FactorID) error {
		return s.ResumeFactor(ctx, by, id)
	})
}

type deleteFactor struct {
	factorAct
	keysetFlag
}

func (deleteFactor) Help() string {
	return `The factor and every copy of its secret are deleted, and cannot be restored. If it is the last factor of a user, everything in
events that identifies the user is erased an hour later.

Example:

  countersign factor delete auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M --reason=ticket-4711 --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *deleteFactor) Run(ctx context.Context, con console) error {
	cfg := c.config()
	cfg.Keyset = c.Keyset
	return c.do(ctx, con, cfg, "deleted", nil, func(s *operator.Service, by operator.By, id mfa.FactorID) error {
		return s.DeleteFactor(ctx, by, id)
	})
}
