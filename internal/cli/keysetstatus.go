package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/countersign-mfa/countersign/internal/progress"
	"github.com/countersign-mfa/countersign/internal/server"
)

type keysetStatus struct {
	storeFlag
	keysetFlag
	All  bool `help:"Count all rows. Default the first 20,000 of each kind."`
	JSON bool `name:"json" help:"Print JSON."`
}

func (keysetStatus) Help() string {
	return `Nothing is changed, and the server may be running.

Example:

  countersign keyset status --config /etc/countersign.yaml`
}

func (c *keysetStatus) Run(ctx context.Context, con console) error {
	cfg := c.config()
	cfg.Keyset = c.Keyset
	bar := con.progress(progress.Rows)
	report := func(kind string, rows int) { bar.Report(kind, int64(rows), 0) }
	if c.JSON {
		report = func(string, int) {}
	}
	status, err := server.StatusOfKeyset(ctx, cfg, c.All, report)
	bar.Clear()
	if err != nil {
		return err
	}
	if c.JSON {
		b, err := json.MarshalIndent(status, "", "  ")
		if err == nil {
			con.printf("%s\n", b)
		}
		return err
	}
	con.showKeyset(status)
	return nil
}

func (c console) showKeyset(s server.KeysetStatus) {
	c.printf("%s opens the store.\n\n", s.Source)
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tUSE\tSTATE\tROWS")
	for _, k := range s.Keys {
		rows := "-"
		if k.Rows != nil {
			rows = fmt.Sprint(*k.Rows)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", k.ID, k.Use, k.State, rows)
	}
	table.Flush()
	c.printf("\n")
	if s.Rows.All {
		c.printf("All %d rows were counted.", s.Rows.Counted)
	} else {
		c.printf("%d rows were counted, not all: the first 20,000 of each kind. --all counts all.", s.Rows.Counted)
	}
	c.printf(" %s\n", needOld(s))
	for _, n := range s.Nodes {
		has := "has this keyset"
		if !n.Current {
			has = "has another keyset, which seals with " + n.Key
		}
		c.printf("%s at %s %s.\n", printable(n.Name), printable(n.Address), has)
	}
	for _, step := range s.Steps {
		c.printf("%s  %s, by %s\n", step.At.UTC().Format(time.DateTime), step.Step, strings.TrimPrefix(step.By, "operator:"))
	}
	c.printf("Next: %s\n", s.Next)
}

// needOld says how far the rows have been sealed again.
func needOld(s server.KeysetStatus) string {
	if s.Rows.NeedOldKey == 0 {
		return "None of them needs an old key."
	}
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(s.Rows.ByKind)) {
		kinds = append(kinds, fmt.Sprintf("%d of %s", s.Rows.ByKind[kind], kind))
	}
	return fmt.Sprintf("%d of them need an old key: %s.", s.Rows.NeedOldKey, strings.Join(kinds, ", "))
}
