package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/progress"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/server"
)

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
	if err := server.Migrate(ctx, c.Store); err != nil {
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
	Status  keysetStatus  `cmd:"" help:"Show the keys, how many rows need each, and the next step of a rotation."`
}

func (keysetCommand) Help() string {
	return `To rotate without downtime, run add, promote and retire in this order. After each, give the file to every node
and send it SIGHUP (or restart it). After promote, nodes seal old rows again in the background, within about 10 minutes.
Before promote, wait five minutes if services check signed receipts: they keep the public keys for so long.
Wait for "all rows are sealed under the newest key" in the log, and then a day, because recorded answers are kept for
24 hours. Then run retire.

Example:

  countersign keyset add /var/lib/countersign/countersign.db.keyset`
}

type keysetFile struct {
	File string `arg:"" type:"path" help:"The keyset file, such as countersign.db.keyset."`
}

type createKeyset struct{ keysetFile }

// A rotation has the flags of a step of a rotation.
type rotation struct {
	keysetFile
	asFlag
	Store string `placeholder:"STORE" help:"The store that the keyset seals; an event in it records the step. Default the SQLite store next to the file, which has its name without .keyset."`
}

// store returns the store of the keyset, or "" if it is not known.
func (r rotation) store() string {
	path, ok := strings.CutSuffix(r.File, ".keyset")
	if r.Store != "" || !ok {
		return r.Store
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return "sqlite:" + path
}

func (c *createKeyset) Run(con console) error {
	if _, err := secret.CreateKeysetFile(c.File); err != nil {
		return err
	}
	con.printf("created %s; back it up, but not in the same place as the store, which cannot be read without it\n", c.File)
	return nil
}

// rewrite puts the file through one step of a rotation.
func (r rotation) rewrite(ctx context.Context, con console, name, done string, step func(*secret.Keyset) (*secret.Keyset, error)) error {
	by := r.by("")
	if err := by.Check(); err != nil {
		return err
	}
	keys, err := secret.ReadKeysetFile(r.File)
	if err != nil {
		return err
	}
	if keys, err = step(keys); err != nil {
		return err
	}
	if err := secret.WriteKeysetFile(r.File, keys); err != nil {
		return err
	}
	con.printf("%s\n", done)
	store := r.store()
	if store == "" {
		con.notef("countersign: no event records this step, because the store is not known; give --store next time\n")
		return nil
	}
	err = server.WithOperator(ctx, config.Config{Store: store}, func(s *operator.Service) error { return s.KeysetRotated(ctx, by, name) })
	if err != nil {
		return fmt.Errorf("the keyset is changed, but no event records it: %w", err)
	}
	return nil
}

type addKeyset struct{ rotation }

func (c *addKeyset) Run(ctx context.Context, con console) error {
	return c.rewrite(ctx, con, operator.KeysAdded, "added; next: give the file to every node, send SIGHUP, then 'keyset promote'", (*secret.Keyset).Add)
}

type promoteKeyset struct{ rotation }

func (c *promoteKeyset) Run(ctx context.Context, con console) error {
	return c.rewrite(ctx, con, operator.KeysPromoted, "promoted; next: give the file to every node, send SIGHUP, wait for \"all rows are sealed under the newest key\" in the log and then a day, then 'keyset retire'", (*secret.Keyset).Promote)
}

type retireKeyset struct {
	rotation
	Unchecked bool `help:"Retire without reading a store. Values that are sealed under the old keys are lost, and receipts that they signed can no longer be checked."`
}

func (retireKeyset) Help() string {
	return `All rows of the store are read. If one of them needs an old key, nothing is changed. Nor is it within an hour after
promote, or after the last change of the file, because signed receipts can be valid for so long. The server may be running.

Example:

  countersign keyset retire /var/lib/countersign/countersign.db.keyset --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *retireKeyset) Run(ctx context.Context, con console) error {
	return c.rewrite(ctx, con, operator.KeysRetired, "retired; next: give the file to every node and send SIGHUP", func(keys *secret.Keyset) (*secret.Keyset, error) {
		retired, err := keys.Retire()
		if err != nil || c.Unchecked {
			return retired, err
		}
		store := c.store()
		if store == "" {
			return nil, errors.New("give --store, so its rows can be checked for the old keys, or --unchecked")
		}
		info, err := os.Stat(c.File)
		if err != nil {
			return nil, err
		}
		bar := con.progress(progress.Rows)
		defer bar.Clear()
		return retired, server.OldKeysUnused(ctx, store, keys, info.ModTime(), con.now(), func(kind string, rows int) { bar.Report(kind, int64(rows), 0) })
	})
}
