package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/server"
)

type keyCommand struct {
	Create createKey `cmd:"" help:"Create a key and print it. It is not shown again."`
	List   listKeys  `cmd:"" help:"List all keys by their ids, with their scopes and last use."`
	Rename renameKey `cmd:"" help:"Give a key another name."`
	Revoke revokeKey `cmd:"" help:"Revoke a key; every node refuses it within 5 seconds."`
}

type createKey struct {
	operatorFlags
	Env      string   `placeholder:"NAME" help:"The environment of the key. If it does not exist, it is created as a sandbox, unless its name begins with prod or live. An operator key without it opens all environments."`
	Name     string   `placeholder:"TEXT" help:"What the key is for, such as 'checkout service'."`
	Operator bool     `help:"Create an operator key, ok_…, for the operator API, instead of an API key. Without --scope, it may only read."`
	Scope    []string `placeholder:"SCOPE" help:"What the key may do: api and events:read for an API key, which has both by default; operator:read or operator:write for an operator key."`
	Expires  string   `placeholder:"WHEN" help:"When the key expires: after 90d, 12h or 2w, or at a time such as 2027-01-31T12:00:00Z. By default it does not."`
	JSON     bool     `name:"json" help:"Print one line of JSON with the key and all that is known of it."`
}

// soundsReal reports whether the name of an environment suggests production.
func soundsReal(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "prod") || strings.HasPrefix(name, "live")
}

func (createKey) Help() string {
	return `Standard output has only the key. The store has only its hash.

Examples:

  COUNTERSIGN_KEY=$(countersign key create --env production)
  countersign key create --env production --name 'event archive' --scope events:read --expires 90d
  countersign key create --operator --scope operator:write --name terraform --expires 1y`
}

// params reads the flags. It returns the mistakes before a store is made.
func (c *createKey) params(now time.Time) (p access.KeyParams, err error) {
	p.Name = c.Name
	for _, name := range c.Scope {
		s, err := access.ParseScope(name)
		if err != nil {
			return p, fmt.Errorf("--scope: %w", err)
		}
		p.Scopes |= access.ScopesOf(s)
	}
	if c.Operator && p.Scopes == 0 {
		p.Scopes = access.ScopesOf(access.ScopeOperatorRead)
	}
	switch isOperator := (&access.Key{Scopes: p.Scopes}).IsOperator(); {
	case isOperator && !c.Operator:
		return p, errors.New("--scope: operator:read and operator:write are scopes of operator keys; add --operator")
	case c.Operator && !isOperator:
		return p, errors.New("--scope: the scopes of operator keys are operator:read and operator:write")
	case !c.Operator && c.Env == "":
		return p, errors.New("--env is missing: an API key belongs to one environment")
	}
	if c.Expires != "" {
		if p.ExpiresAt, err = parseExpiry(c.Expires, now); err != nil {
			return p, fmt.Errorf("--expires: %w", err)
		}
	}
	if c.Env != "" {
		err = access.CheckName(c.Env)
	}
	return p, err
}

// parseExpiry reads a time in the future: a duration of hours, days, weeks or years, or a
// time.
func parseExpiry(text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		if !at.After(now) {
			return at, fmt.Errorf("%s is in the past", text)
		}
		return at, nil
	}
	units := map[byte]time.Duration{'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour, 'y': 365 * 24 * time.Hour}
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 16)
	unit := units[text[len(text)-1]]
	if err != nil || unit == 0 || n == 0 || n > uint64(100*units['y']/unit) {
		return time.Time{}, fmt.Errorf("%q is neither a duration such as 90d, 12h, 2w or 1y, of at most 100 years, nor a time such as 2027-01-31T12:00:00Z", text)
	}
	return now.Add(time.Duration(n) * unit), nil
}

func (c *createKey) Run(ctx context.Context, con console) error {
	p, err := c.params(con.now())
	if err != nil {
		return err // before a store is made
	}
	with := server.WithNewOperator
	if c.Env == "" || soundsReal(c.Env) {
		with = server.WithOperator // a new store has no such environment
	}
	return with(ctx, c.config(), func(s *operator.Service) error {
		env, err := c.environment(ctx, s, con)
		if err != nil {
			return err
		}
		text, k, err := s.CreateKey(ctx, c.by(""), env, p)
		if err != nil {
			return err
		}
		if c.JSON {
			j := keyJSON(k)
			j.Key = text.Reveal()
			return json.NewEncoder(con.out).Encode(j)
		}
		con.printf("%s\n", text.Reveal())
		if isTerminal(con.out) {
			con.notef("Keep it now, it cannot be shown again. To revoke it: countersign key revoke %s --store %s\n", k.ID, c.name())
		}
		return nil
	})
}

// environment returns the environment of the key, and creates it if it is a sandbox.
func (c *createKey) environment(ctx context.Context, s *operator.Service, con console) (mfa.Environment, error) {
	if c.Env == "" {
		return mfa.Environment{}, nil // all
	}
	env, err := s.Environment(ctx, c.Env)
	if !errors.Is(err, access.ErrNotFound) {
		return env, err
	}
	if soundsReal(c.Env) || c.Operator {
		return env, fmt.Errorf("there is no environment %q; 'countersign environment create %q --production --store %s' makes one", c.Env, c.Env, c.name())
	}
	if env, err = s.CreateEnvironment(ctx, c.by(""), c.Env, false); err == nil {
		con.notef("created sandbox environment %q (for production: countersign environment create NAME --production)\n", c.Env)
	}
	return env, err
}

// A keyObject is a key as JSON, in the form of the operator API.
type keyObject struct {
	Object      string         `json:"object"`
	ID          access.KeyID   `json:"id"`
	Name        string         `json:"name"`
	Environment *string        `json:"environment"` // null: all environments
	Scopes      []access.Scope `json:"scopes"`
	Hint        string         `json:"hint"`
	CreatedAt   string         `json:"created_at"`
	ExpiresAt   *string        `json:"expires_at"`
	RevokedAt   *string        `json:"revoked_at"`
	LastUsedAt  *string        `json:"last_used_at"`
	Key         string         `json:"key,omitempty"` // only when it is created
}

func keyJSON(k access.Key) keyObject {
	instant := func(t time.Time) *string {
		if t.IsZero() {
			return nil
		}
		text := t.UTC().Format("2006-01-02T15:04:05.000Z")
		return &text
	}
	o := keyObject{
		Object: "api_key", ID: k.ID, Name: k.Name, Scopes: k.Scopes.List(), Hint: k.Hint,
		CreatedAt: *instant(k.CreatedAt), ExpiresAt: instant(k.ExpiresAt), RevokedAt: instant(k.RevokedAt), LastUsedAt: instant(k.LastUsedAt),
	}
	if k.IsOperator() {
		o.Object = "operator_key"
	}
	if k.Environment.ID != 0 {
		o.Environment = &k.Environment.Name
	}
	return o
}

type listKeys struct {
	storeFlag
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *listKeys) Run(ctx context.Context, con console) error {
	return server.WithOperator(ctx, c.config(), func(s *operator.Service) error {
		all, err := s.Keys(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			list := []keyObject{}
			for _, k := range all {
				list = append(list, keyJSON(k))
			}
			return json.NewEncoder(con.out).Encode(map[string]any{"object": "list", "data": list})
		}
		w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tENVIRONMENT\tKIND\tENDS IN\tCREATED\tREVOKED\tEXPIRES\tLAST USED\tSCOPES\tNAME")
		for _, k := range all {
			env, sort := k.Environment.Name, kind(k.Environment)
			if k.IsOperator() {
				sort = "operator"
			}
			if k.Environment.ID == 0 {
				env = "all"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t…%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, env, sort, k.Hint,
				second(k.CreatedAt), second(k.RevokedAt), second(k.ExpiresAt), second(k.LastUsedAt), strings.ReplaceAll(k.Scopes.String(), " ", ","), k.Name)
		}
		return w.Flush()
	})
}

// second returns a time to a second, or - for the zero time.
func second(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

type renameKey struct {
	operatorFlags
	reasonFlag
	ID   string `arg:"" help:"The id of the key, key_…, as 'countersign key list' shows it."`
	Name string `arg:"" help:"The new name, such as 'checkout service'."`
}

func (renameKey) Help() string {
	return `Example:

  countersign key rename key_db821386bb69d752 'checkout service' --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *renameKey) Run(ctx context.Context, con console) error {
	return c.operator(ctx, func(s *operator.Service) error {
		err := s.RenameKey(ctx, c.by(c.Reason), access.KeyID(c.ID), c.Name)
		if errors.Is(err, access.ErrNotFound) {
			return fmt.Errorf("there is no key %s; 'countersign key list --store %s' shows all", c.ID, c.name())
		}
		if err == nil {
			con.printf("renamed %s\n", c.ID)
		}
		return plainError(err)
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
