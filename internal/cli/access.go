package cli

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/operatorwire"
	"github.com/countersign-mfa/countersign/internal/server"
)

type environmentCommand struct {
	Create   createEnvironment `cmd:"" help:"Create an environment."`
	List     listEnvironments  `cmd:"" help:"List all environments."`
	Settings showSettings      `cmd:"" help:"Show the settings of an environment."`
	Set      changeSettings    `cmd:"" help:"Change settings of an environment."`
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

type listEnvironments struct {
	storeFlag
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *listEnvironments) Run(ctx context.Context, con console) error {
	return server.WithOperator(ctx, c.config(), func(s *operator.Service) error {
		all, err := s.Environments(ctx)
		if c.JSON && err == nil {
			list := []operatorwire.Environment{}
			for _, e := range all {
				list = append(list, operatorwire.NewEnvironment(e))
			}
			return printJSON(con, map[string]any{"object": "list", "data": list})
		}
		w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tKIND")
		for _, e := range all {
			fmt.Fprintf(w, "%s\t%s\n", e.Name, kind(e))
		}
		return errors.Join(err, w.Flush())
	})
}
