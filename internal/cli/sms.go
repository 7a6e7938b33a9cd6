package cli

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/server"
)

type smsCommand struct {
	Check   checkSMS      `cmd:"" help:"Check a file of providers, and show the cost of its texts."`
	Sent    sentSMS       `cmd:"" help:"Show how many messages were sent to each country and prefix, and how many challenges were verified."`
	Release releasePrefix `cmd:"" help:"End the pause of a prefix."`
}

type checkSMS struct {
	File string `arg:"" type:"path" help:"The file, as for serve --sms."`
}

func (checkSMS) Help() string {
	return `Sends nothing and calls no provider. Reads the secrets that the file names, as the server does: run it under the
account of the server. A text of one segment costs one message.

Example:

  countersign sms check /etc/countersign/sms.yaml`
}

func (c *checkSMS) Run(con console) error {
	texts, err := server.CheckSMS(c.File)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ENVIRONMENT\tLOCALE\tSEGMENTS\tENCODING\tTEXT")
	for _, t := range texts {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", t.Environment, t.Locale, t.Segments, t.Encoding, strings.ReplaceAll(t.Text, "\n", "⏎"))
	}
	return w.Flush()
}

type sentSMS struct {
	storeFlag
	keysetFlag
	Env string `required:"" placeholder:"NAME" help:"The environment."`
	SMS string `name:"sms" type:"path" placeholder:"FILE" help:"The file of providers, as for serve --sms. Its pumping.window is the period of the counts by prefix. Default one hour."`
}

func (sentSMS) Help() string {
	return `Shows the messages of the last 24 hours, in total and by country, and the challenges by prefix in the last
pumping.window. A prefix is the first six digits of a number. The column VERIFIED counts challenges. Messages of sandboxes
are not counted. Prefixes are sealed in the store, so this command needs the keyset.

Example:

  countersign sms sent --env production --sms /etc/countersign/sms.yaml --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *sentSMS) Run(ctx context.Context, con console) error {
	all, of, err := server.SMSRules(c.SMS)
	if err != nil {
		return err
	}
	return c.withKeys(ctx, c.Keyset, mfa.Options{SMS: all, SMSOf: of}, func(s *mfa.Service, store server.Store) error {
		env, err := c.environment(ctx, store, c.Env)
		if err != nil {
			return err
		}
		tallies, err := s.Tallies(ctx, env)
		if err != nil {
			return err
		}
		slices.SortFunc(tallies, func(a, b mfa.Tally) int { return strings.Compare(a.Of, b.Of) })
		w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "TO\tLAST\tSENT\tVERIFIED\tPAUSED UNTIL\tIN EVENTS")
		for _, t := range tallies {
			sent, verified := t.Sum()
			span, reference := 24*time.Hour, t.Of
			if strings.HasPrefix(t.Of, "+") {
				span, reference = s.PumpingWindow(env), t.Reference()
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", t.Of, formatSpan(span), sent, verified, formatUntil(t.PausedUntil), reference)
		}
		return w.Flush()
	})
}

// formatSpan writes a span in the largest unit that divides it: 24h, 90m.
func formatSpan(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

func formatUntil(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339)
}

type releasePrefix struct {
	storeFlag
	keysetFlag
	Env    string `required:"" placeholder:"NAME" help:"The environment."`
	Prefix string `arg:"" help:"The prefix, as 'countersign sms sent' shows it: +491512."`
}

func (releasePrefix) Help() string {
	return `Before you end the pause, find out which program requested the messages. The counts of the prefix start again
at zero.

Example:

  countersign sms release +491512 --env production --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *releasePrefix) Run(ctx context.Context, con console) error {
	return c.withKeys(ctx, c.Keyset, mfa.Options{}, func(s *mfa.Service, store server.Store) error {
		env, err := c.environment(ctx, store, c.Env)
		if err != nil {
			return err
		}
		released, err := s.ReleasePrefix(ctx, env, c.Prefix)
		switch {
		case err != nil:
			return err
		case released:
			con.printf("released %s\n", c.Prefix)
		default:
			con.printf("%s is not paused\n", c.Prefix)
		}
		return nil
	})
}

// A keysetFlag names the keyset of a command that opens sealed values.
type keysetFlag struct {
	Keyset string `placeholder:"SOURCE" help:"The keys of the store, as for serve: file:PATH, env:NAME or exec:COMMAND. Default the file next to the SQLite store."`
}

// withKeys hands fn a Service that can open sealed values.
func (f storeFlag) withKeys(ctx context.Context, keyset string, opts mfa.Options, fn func(*mfa.Service, server.Store) error) error {
	return f.existing(ctx, func(store server.Store) error {
		keys, err := server.OpenKeyset(ctx, store, f.Store, keyset)
		if err != nil {
			return err
		}
		opts.Logger = slog.New(slog.DiscardHandler)
		s, err := mfa.NewService(store, keys, nil, opts)
		if err != nil {
			return err
		}
		return fn(s, store)
	})
}

// environment finds an environment by its name.
func (f storeFlag) environment(ctx context.Context, store server.Store, name string) (mfa.Environment, error) {
	env, err := access.NewService(store, nil).Environment(ctx, name)
	if err != nil {
		return env, fmt.Errorf("%w; 'countersign environment list --store %s' shows all", err, f.name())
	}
	return env, nil
}
