package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/operatorwire"
	"github.com/countersign-mfa/countersign/internal/server"
)

// viewFlags are the flags of a command that shows a person to an operator.
type viewFlags struct {
	operatorFlags
	keysetFlag
	reasonFlag
	limitFlags
	JSON bool `name:"json" help:"Print JSON."`
}

// limitFlags are the limits of the server, which views explain. They come from the
// configuration file; zero fields are the defaults of the server.
type limitFlags struct {
	ChallengeAttempts int           `name:"challenge-attempts" hidden:""`
	FreeFailures      int           `name:"free-failures" hidden:""`
	FactorFailures    int           `name:"factor-failures" hidden:""`
	UserFailures      int           `name:"user-failures" hidden:""`
	SMSSpacing        time.Duration `name:"sms-spacing" hidden:""`
	SMSLimits         []string      `name:"sms-limits" sep:"," hidden:""`
	SMS               string        `name:"sms" type:"path" hidden:""`
}

// operator calls fn with the actions on the store, as the server with these limits does them.
func (f *viewFlags) operator(ctx context.Context, con console, fn func(*operator.Service, operator.By) error) error {
	cfg := f.config()
	cfg.Keyset, cfg.SMS = f.Keyset, f.SMS
	cfg.ChallengeAttempts, cfg.FreeFailures, cfg.FactorFailures, cfg.UserFailures = f.ChallengeAttempts, f.FreeFailures, f.FactorFailures, f.UserFailures
	cfg.SMSSpacing, cfg.SMSLimits = f.SMSSpacing, f.SMSLimits
	return server.WithOperator(ctx, cfg, func(s *operator.Service) error { return fn(s, f.by(f.Reason)) })
}

// noteSealed says on standard error which values are missing.
func noteSealed(con console, sealed error) {
	if sealed != nil {
		con.notef("countersign: phone numbers, names in authenticator apps, addresses and user agents stay sealed, and factors that were deleted "+
			"are not found, because the keyset cannot be opened: %v\n", sealed)
	}
}

type showUser struct {
	viewFlags
	Env string `required:"" placeholder:"NAME" help:"The user's environment."`
	ID  string `arg:"" help:"The user's id, as it was given at enrollment."`
}

func (showUser) Help() string {
	return `Shows the factors of the user with their locks, the newest challenges with an explanation, and the newest events. Give
the configuration of the server with --config, so its limits are known. Without the keyset it works, and says which values
stay sealed. The view is an event, operator.viewed, with your name and --reason.

Example:

  countersign user show user_42 --env production --reason=ticket-4711 --config /etc/countersign.yaml`
}

func (c *showUser) Run(ctx context.Context, con console) error {
	return c.operator(ctx, con, func(s *operator.Service, by operator.By) error {
		env, err := c.environment(ctx, s, c.Env)
		if err != nil {
			return err
		}
		u, err := s.User(ctx, by, env, c.ID)
		if err != nil {
			return unknownUser(err, env, c.ID)
		}
		if c.JSON {
			return printJSON(con, operatorwire.NewUser(u))
		}
		noteSealed(con, u.Sealed)
		return printUser(con, &u)
	})
}

// unknownUser returns the error for a user who was not found.
func unknownUser(err error, env mfa.Environment, user string) error {
	switch {
	case errors.Is(err, operator.ErrKeyset):
		return fmt.Errorf("environment %q has no factor with the user_id %q; %w", env.Name, user, operator.ErrKeyset)
	case errors.Is(err, mfa.ErrNotFound):
		return fmt.Errorf("environment %q has no user %q: no factor was enrolled with that user_id, or all data of the user was erased", env.Name, user)
	}
	return err
}

type showFactor struct {
	viewFlags
	ID string `arg:"" help:"The id of the factor, auth_factor_…."`
}

func (showFactor) Help() string {
	return `Example:

  countersign factor show auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M --reason=ticket-4711 --config /etc/countersign.yaml`
}

func (c *showFactor) Run(ctx context.Context, con console) error {
	id, err := mfa.ParseFactorID(c.ID)
	if err != nil {
		return fmt.Errorf("%q is not the id of a factor", c.ID)
	}
	return c.operator(ctx, con, func(s *operator.Service, by operator.By) error {
		f, err := s.Factor(ctx, by, id)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if c.JSON {
			return printJSON(con, operatorwire.NewFactor(f))
		}
		noteSealed(con, f.Sealed)
		return printFactor(con, &f)
	})
}

type listFactors struct {
	viewFlags
	Env   string `required:"" placeholder:"NAME" help:"The environment."`
	User  string `placeholder:"ID" help:"Only factors of this user."`
	Type  string `placeholder:"TYPE" help:"Only factors of this type: totp, sms, generic_otp or webauthn."`
	State string `placeholder:"STATE" enum:",unverified,verified,locked,suspended" default:"" help:"Only factors in this state: unverified, verified, locked or suspended."`
	After string `placeholder:"CURSOR" help:"Continue a list: the cursor that it printed at its end."`
	Limit int    `default:"50" placeholder:"N" help:"At most so many, 1 to 100. Default ${default}."`
}

func (listFactors) Help() string {
	return `A list of a rare type or state reads many factors, and may end early with a cursor for the next page.

Examples:

  countersign factor list --env production --user user_42
  countersign factor list --env production --state locked`
}

func (c *listFactors) Run(ctx context.Context, con console) error {
	if c.Limit < 1 || c.Limit > 100 {
		return fmt.Errorf("--limit is %d; it must be from 1 to 100", c.Limit)
	}
	return c.operator(ctx, con, func(s *operator.Service, by operator.By) error {
		env, err := c.environment(ctx, s, c.Env)
		if err != nil {
			return err
		}
		q := operator.FactorQuery{User: c.User, Type: mfa.FactorType(c.Type), State: mfa.FactorStatus(c.State), Limit: c.Limit}
		page, err := s.Factors(ctx, by, env, q, c.After)
		if errors.Is(err, operator.ErrCursor) {
			return fmt.Errorf("--after: %q is not the cursor of a page", c.After)
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(con, operatorwire.NewFactorPage(page))
		}
		if err := printFactors(con, page.Factors); err != nil {
			return err
		}
		if page.After != "" {
			con.notef("there may be more: --after %s\n", page.After)
		}
		return nil
	})
}

type challengeCommand struct {
	Show    showChallenge    `cmd:"" help:"Show everything about a challenge, and what happened to it."`
	Explain explainChallenge `cmd:"" help:"Explain in words why a code was not accepted, or did not arrive."`
}

type showChallenge struct {
	viewFlags
	ID string `arg:"" help:"The id of the challenge, auth_challenge_…."`
}

func (showChallenge) Help() string {
	return `A challenge is stored for a day (--challenge-retention of the server). Later it is told from its events.

Example:

  countersign challenge show auth_challenge_01FZ4WSWV0F5V37E3S3E28JT3M --reason=ticket-4711 --config /etc/countersign.yaml`
}

func (c *showChallenge) Run(ctx context.Context, con console) error {
	return c.show(ctx, con, func(v *operator.Challenge) error { return printChallenge(con, v) })
}

type explainChallenge struct{ showChallenge }

func (explainChallenge) Help() string {
	return `Example:

  countersign challenge explain auth_challenge_01FZ4WSWV0F5V37E3S3E28JT3M --reason=ticket-4711 --config /etc/countersign.yaml`
}

func (c *explainChallenge) Run(ctx context.Context, con console) error {
	return c.show(ctx, con, func(v *operator.Challenge) error {
		printSentences(con, "", v.Explanation)
		return nil
	})
}

// show prints a challenge as JSON, or with print.
func (c *showChallenge) show(ctx context.Context, con console, print func(*operator.Challenge) error) error {
	id, err := mfa.ParseChallengeID(c.ID)
	if err != nil {
		return fmt.Errorf("%q is not the id of a challenge", c.ID)
	}
	return c.operator(ctx, con, func(s *operator.Service, by operator.By) error {
		v, err := s.Challenge(ctx, by, id)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if c.JSON {
			return printJSON(con, operatorwire.NewChallenge(v))
		}
		noteSealed(con, v.Sealed)
		return print(&v)
	})
}

type findCommand struct {
	viewFlags
	Env  string `required:"" placeholder:"NAME" help:"The environment of users and phone numbers."`
	Text string `arg:"" help:"The id of a user, a factor, a challenge or an event, or a phone number."`
}

func (findCommand) Help() string {
	return `Recognizes the id of a factor, a challenge, an event or a user, and phone numbers in international form. A phone number
needs the keyset.

Examples:

  countersign find user_42 --env production
  countersign find '+49 1512 3456789' --env production --config /etc/countersign.yaml`
}

func (c *findCommand) Run(ctx context.Context, con console) error {
	return c.operator(ctx, con, func(s *operator.Service, by operator.By) error {
		env, err := c.environment(ctx, s, c.Env)
		if err != nil {
			return err
		}
		found, err := s.Find(ctx, by, env, c.Text)
		if err != nil {
			return c.notFound(err, env)
		}
		if c.JSON {
			return printJSON(con, operatorwire.NewFound(found))
		}
		switch {
		case found.User != nil:
			noteSealed(con, found.User.Sealed)
			return printUser(con, found.User)
		case found.Factor != nil:
			noteSealed(con, found.Factor.Sealed)
			return printFactor(con, found.Factor)
		case found.Challenge != nil:
			noteSealed(con, found.Challenge.Sealed)
			return printChallenge(con, found.Challenge)
		case found.Event != nil:
			return printTimeline(con, []operator.Entry{*found.Event}, false)
		}
		return printFactors(con, found.Phone)
	})
}

func (c *findCommand) notFound(err error, env mfa.Environment) error {
	if !errors.Is(err, mfa.ErrNotFound) {
		return err
	}
	text := "nothing is found: environment %q has no user, factor, challenge, event or phone number %q"
	if errors.Is(err, operator.ErrKeyset) {
		return fmt.Errorf(text+"; %w", env.Name, c.Text, operator.ErrKeyset)
	}
	if _, err := strconv.ParseUint(strings.ReplaceAll(c.Text, " ", ""), 10, 64); err == nil {
		text += "; a phone number begins with + and its country code"
	}
	return fmt.Errorf(text, env.Name, c.Text)
}

// printSentences prints sentences, one a line.
func printSentences(con console, indent string, all []string) {
	for _, s := range all {
		con.printf("%s%s\n", indent, printable(s))
	}
}

// fields prints names and values in two columns. It leaves out a name without a value.
func fields(con console, pairs ...string) {
	w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", pairs[i], printable(pairs[i+1]))
		}
	}
	w.Flush() // the writer of a command does not fail
}

func timeOr(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.UTC().Format(shownTime)
}

func printUser(con console, u *operator.User) error {
	state := "not locked"
	if u.Locked {
		state = "locked"
	}
	fields(con, "user", u.ID, "environment", u.Environment.Name, "state", state, "wrong codes", fmt.Sprintf("%d in a row, of %d", u.Failures, u.MaxFailures), "bypass code", bypassText(u.Bypass), "recovery codes", recoveryText(u.RecoveryCodes()))
	con.printf("\n")
	printSentences(con, "", u.Explanation)
	if len(u.Factors) > 0 {
		con.printf("\nFactors\n")
		if err := printFactors(con, u.Factors); err != nil {
			return err
		}
		if u.MoreFactors {
			con.printf("There are more: countersign factor list --env %q --user %q\n", u.Environment.Name, u.ID)
		}
	}
	if len(u.Challenges) > 0 {
		con.printf("\nNewest challenges\n")
		for i := range u.Challenges {
			c := &u.Challenges[i]
			con.printf("%s  %s  %s  %s\n", timeOr(c.CreatedAt, "-"), c.ID, c.Type, c.State)
			printSentences(con, "    ", c.Explanation)
		}
	}
	con.printf("\nNewest events\n")
	return printTimeline(con, u.Timeline, u.MoreEvents)
}

func printFactors(con console, all []operator.Factor) error {
	if len(all) == 0 {
		con.notef("no factors\n")
		return nil
	}
	w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tTYPE\tSTATE\tWRONG CODES\tLOCKED UNTIL\tLAST USED\tUSER\tNAME")
	for i := range all {
		f := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", f.ID, f.Type, f.State, f.Failures, timeOr(f.LockedUntil, "-"), timeOr(f.LastUsed, "never"),
			printable(f.User), printable(factorName(f)))
	}
	return w.Flush()
}

// factorName returns what a person recognizes a factor by: the name that the application gave it,
// the phone number, the issuer and the account.
func factorName(f *operator.Factor) string {
	detail := strings.Trim(f.Issuer+": "+f.Account, ": ")
	if f.Phone.E164() != "" {
		detail = f.Phone.String()
	}
	switch {
	case f.Name == "":
		return detail
	case detail == "":
		return f.Name
	}
	return f.Name + " (" + detail + ")"
}

func printFactor(con console, f *operator.Factor) error {
	fields(con, "factor", f.ID.String(), "environment", f.Environment.Name, "type", string(f.Type), "user", f.User, "name", factorName(f),
		"state", string(f.State), "wrong codes", fmt.Sprintf("%d in a row, of %d", f.Failures, f.MaxFailures),
		"locked until", timeOr(f.LockedUntil, ""), "suspended", timeOr(f.SuspendedAt, ""), "suspended by", suspendedBy(f), "last used", timeOr(f.LastUsed, "never"), "enrolled", timeOr(f.CreatedAt, ""), "bypass code", bypassText(f.Bypass), "recovery codes", recoveryText(f))
	con.printf("\n")
	printSentences(con, "", f.Explanation)
	con.printf("\nNewest events\n")
	return printTimeline(con, f.Timeline, f.MoreEvents)
}

// suspendedBy names who suspended a factor and why; "" if it is not known.
func suspendedBy(f *operator.Factor) string {
	if f.Suspension.By == "" {
		return ""
	}
	return f.Suspension.By + ": " + f.Suspension.Reason
}

// recoveryText describes a set of recovery codes; "" for nil and for another factor.
func recoveryText(f *operator.Factor) string {
	if f == nil || f.Recovery == nil {
		return ""
	}
	return fmt.Sprintf("%d of %d left, created %s, last used %s", f.Recovery.Remaining, f.Recovery.Total, timeOr(f.Recovery.CreatedAt, "at a time that stays sealed"), timeOr(f.LastUsed, "never"))
}

// bypassText describes an open bypass code; "" for nil.
func bypassText(b *operator.Bypass) string {
	if b == nil {
		return ""
	}
	return fmt.Sprintf("until %s, issued by %s: %s", timeOr(b.ExpiresAt, ""), b.Operator, b.Reason)
}

func printChallenge(con console, c *operator.Challenge) error {
	fields(con, "challenge", c.ID.String(), "environment", c.Environment.Name, "type", string(c.Type), "factor", c.Factor.String(), "user", c.User,
		"state", string(c.State), "attempts", fmt.Sprintf("%d of %d", c.Attempts, c.MaxAttempts),
		"created", timeOr(c.CreatedAt, ""), "expires", timeOr(c.ExpiresAt, ""), "verified", timeOr(c.VerifiedAt, ""))
	for i, m := range c.Messages {
		con.printf("message %d  %s\n", i+1, printable(strings.Join(strings.Fields(fmt.Sprint(m.State, " ", m.Provider, " ", m.Reason, " ", timeOr(m.UpdatedAt, ""))), " ")))
	}
	con.printf("\n")
	printSentences(con, "", c.Explanation)
	con.printf("\nEvents\n")
	return printTimeline(con, c.Timeline, c.MoreEvents)
}

// printTimeline prints events, oldest first.
func printTimeline(con console, all []operator.Entry, more bool) error {
	if more {
		con.printf("there are older events: countersign events list\n")
	}
	w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
	for i := range all {
		e := &all[i]
		caller := e.Caller
		if caller == "" {
			caller = "system"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.At.UTC().Format(shownTime), printable(e.Text), printable(e.IPAddress), printable(caller))
	}
	return w.Flush()
}
