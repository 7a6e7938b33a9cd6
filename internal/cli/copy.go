package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/progress"
	"github.com/countersign-mfa/countersign/internal/server"
)

type copyCommand struct {
	From   string `placeholder:"STORE" help:"The store to copy: sqlite:PATH or a postgres:// URL. Stop its servers first: from the start of the copy on they answer 503."`
	To     string `placeholder:"STORE" help:"The new store. It must be empty."`
	Unmark string `placeholder:"STORE" help:"Instead of a copy: allow servers to use this old store again."`
	asFlag
}

func (copyCommand) Help() string {
	return `Ids, keys and secrets stay the same, and clients notice no difference. Give the servers of the new store the same
keyset. From the start of the copy on, the old store accepts no writes: a server that still runs on it answers 503 and is
not ready. If the copy is interrupted, run it again and it continues, or use the old store again after --unmark. At the
end all rows of both stores are read and compared.

Examples:

  countersign copy --from sqlite:/var/lib/countersign/countersign.db --to 'postgres://countersign@db/countersign?sslmode=verify-full'
  countersign copy --from 'postgres://countersign@db/countersign?sslmode=verify-full' --to sqlite:/var/lib/countersign/back.db`
}

func (c *copyCommand) Run(ctx context.Context, con console) error {
	log := slog.New(slog.DiscardHandler)
	if c.Unmark != "" {
		return server.Unmark(ctx, c.Unmark, log)
	}
	if c.From == "" || c.To == "" {
		return errors.New("copy needs --from and --to")
	}
	if path, ok := config.SQLitePath(c.From); ok {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("there is no store at %s: %w", path, err)
		}
	}
	bar := con.progress(progress.Rows)
	report := func(kind string, rows int) {
		bar.Clear()
		con.printf("%-18s %9d rows, the same in both\n", kind, rows)
	}
	err := server.Copy(ctx, c.by(""), c.From, c.To, log, report, bar.Report)
	bar.Clear()
	if err != nil {
		return err
	}
	con.printf("copied %s to %s; start servers there, with the same --keyset\n", config.StoreName(c.From), config.StoreName(c.To))
	return nil
}
