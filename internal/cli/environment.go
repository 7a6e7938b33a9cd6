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
	"github.com/countersign-mfa/countersign/internal/operatorwire"
	"github.com/countersign-mfa/countersign/internal/server"
)

type showSettings struct {
	storeFlag
	Name string `arg:"" help:"The name of the environment."`
	JSON bool   `name:"json" help:"Print the environment as JSON, as the operator API does."`
}

func (c *showSettings) Run(ctx context.Context, con console) error {
	return server.WithOperator(ctx, c.config(), func(s *operator.Service) error {
		e, err := environmentNamed(ctx, s, c.Name, c.name())
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(con, operatorwire.NewEnvironment(e))
		}
		return printSettings(con, e)
	})
}

// environmentNamed returns an environment of a store.
func environmentNamed(ctx context.Context, s *operator.Service, name, store string) (mfa.Environment, error) {
	e, err := s.Environment(ctx, name)
	if errors.Is(err, access.ErrNotFound) {
		err = fmt.Errorf("there is no environment %q; 'countersign environment list --store %s' shows all", name, store)
	}
	return e, err
}

func printSettings(con console, e mfa.Environment) error {
	w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVALUE\tDEFAULT\tMEANING")
	for _, s := range mfa.AllSettings() {
		text, _ := e.Settings.Text(s)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, orDash(text), orDash(s.Default), s.Help)
	}
	return w.Flush()
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

type changeSettings struct {
	operatorFlags
	Name    string   `arg:"" help:"The name of the environment."`
	Changes []string `arg:"" placeholder:"SETTING=VALUE" help:"The changes: SETTING=VALUE, or SETTING= for the default."`
}

func (changeSettings) Help() string {
	return `'countersign environment settings NAME' lists all settings, with their meaning. Servers use a change within 5 seconds.

Examples:

  countersign environment set production max_factors_per_user=5 delete_requires_challenge=15m
  countersign environment set production delete_requires_challenge=`
}

// changes reads the arguments.
func (c *changeSettings) changes() (map[string]string, error) {
	changes := map[string]string{}
	for _, arg := range c.Changes {
		name, text, ok := strings.Cut(arg, "=")
		name = strings.TrimSpace(name)
		if !ok {
			return nil, fmt.Errorf("%q is not SETTING=VALUE; write %s= to set %s back to its default", arg, arg, arg)
		}
		if _, again := changes[name]; again {
			return nil, fmt.Errorf("%s is given twice", name)
		}
		changes[name] = strings.TrimSpace(text)
	}
	return changes, nil
}

func (c *changeSettings) Run(ctx context.Context, con console) error {
	changes, err := c.changes()
	if err != nil {
		return err
	}
	return server.WithOperator(ctx, c.config(), func(s *operator.Service) error {
		e, err := environmentNamed(ctx, s, c.Name, c.name())
		if err != nil {
			return err
		}
		e, err = s.ChangeSettings(ctx, c.by(""), e, changes)
		if wrong, ok := errors.AsType[*mfa.InvalidError](err); ok {
			var all []error
			for _, f := range wrong.Fields {
				all = append(all, errors.New(f.Message))
			}
			return errors.Join(all...)
		}
		if err != nil {
			return err
		}
		return printSettings(con, e)
	})
}
