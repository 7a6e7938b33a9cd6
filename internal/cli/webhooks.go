package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/server"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

type webhooksCommand struct {
	List     listEndpoints  `cmd:"" help:"List the endpoints that receive webhooks."`
	Create   createEndpoint `cmd:"" help:"Create an endpoint and print its secret."`
	Update   updateEndpoint `cmd:"" help:"Change the URL or the events of an endpoint, disable it or enable it again."`
	Delete   deleteEndpoint `cmd:"" help:"Delete an endpoint and its deliveries."`
	Rotate   rotateEndpoint `cmd:"" help:"Give an endpoint a new secret; the old one stays valid for a while."`
	Replay   replayEndpoint `cmd:"" help:"Send past events to an endpoint again."`
	Attempts listAttempts   `cmd:"" help:"List the attempts to deliver to an endpoint, newest first."`
	Listen   listenWebhooks `cmd:"" help:"Forward the events of a server to a program on your machine."`
}

// endpointFlags name the store of an endpoint.
type endpointFlags struct {
	operatorFlags
	keysetFlag
	WebhookAllow     []string `name:"webhook-allow" sep:"," placeholder:"CIDR" help:"As for serve: networks that webhooks may reach although their addresses are not public."`
	WebhookPlainHTTP bool     `name:"webhook-plain-http" help:"As for serve: accept http URLs in production environments."`
}

// webhooks calls fn with the endpoints of the store.
func (f endpointFlags) webhooks(ctx context.Context, fn func(*server.Webhooks) error) error {
	return server.WithWebhooks(ctx, config.Config{
		Store: f.Store, Keyset: f.Keyset, WebhookAllow: f.WebhookAllow, WebhookPlainHTTP: f.WebhookPlainHTTP,
	}, fn)
}

// caller returns who changes an endpoint of an environment, and why.
func (f endpointFlags) caller(env mfa.Environment, reason string) (mfa.Caller, error) {
	by := f.by(reason)
	return mfa.Caller{Environment: env, Operator: by.Operator, Reason: by.Reason}, by.Check()
}

// endpointArg names an endpoint.
type endpointArg struct {
	endpointFlags
	ID string `arg:"" help:"The id of the endpoint, we_…, as 'countersign webhooks list' shows it."`
}

// endpoint calls fn with the endpoint and its environment.
func (a endpointArg) endpoint(ctx context.Context, fn func(*server.Webhooks, webhook.EndpointID, mfa.Environment) error) error {
	id, err := webhook.ParseEndpointID(a.ID)
	if err != nil {
		return fmt.Errorf("%q is not the id of an endpoint", a.ID)
	}
	return a.webhooks(ctx, func(s *server.Webhooks) error {
		all, err := s.Environments(ctx)
		if err != nil {
			return err
		}
		for _, env := range all {
			switch _, err := s.Endpoint(ctx, env.ID, id); {
			case err == nil:
				return fn(s, id, env)
			case !errors.Is(err, mfa.ErrNotFound):
				return err
			}
		}
		return fmt.Errorf("there is no endpoint %s; 'countersign webhooks list --store %s' shows all", id, a.name())
	})
}

type listEndpoints struct {
	endpointFlags
	Env string `placeholder:"NAME" help:"Only endpoints of this environment. Default all."`
}

func (c *listEndpoints) Run(ctx context.Context, con console) error {
	return c.webhooks(ctx, func(s *server.Webhooks) error {
		all, err := s.Environments(ctx)
		if err != nil {
			return err
		}
		if c.Env != "" {
			env, err := s.Environment(ctx, c.Env)
			if err != nil {
				return fmt.Errorf("%w; 'countersign environment list --store %s' shows all", err, c.name())
			}
			all = []mfa.Environment{env}
		}
		w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tENVIRONMENT\tSTATUS\tFAILURES\tLAST SUCCESS\tURL\tEVENTS")
		for _, env := range all {
			found, err := s.List(ctx, env.ID)
			if err != nil {
				return err
			}
			for _, e := range found {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", e.ID, env.Name, endpointStatus(&e), e.Failures, shownOrDash(e.LastSuccess), e.URL, joinTypes(e.Events))
			}
		}
		return w.Flush()
	})
}

// endpointStatus returns the status of an endpoint and why it is disabled.
func endpointStatus(e *webhook.Details) string {
	if e.DisabledFor != "" {
		return fmt.Sprintf("%s (%s)", e.Status, e.DisabledFor)
	}
	return string(e.Status)
}

func shownOrDash(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(shownTime)
}

func joinTypes(types []mfa.EventType) string {
	if len(types) == len(mfa.EventTypes) {
		return "all"
	}
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return strings.Join(names, ",")
}

// signIns are the types that an endpoint receives by default. All client libraries know
// them.
var signIns = []string{string(mfa.ChallengeSucceeded), string(mfa.ChallengeFailed)}

type createEndpoint struct {
	endpointFlags
	reasonFlag
	Env    string   `required:"" placeholder:"NAME" help:"The environment whose events it receives."`
	URL    string   `arg:"" help:"Where webhooks are sent, such as https://example.com/webhooks."`
	Events []string `sep:"," placeholder:"TYPE" help:"Types of event, or 'factor.*' for all that begin so. Default authentication.mfa_succeeded,authentication.mfa_failed."`
}

func (createEndpoint) Help() string {
	return `Standard output has the id and the secret. Needs the keyset, which seals the secret.

Example:

  countersign webhooks create https://example.com/webhooks --env production --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *createEndpoint) Run(ctx context.Context, con console) error {
	names, err := typeNames(len(c.Events) > 0, c.Events)
	if err != nil {
		return err
	}
	return c.webhooks(ctx, func(s *server.Webhooks) error {
		if s.Sealed != nil {
			return s.Sealed
		}
		env, err := s.Environment(ctx, c.Env)
		if err != nil {
			return fmt.Errorf("%w; 'countersign environment list --store %s' shows all", err, c.name())
		}
		by, err := c.caller(env, c.Reason)
		if err != nil {
			return err
		}
		e, err := s.Create(ctx, by, webhook.Params{URL: c.URL, Events: names})
		if err != nil {
			return plainError(err)
		}
		con.printf("%s\n%s\n", e.ID, e.Current.Reveal())
		return nil
	})
}

// typeNames returns the names of the types that a flag gives, or the default.
func typeNames(given bool, names []string) ([]string, error) {
	if !given {
		return slices.Clone(signIns), nil
	}
	types, err := eventTypes(names)
	if err != nil {
		return nil, fmt.Errorf("--events: %w", err)
	}
	all := make([]string, len(types))
	for i, t := range types {
		all[i] = string(t)
	}
	return all, nil
}

// plainError returns the messages of a refused input without the names of fields in JSON.
func plainError(err error) error {
	e, ok := errors.AsType[*mfa.InvalidError](err)
	if !ok {
		return err
	}
	return errors.New(e.Messages())
}

type updateEndpoint struct {
	endpointArg
	reasonFlag
	URL     string   `placeholder:"URL" help:"The new URL."`
	Events  []string `sep:"," placeholder:"TYPE" help:"The new types of event, in place of all earlier ones."`
	Enable  bool     `xor:"status" help:"Deliver again, beginning with the events since it was disabled."`
	Disable bool     `xor:"status" help:"Deliver no more. Events are kept for --enable."`
}

func (c *updateEndpoint) Run(ctx context.Context, con console) error {
	var change webhook.Change
	if c.URL != "" {
		change.URL = &c.URL
	}
	if len(c.Events) > 0 {
		names, err := typeNames(true, c.Events)
		if err != nil {
			return err
		}
		change.Events = names
	}
	status := webhook.Enabled
	if c.Disable {
		status = webhook.Disabled
	}
	if c.Enable || c.Disable {
		change.Status = &status
	}
	if change.URL == nil && change.Events == nil && change.Status == nil {
		return errors.New("give --url, --events, --enable or --disable")
	}
	return c.endpoint(ctx, func(s *server.Webhooks, id webhook.EndpointID, env mfa.Environment) error {
		by, err := c.caller(env, c.Reason)
		if err != nil {
			return err
		}
		e, err := s.Update(ctx, by, id, change)
		if err != nil {
			return plainError(err)
		}
		con.printf("updated %s: %s, %s, %s\n", e.ID, endpointStatus(&e), e.URL, joinTypes(e.Events))
		return nil
	})
}

type deleteEndpoint struct {
	endpointArg
	reasonFlag
}

func (c *deleteEndpoint) Run(ctx context.Context, con console) error {
	return c.endpoint(ctx, func(s *server.Webhooks, id webhook.EndpointID, env mfa.Environment) error {
		by, err := c.caller(env, c.Reason)
		if err == nil {
			err = s.Delete(ctx, by, id)
		}
		if err == nil {
			con.printf("deleted %s\n", id)
		}
		return err
	})
}

type rotateEndpoint struct {
	endpointArg
	reasonFlag
	Overlap time.Duration `default:"24h" placeholder:"DURATION" help:"How long the old secret signs too, at most 168h; 0s replaces it now. Default ${default}."`
}

func (rotateEndpoint) Help() string {
	return `Prints the new secret. Until the overlap ends, the header webhook-signature has a signature of each secret, and
WorkOS-Signature one of the old secret. Let your program accept the new secret before that.

Example:

  countersign webhooks rotate we_01FZ4WRNQ7S9GT4BJBMN9KQKVC`
}

func (c *rotateEndpoint) Run(ctx context.Context, con console) error {
	return c.endpoint(ctx, func(s *server.Webhooks, id webhook.EndpointID, env mfa.Environment) error {
		if s.Sealed != nil {
			return s.Sealed
		}
		by, err := c.caller(env, c.Reason)
		if err != nil {
			return err
		}
		e, err := s.RotateSecret(ctx, by, id, c.Overlap)
		if err != nil {
			return plainError(err)
		}
		if next := e.Next.Reveal(); next != "" {
			con.printf("%s\n", next)
			con.notef("the old secret signs until %s\n", e.SwitchAt.UTC().Format(shownTime))
			return nil
		}
		con.printf("%s\n", e.Current.Reveal())
		return nil
	})
}

type replayEndpoint struct {
	endpointArg
	reasonFlag
	From       string `required:"" placeholder:"TIME" help:"Send the events from this time on: 2h or 7d ago, or a time such as 2026-11-30T09:00:00Z."`
	To         string `placeholder:"TIME" help:"Send the events before this time. Default now."`
	OnlyFailed bool   `name:"only-failed" help:"Send only the events whose attempts all failed."`
}

func (replayEndpoint) Help() string {
	return `The servers send the events in the background.

Example:

  countersign webhooks replay we_01FZ4WRNQ7S9GT4BJBMN9KQKVC --from 24h --only-failed`
}

func (c *replayEndpoint) Run(ctx context.Context, con console) error {
	now := con.now()
	from, err := pastTime(c.From, now)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	to, err := pastTime(c.To, now)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	return c.endpoint(ctx, func(s *server.Webhooks, id webhook.EndpointID, env mfa.Environment) error {
		by, err := c.caller(env, c.Reason)
		if err != nil {
			return err
		}
		r, err := s.StartReplay(ctx, by, id, webhook.Range{From: from, To: to, OnlyFailed: c.OnlyFailed})
		if err != nil {
			return plainError(err)
		}
		con.printf("replaying events from %s to %s\n", r.From.UTC().Format(shownTime), r.To.UTC().Format(shownTime))
		return nil
	})
}

type listAttempts struct {
	endpointArg
	Limit int `default:"20" placeholder:"N" help:"The newest N attempts. Default ${default}."`
}

func (c *listAttempts) Run(ctx context.Context, con console) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return fmt.Errorf("--limit is %d; it must be from 1 to 1000", c.Limit)
	}
	return c.endpoint(ctx, func(s *server.Webhooks, id webhook.EndpointID, env mfa.Environment) error {
		page, err := s.Attempts(ctx, env.ID, id, webhook.AttemptID{}, c.Limit)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "TIME\tOUTCOME\tSTATUS\tTOOK\tTRY\tNEXT\tTYPE\tEVENT\tANSWER")
		for _, a := range page.Attempts {
			status := "-"
			if a.Status != 0 {
				status = fmt.Sprint(a.Status)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%d\t%s\t%s\t%s\t%s\n", a.At.UTC().Format(shownTime), a.Outcome, status, a.Took, a.Number,
				shownOrDash(a.NextAt), a.Type, a.Event, printable(firstLine(a.Text)))
		}
		return w.Flush()
	})
}

// firstLine returns the beginning of a text that fits a column.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if r := []rune(s); len(r) > 60 {
		s = string(r[:59]) + "…"
	}
	return s
}
