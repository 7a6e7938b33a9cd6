package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/server"
)

type smsCommand struct {
	Check   checkSMS      `cmd:"" help:"Check a file of providers, and show the cost of its texts."`
	Sent    sentSMS       `cmd:"" help:"Show how many messages were sent to each country and prefix, and how many challenges were verified."`
	Release releasePrefix `cmd:"" help:"End the pause of a prefix."`
	Test    sendTestSMS   `cmd:"" name:"send-test" help:"Send a test message to a phone number."`
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
are not counted. Prefixes are sealed in the store, so this command needs the keyset. Give it the configuration of the
server, with --config or --sms, if the server has a file of providers.

Examples:

  countersign sms sent --env production --config /etc/countersign.yaml
  countersign sms sent --env production --sms /etc/countersign/sms.yaml --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *sentSMS) Run(ctx context.Context, con console) error {
	cfg := c.config()
	cfg.Keyset, cfg.SMS = c.Keyset, c.SMS
	return server.WithOperator(ctx, cfg, func(s *operator.Service) error {
		env, err := c.environment(ctx, s, c.Env)
		if err != nil {
			return err
		}
		counts, err := s.MessageCounts(ctx, env)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "TO\tLAST\tSENT\tVERIFIED\tPAUSED UNTIL\tIN EVENTS")
		for _, m := range counts {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", m.Of, formatSpan(m.Period), m.Sent, m.Verified, formatUntil(m.PausedUntil), m.Reference)
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
	operatorFlags
	keysetFlag
	reasonFlag
	Env    string `required:"" placeholder:"NAME" help:"The environment."`
	Prefix string `arg:"" help:"The prefix, as 'countersign sms sent' shows it: +491512."`
}

func (releasePrefix) Help() string {
	return `Before you end the pause, find out which program requested the messages. The counts of the prefix start again
at zero.

Example:

  countersign sms release +491512 --env production --reason ticket-4711 --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *releasePrefix) Run(ctx context.Context, con console) error {
	cfg := c.config()
	cfg.Keyset = c.Keyset
	return server.WithOperator(ctx, cfg, func(s *operator.Service) error {
		env, err := c.environment(ctx, s, c.Env)
		if err != nil {
			return err
		}
		released, err := s.ReleasePrefix(ctx, c.by(c.Reason), env, c.Prefix)
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
