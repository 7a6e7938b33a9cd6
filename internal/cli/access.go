package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/server"
)

type environmentCommand struct {
	Create createEnvironment `cmd:"" help:"Create an environment."`
	List   listEnvironments  `cmd:"" help:"List all environments."`
}

type createEnvironment struct {
	operatorFlags
	Name       string `arg:"" help:"Its name, such as 'production' or 'Acme staging'."`
	Production bool   `help:"For real users: its keys are sk_live_…. Without it, a sandbox with keys sk_test_…."`
}

func (createEnvironment) Help() string {
	return `Nothing of one environment is visible in another.

Example:

  countersign environment create production --production --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *createEnvironment) Run(ctx context.Context, con console) error {
	if err := access.CheckName(c.Name); err != nil {
		return err // before a store is made
	}
	return server.WithNewOperator(ctx, c.config(), func(s *operator.Service) error {
		e, err := s.CreateEnvironment(ctx, c.by(""), c.Name, c.Production)
		if errors.Is(err, operator.ErrDevelopment) {
			return fmt.Errorf("%s: %w; give --store another store", c.name(), err)
		}
		if err == nil {
			con.printf("created %s environment %q; next: countersign key create --env %q --store %s\n", kind(e), e.Name, e.Name, c.name())
		}
		return err
	})
}

func kind(e mfa.Environment) string {
	if e.Production {
		return "production"
	}
	return "sandbox"
}

type listEnvironments struct{ storeFlag }

func (c *listEnvironments) Run(ctx context.Context, con console) error {
	return server.WithOperator(ctx, c.config(), func(s *operator.Service) error {
		all, err := s.Environments(ctx)
		w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tKIND")
		for _, e := range all {
			fmt.Fprintf(w, "%s\t%s\n", e.Name, kind(e))
		}
		return errors.Join(err, w.Flush())
	})
}

type keyCommand struct {
	Create createKey `cmd:"" help:"Create an API key and print it. It is not shown again."`
	List   listKeys  `cmd:"" help:"List all API keys by their ids."`
	Revoke revokeKey `cmd:"" help:"Revoke an API key; every node refuses it within 5 seconds."`
}

type createKey struct {
	operatorFlags
	Env string `required:"" placeholder:"NAME" help:"The environment of the key. If it does not exist, it is created as a sandbox, unless its name begins with prod or live."`
}

// soundsReal reports whether the name of an environment suggests production.
func soundsReal(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "prod") || strings.HasPrefix(name, "live")
}

func (createKey) Help() string {
	return `Standard output has only the key. The store has only its hash.

Example:

  COUNTERSIGN_KEY=$(countersign key create --env production)`
}

func (c *createKey) Run(ctx context.Context, con console) error {
	if err := access.CheckName(c.Env); err != nil {
		return err // before a store is made
	}
	with := server.WithNewOperator
	if soundsReal(c.Env) {
		with = server.WithOperator // a new store has no such environment
	}
	return with(ctx, c.config(), func(s *operator.Service) error {
		env, err := s.Environment(ctx, c.Env)
		if errors.Is(err, access.ErrNotFound) && soundsReal(c.Env) {
			return fmt.Errorf("there is no environment %q; 'countersign environment create %q --production --store %s' makes one", c.Env, c.Env, c.name())
		}
		if errors.Is(err, access.ErrNotFound) {
			if env, err = s.CreateEnvironment(ctx, c.by(""), c.Env, false); err == nil {
				con.notef("created sandbox environment %q (for production: countersign environment create NAME --production)\n", c.Env)
			}
		}
		if err != nil {
			return err
		}
		text, k, err := s.CreateKey(ctx, c.by(""), env)
		if err != nil {
			return err
		}
		con.printf("%s\n", text.Reveal())
		if isTerminal(con.out) {
			con.notef("Keep it now, it cannot be shown again. To revoke it: countersign key revoke %s --store %s\n", k.ID, c.name())
		}
		return nil
	})
}

type listKeys struct{ storeFlag }

func (c *listKeys) Run(ctx context.Context, con console) error {
	return server.WithOperator(ctx, c.config(), func(s *operator.Service) error {
		all, err := s.Keys(ctx)
		w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tENVIRONMENT\tKIND\tENDS IN\tCREATED\tREVOKED")
		for _, k := range all {
			revoked := "-"
			if !k.RevokedAt.IsZero() {
				revoked = k.RevokedAt.Format("2006-01-02 15:04:05Z")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t…%s\t%s\t%s\n", k.ID, k.Environment.Name, kind(k.Environment), k.Hint,
				k.CreatedAt.Format("2006-01-02 15:04:05Z"), revoked)
		}
		return errors.Join(err, w.Flush())
	})
}

type revokeKey struct {
	operatorFlags
	ID string `arg:"" help:"The id of the key, key_…, as 'countersign key list' shows it."`
}

func (revokeKey) Help() string {
	return `Example:

  countersign key revoke key_db821386bb69d752 --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *revokeKey) Run(ctx context.Context, con console) error {
	return c.operator(ctx, func(s *operator.Service) error {
		err := s.RevokeKey(ctx, c.by(""), access.KeyID(c.ID))
		if errors.Is(err, access.ErrNotFound) {
			return fmt.Errorf("there is no key %s; 'countersign key list --store %s' shows all", c.ID, c.name())
		}
		if err == nil {
			con.printf("revoked %s\n", c.ID)
		}
		return err
	})
}
