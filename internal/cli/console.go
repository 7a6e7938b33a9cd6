package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/server"
	"github.com/countersign-mfa/countersign/internal/signin"
)

type consoleCommand struct {
	Link      consoleLink      `cmd:"" help:"Create a one-time link with which an operator registers a passkey."`
	Operators consoleOperators `cmd:"" help:"List the operators, their roles and passkeys."`
	Role      consoleRole      `cmd:"" help:"Change the role of an operator."`
	Disable   consoleDisable   `cmd:"" help:"Keep an operator from signing in, and end all sessions at once."`
	Enable    consoleEnable    `cmd:"" help:"Let a disabled operator sign in again."`
	Sessions  consoleSessions  `cmd:"" help:"List the sessions of the console."`
	SignOut   consoleSignOut   `cmd:"" help:"End the sessions of an operator."`
}

func (consoleCommand) Help() string {
	return `The console is at console_addr of 'countersign serve', and at /console of 'countersign dev', where no sign-in is needed.`
}

// managerFlags are the flags of a command that manages operators. The name of another
// operator is an argument, so the own name has another flag than elsewhere.
type managerFlags struct {
	storeFlag
	By     string `name:"by" placeholder:"NAME" help:"Your name, which events record. Default the name of your account."`
	Reason string `placeholder:"TEXT" help:"Why, in at most 200 characters. The event keeps it."`
}

func (f managerFlags) by() operator.By { return asFlag{As: f.By}.by(f.Reason) }

// signIn calls fn with the operators of the store, and explains an unknown name.
func (f managerFlags) signIn(ctx context.Context, fn func(*signin.Service) error) error {
	err := server.WithSignIn(ctx, f.config(), fn)
	if errors.Is(err, signin.ErrNotFound) {
		return fmt.Errorf("%w; 'countersign console operators --store %s' shows all", err, f.name())
	}
	return err
}

type consoleLink struct {
	managerFlags
	As          string   `name:"as" required:"" placeholder:"NAME" help:"Who signs in with the link. A new name makes a new operator."`
	Role        string   `enum:",viewer,support,admin" default:"" placeholder:"viewer|support|admin" help:"The role of the operator. Default the one that the operator has; viewer for a new one."`
	ConsoleURL  string   `name:"console-url" placeholder:"URL" help:"Address of the console in a browser, as for serve. Default that of the configuration file."`
	ConsoleAddr string   `name:"console-addr" placeholder:"ADDRESS" help:"Where the console listens, as for serve, if it has no console_url. Default 127.0.0.1:8081."`
	TLSCert     string   `name:"tls-cert" hidden:"" type:"path" help:"Certificate of the server, from its configuration: it tells whether the address is https."`
	Domains     []string `name:"domain" hidden:"" sep:"," help:"Domains of the server, from its configuration: they tell whether the address is https."`
}

func (consoleLink) Help() string {
	return `The link works once, within 15 minutes, and replaces an earlier one. Anyone who has it can become this operator: send it on a way
that only this person reads.

Examples:

  countersign console link --as ada --role admin --config /etc/countersign.yaml
  countersign console link --as ada --store sqlite:/var/lib/countersign/countersign.db --console-url https://console.example.com`
}

func (c *consoleLink) Run(ctx context.Context, con console) error {
	cfg := config.Config{ConsoleURL: c.ConsoleURL, TLSCert: c.TLSCert, Domains: c.Domains}
	addr := cmp.Or(c.ConsoleAddr, "127.0.0.1:8081")
	origin, err := cfg.ConsoleOrigin(addr)
	if err != nil {
		return err
	}
	return c.signIn(ctx, func(s *signin.Service) error {
		l, err := s.CreateLink(ctx, c.by(), c.As, access.Role(c.Role))
		if err != nil {
			return err
		}
		u, err := url.Parse(origin + "/console/enroll#" + l.Token.Reveal())
		if err != nil {
			return err
		}
		con.printf("%s\n", u)
		con.notef("For %s, with the role %s. The link works once, until %s.\n", l.Operator.Name, l.Operator.Role, l.ExpiresAt.Format("15:04:05Z"))
		if c.ConsoleAddr == "" && c.ConsoleURL == "" {
			con.notef("It is for a console on %s, because neither console_addr nor console_url is given; --config takes both from the configuration of the server.\n", addr)
		}
		return nil
	})
}

type consoleOperators struct{ storeFlag }

func (c *consoleOperators) Run(ctx context.Context, con console) error {
	return server.WithSignIn(ctx, c.config(), func(s *signin.Service) error {
		all, err := s.Accounts(ctx)
		w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tROLE\tSIGNS IN WITH\tSESSIONS\tCREATED\tDISABLED")
		for _, a := range all {
			with := fmt.Sprintf("%d passkeys", len(a.Passkeys))
			if a.IsExternal() {
				with = strings.Fields(a.Subject)[0]
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", a.Name, a.Role, with, len(a.Sessions), shortTime(a.CreatedAt), shortTime(a.DisabledAt))
		}
		return errors.Join(err, w.Flush())
	})
}

func shortTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format("2006-01-02 15:04:05Z")
}

type consoleRole struct {
	managerFlags
	Operator string `arg:"" help:"The name of the operator."`
	Role     string `arg:"" enum:"viewer,support,admin" help:"The new role: viewer, support or admin."`
}

func (c *consoleRole) Run(ctx context.Context, con console) error {
	return c.signIn(ctx, func(s *signin.Service) error {
		if err := s.SetRole(ctx, c.by(), c.Operator, access.Role(c.Role)); err != nil {
			return err
		}
		con.printf("%s has the role %s\n", c.Operator, c.Role)
		return nil
	})
}

type consoleDisable struct {
	managerFlags
	Operator string `arg:"" help:"The name of the operator."`
}

func (c *consoleDisable) Run(ctx context.Context, con console) error {
	return c.signIn(ctx, func(s *signin.Service) error {
		if err := s.Disable(ctx, c.by(), c.Operator); err != nil {
			return err
		}
		con.printf("disabled %s; all sessions have ended\n", c.Operator)
		return nil
	})
}

type consoleEnable struct {
	managerFlags
	Operator string `arg:"" help:"The name of the operator."`
}

func (c *consoleEnable) Run(ctx context.Context, con console) error {
	return c.signIn(ctx, func(s *signin.Service) error {
		if err := s.Enable(ctx, c.by(), c.Operator); err != nil {
			return err
		}
		con.printf("enabled %s\n", c.Operator)
		return nil
	})
}

type consoleSessions struct{ storeFlag }

func (c *consoleSessions) Run(ctx context.Context, con console) error {
	return server.WithSignIn(ctx, c.config(), func(s *signin.Service) error {
		all, err := s.Accounts(ctx)
		w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tOPERATOR\tWITH\tBEGAN\tLAST USED\tBROWSER")
		for _, a := range all {
			for _, x := range a.Sessions {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", x.ID, a.Name, x.Method, shortTime(x.CreatedAt), shortTime(x.SeenAt), printable(x.Browser))
			}
		}
		return errors.Join(err, w.Flush())
	})
}

type consoleSignOut struct {
	managerFlags
	Operator string `arg:"" help:"The name of the operator."`
	Session  string `placeholder:"ID" help:"End only this session, as 'countersign console sessions' shows it."`
}

func (c *consoleSignOut) Run(ctx context.Context, con console) error {
	return c.signIn(ctx, func(s *signin.Service) error {
		if err := s.EndSessions(ctx, c.by(), c.Operator, c.Session); err != nil {
			return err
		}
		con.printf("signed out %s\n", c.Operator)
		return nil
	})
}
