package cli

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/progress"
	"github.com/countersign-mfa/countersign/internal/server"
)

type backupCommand struct {
	storeFlag
	File      string `arg:"" help:"The file to write. It gets this name when the backup is complete and checked. Only its owner can read it."`
	Overwrite bool   `help:"Replace an existing file."`
}

func (backupCommand) Help() string {
	return `The store may be in use: the backup contains the data that was stored when the command started. It does not contain
the keyset, and cannot be read without it: back up the keyset in another place.

Example:

  countersign backup /var/backups/countersign/countersign.db --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *backupCommand) Run(ctx context.Context, con console) error {
	bar := con.progress(progress.Bytes)
	size, err := server.Backup(ctx, c.Store, c.File, c.Overwrite, func(done, total int64) { bar.Report("backup", done, total) })
	bar.Clear()
	if err != nil {
		return err
	}
	con.printf("backed up %s to %s, %d bytes; it cannot be read without the keyset, which is not in it\n", c.name(), c.File, size)
	return nil
}

type restoreCommand struct {
	storeFlag
	File   string `arg:"" help:"The backup, made by 'countersign backup'."`
	Keyset string `placeholder:"SOURCE" help:"The keyset that opens the backup: file:PATH, env:NAME or exec:COMMAND. Default the file next to the store."`
}

func (restoreCommand) Help() string {
	return `Stop the server first: a store in use is refused, and so is a backup that is damaged or that the keyset does not open.
The files that are replaced are kept next to the store, and their name is printed. Codes that were accepted after the
backup was made could be accepted again: wait 10 minutes between the failure and the start of the server.

Example:

  countersign restore /var/backups/countersign/countersign.db --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *restoreCommand) Run(ctx context.Context, con console) error {
	bar := con.progress(progress.Bytes)
	kept, err := server.Restore(ctx, c.File, config.Config{Store: c.Store, Keyset: c.Keyset}, con.now(), func(done, total int64) { bar.Report("restore", done, total) })
	bar.Clear()
	if err != nil {
		return err
	}
	con.printf("restored %s to %s\n", c.File, c.name())
	if kept != "" {
		con.printf("the replaced store is kept as %s; delete it and the files that begin with its name when you do not need them\n", kept)
	}
	return nil
}
