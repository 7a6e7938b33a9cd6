package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/server"
)

type environmentCommand struct {
	Create createEnvironment `cmd:"" help:"Create an environment."`
	List   listEnvironments  `cmd:"" help:"List all environments."`
}

type createEnvironment struct {
	storeFlag
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
	return c.open(ctx, func(store server.Store) error {
		development, err := server.IsDevelopment(ctx, store)
		if err != nil {
			return err
		}
		if development && c.Production {
			return fmt.Errorf("%s is a store of 'countersign dev', which shows all messages without a key; give --store another store", c.name())
		}
		e, err := access.NewService(store, nil).CreateEnvironment(ctx, c.Name, c.Production)
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
	return c.existing(ctx, func(store server.Store) error {
		all, err := store.Environments(ctx)
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
	storeFlag
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
	open := c.open
	if soundsReal(c.Env) {
		open = c.existing // a new store has no such environment
	}
	return open(ctx, func(store server.Store) error {
		keys := access.NewService(store, nil)
		env, err := keys.Environment(ctx, c.Env)
		if errors.Is(err, access.ErrNotFound) && soundsReal(c.Env) {
			return fmt.Errorf("there is no environment %q; 'countersign environment create %q --production --store %s' makes one", c.Env, c.Env, c.name())
		}
		if errors.Is(err, access.ErrNotFound) {
			if env, err = keys.CreateEnvironment(ctx, c.Env, false); err == nil {
				con.notef("created sandbox environment %q (for production: countersign environment create NAME --production)\n", c.Env)
			}
		}
		if err != nil {
			return err
		}
		text, k, err := keys.CreateKey(ctx, env)
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
	return c.existing(ctx, func(store server.Store) error {
		all, err := store.Keys(ctx)
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
	storeFlag
	ID string `arg:"" help:"The id of the key, key_…, as 'countersign key list' shows it."`
}

func (revokeKey) Help() string {
	return `Example:

  countersign key revoke key_db821386bb69d752 --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *revokeKey) Run(ctx context.Context, con console) error {
	return c.existing(ctx, func(store server.Store) error {
		err := access.NewService(store, nil).Revoke(ctx, access.KeyID(c.ID))
		if errors.Is(err, access.ErrNotFound) {
			return fmt.Errorf("there is no key %s; 'countersign key list --store %s' shows all", c.ID, c.name())
		}
		if err == nil {
			con.printf("revoked %s\n", c.ID)
		}
		return err
	})
}

type factorCommand struct {
	Unlock unlockFactor `cmd:"" help:"Unlock a factor, so its codes can be tried again."`
}

type unlockFactor struct {
	storeFlag
	ID string `arg:"" help:"The id of the factor, auth_factor_…."`
}

func (unlockFactor) Help() string {
	return `Before you lift a lock, find out who guessed codes.

Example:

  countersign factor unlock auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *unlockFactor) Run(ctx context.Context, con console) error {
	id, err := mfa.ParseFactorID(c.ID)
	if err != nil {
		return fmt.Errorf("%q is not the id of a factor", c.ID)
	}
	return c.withService(ctx, mfa.Options{}, func(s *mfa.Service, _ server.Store) error {
		err := s.UnlockFactor(ctx, id)
		switch {
		case errors.Is(err, mfa.ErrNotLocked):
			con.printf("%s is %v\n", id, mfa.ErrNotLocked)
		case err != nil:
			return fmt.Errorf("%s: %w", id, err)
		default:
			con.printf("unlocked %s\n", id)
		}
		return nil
	})
}

// withService calls fn with a Service for what needs no secret: it seals and opens
// nothing.
func (f storeFlag) withService(ctx context.Context, opts mfa.Options, fn func(*mfa.Service, server.Store) error) error {
	return f.existing(ctx, func(store server.Store) error {
		keys, err := secret.NewKeyset()
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

type userCommand struct {
	Unlock unlockUser `cmd:"" help:"Unlock a user, so codes of the user's factors can be tried again."`
}

type unlockUser struct {
	storeFlag
	Env string `required:"" placeholder:"NAME" help:"The user's environment."`
	ID  string `arg:"" help:"The user's id, as it was given at enrollment."`
}

func (unlockUser) Help() string {
	return `Factors that are locked themselves stay locked.

Example:

  countersign user unlock user_42 --env production --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *unlockUser) Run(ctx context.Context, con console) error {
	return c.withService(ctx, mfa.Options{}, func(s *mfa.Service, store server.Store) error {
		env, err := c.environment(ctx, store, c.Env)
		if err != nil {
			return err
		}
		const others = "factors that are locked themselves are unlocked by 'countersign factor unlock'"
		err = s.UnlockUser(ctx, env.ID, c.ID)
		switch {
		case errors.Is(err, mfa.ErrNotFound):
			return fmt.Errorf("environment %q has no user %q: no factor was enrolled with that user_id", env.Name, c.ID)
		case errors.Is(err, mfa.ErrNotLocked):
			con.printf("user %s is %v; %s\n", c.ID, mfa.ErrNotLocked, others)
		case err != nil:
			return err
		default:
			con.printf("unlocked user %s; %s\n", c.ID, others)
		}
		return nil
	})
}

type migrateCommand struct {
	storeFlag
	Distribute bool `help:"PostgreSQL with Citus: distribute the tables by bucket."`
}

func (migrateCommand) Help() string {
	return `'serve' does this when it starts. Run this command first if the account of the server may not change the schema.

Examples:

  countersign migrate --store 'postgres://admin@db/countersign?sslmode=verify-full'
  countersign migrate --store 'postgres://admin@coordinator/countersign?sslmode=verify-full' --distribute`
}

func (c *migrateCommand) Run(ctx context.Context, con console) error {
	if c.Distribute { // the store cannot be opened while only some of its tables are distributed
		if err := server.Distribute(ctx, c.Store); err != nil {
			return err
		}
		con.printf("%s is up to date, and its tables are distributed by bucket\n", c.name())
		return nil
	}
	if err := c.open(ctx, func(server.Store) error { return nil }); err != nil {
		return err
	}
	con.printf("%s is up to date\n", c.name())
	return nil
}

type keysetCommand struct {
	Create  createKeyset  `cmd:"" help:"Create a keyset file."`
	Add     addKeyset     `cmd:"" help:"Rotation, step 1: add new keys, which can open values but do not seal them yet."`
	Promote promoteKeyset `cmd:"" help:"Rotation, step 2: use the new keys to seal."`
	Retire  retireKeyset  `cmd:"" help:"Rotation, step 3: remove the old keys."`
}

func (keysetCommand) Help() string {
	return `To rotate without downtime, run add, promote and retire in this order. After each, give the file to every node
and send it SIGHUP (or restart it). After promote, nodes seal old rows again in the background, within about 10 minutes.
Wait for "all rows are sealed under the newest key" in the log, and then a day, because recorded answers are kept for
24 hours. Then run retire.

Example:

  countersign keyset add /var/lib/countersign/countersign.db.keyset`
}

type keysetFile struct {
	File string `arg:"" type:"path" help:"The keyset file, such as countersign.db.keyset."`
}

type createKeyset struct{ keysetFile }

func (c *createKeyset) Run(con console) error {
	if _, err := secret.CreateKeysetFile(c.File); err != nil {
		return err
	}
	con.printf("created %s; back it up, but not in the same place as the store, which cannot be read without it\n", c.File)
	return nil
}

// rewrite puts the file through one step of a rotation.
func (f keysetFile) rewrite(con console, done string, step func(*secret.Keyset) (*secret.Keyset, error)) error {
	keys, err := secret.ReadKeysetFile(f.File)
	if err != nil {
		return err
	}
	if keys, err = step(keys); err != nil {
		return err
	}
	if err := secret.WriteKeysetFile(f.File, keys); err != nil {
		return err
	}
	con.printf("%s\n", done)
	return nil
}

type addKeyset struct{ keysetFile }

func (c *addKeyset) Run(con console) error {
	return c.rewrite(con, "added; next: give the file to every node, send SIGHUP, then 'keyset promote'", (*secret.Keyset).Add)
}

type promoteKeyset struct{ keysetFile }

func (c *promoteKeyset) Run(con console) error {
	return c.rewrite(con, "promoted; next: give the file to every node, send SIGHUP, wait for \"all rows are sealed under the newest key\" in the log and then a day, then 'keyset retire'", (*secret.Keyset).Promote)
}

type retireKeyset struct {
	keysetFile
	Store     string `placeholder:"STORE" help:"The store that the keyset seals. All rows are read; if one of them needs an old key, nothing is changed."`
	Unchecked bool   `help:"Retire without reading a store. Values that are sealed under the old keys are lost."`
}

func (retireKeyset) Help() string {
	return `The check reads the whole store. The server may be running.

Example:

  countersign keyset retire /var/lib/countersign/countersign.db.keyset --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *retireKeyset) Run(ctx context.Context, con console) error {
	return c.rewrite(con, "retired; next: give the file to every node and send SIGHUP", func(keys *secret.Keyset) (*secret.Keyset, error) {
		retired, err := keys.Retire()
		if err != nil || c.Unchecked {
			return retired, err
		}
		if c.Store == "" {
			return nil, errors.New("give --store, so its rows can be checked for the old keys, or --unchecked")
		}
		return retired, storeFlag{Store: c.Store}.existing(ctx, func(store server.Store) error {
			return server.OldKeysUnused(ctx, store, keys, time.Now())
		})
	})
}
