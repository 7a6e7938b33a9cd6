package cli

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
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

type statsCommand struct {
	Events   statsEvents   `cmd:"" default:"withargs" help:"Show enrollments, challenges, codes and locks over time."`
	SMS      statsSMS      `cmd:"" name:"sms" help:"Show messages by country, provider and prefix, with their cost."`
	Coverage statsCoverage `cmd:"" help:"Show how many users have one factor, two or more, one that resists phishing, and recovery codes."`
}

// statsFlags are the flags of all questions about statistics.
type statsFlags struct {
	storeFlag
	Env  string `placeholder:"NAME" help:"The environment. Default all environments."`
	JSON bool   `name:"json" help:"Print a JSON object for each environment." xor:"form"`
}

// statsSpan selects the time.
type statsSpan struct {
	Since string `default:"24h" placeholder:"TIME" help:"From when on: 24h or 90d ago, or a time such as 2026-11-30T09:00:00Z. Default ${default}."`
	Until string `placeholder:"TIME" help:"Until when, likewise. Default now."`
	Step  string `enum:",hour,day,month" default:"" placeholder:"hour|day|month" help:"Length of the periods. Default hours up to 3 days, days up to 93 days, else months."`
	Zone  string `name:"time-zone" default:"UTC" placeholder:"ZONE" help:"Time zone in which days and months begin, such as Europe/Berlin. Default ${default}."`
	CSV   bool   `name:"csv" help:"Print the periods in CSV." xor:"form"`
}

func (f statsSpan) query(now time.Time) (q operator.StatsQuery, err error) {
	if q.Since, err = pastTime(f.Since, now); err != nil {
		return q, fmt.Errorf("--since: %w", err)
	}
	if q.Until, err = pastTime(f.Until, now); err != nil {
		return q, fmt.Errorf("--until: %w", err)
	}
	if q.Zone, err = time.LoadLocation(f.Zone); err != nil {
		return q, fmt.Errorf("--time-zone: %q is not the name of a time zone, such as Europe/Berlin", f.Zone)
	}
	q.Step = stepOf(f.Step)
	return q, nil
}

// each calls fn for the environment of the flags, or for every environment.
func (f statsFlags) each(ctx context.Context, prices, keyset string, fn func(*operator.Service, mfa.Environment) error) error {
	cfg := f.config()
	cfg.SMSPrices, cfg.Keyset = prices, keyset
	return server.WithOperator(ctx, cfg, func(s *operator.Service) error {
		var all []mfa.Environment
		if f.Env != "" {
			env, err := f.environment(ctx, s, f.Env)
			if err != nil {
				return err
			}
			all = append(all, env)
		} else {
			var err error
			if all, err = s.Environments(ctx); err != nil {
				return err
			}
		}
		for _, env := range all {
			err := fn(s, env)
			if wrong, ok := errors.AsType[*mfa.InvalidError](err); ok {
				return fmt.Errorf("--%s", wrong.Fields[0].Message)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

type statsEvents struct {
	statsFlags
	statsSpan
}

func (statsEvents) Help() string {
	return `Shows counts that the servers keep for each hour (docs/statistics.md). REFUSED counts events: many refused codes of one
challenge leave few of them.

Examples:

  countersign stats --env production --store sqlite:/var/lib/countersign/countersign.db
  countersign stats --env production --since 90d --step day --time-zone Europe/Berlin --csv`
}

var statsColumns = []string{"enrolled", "deleted", "challenges", "right", "wrong", "refused", "voided", "locked", "unlocked", "suspended", "bypassed"}

func statsValues(n *operator.StatsNumbers) []int64 {
	return []int64{n.Enrolled, n.Deleted, n.Challenges, n.Right, n.Wrong, n.Refused, n.Voided, n.Locked, n.Unlocked, n.Suspended, n.Bypassed}
}

func (c *statsEvents) Run(ctx context.Context, con console) error {
	q, err := c.query(con.now())
	if err != nil {
		return err
	}
	out := newStatsTable(con, c.CSV, statsColumns)
	return c.each(ctx, "", "", func(s *operator.Service, env mfa.Environment) error {
		answer, err := s.Stats(ctx, env, q)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(con, statsJSON(env, &answer))
		}
		out.begin(env, answer.Since, answer.Until, answer.CountedTo)
		for i := range answer.Periods {
			p := &answer.Periods[i]
			out.row(env, p.Start, p.End, q.Zone, answer.Step, numbersText(statsValues(&p.Numbers)))
		}
		out.total(numbersText(statsValues(&answer.Total.Numbers)))
		if !c.CSV {
			c.details(con, &answer.Total)
		}
		return out.flush()
	})
}

// details prints the total by type of factor and by reason.
func (c *statsEvents) details(con console, a *operator.StatsActivity) {
	w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
	if len(a.Types) > 0 {
		fmt.Fprintf(w, "\nFACTOR TYPE\t%s\n", strings.ToUpper(strings.Join(statsColumns, "\t")))
		for i := range a.Types {
			t := &a.Types[i]
			fmt.Fprintf(w, "%s\t%s\n", cmp.Or(string(t.Type), "-"), strings.Join(numbersText(statsValues(&t.Numbers)), "\t"))
		}
		w.Flush()
	}
	if len(a.Reasons) > 0 {
		fmt.Fprintln(w, "\nEVENT\tFACTOR TYPE\tREASON\tCOUNT")
		for _, r := range a.Reasons {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", r.Event, cmp.Or(string(r.Type), "-"), r.Reason, r.Count)
		}
		w.Flush()
	}
}

func numbersText(all []int64) []string {
	texts := make([]string, len(all))
	for i, n := range all {
		texts[i] = strconv.FormatInt(n, 10)
	}
	return texts
}

type statsSMS struct {
	statsFlags
	statsSpan
	keysetFlag
	Prices string `name:"sms-prices" type:"path" placeholder:"FILE" help:"File of the prices of messages, in CSV, as for serve. Default none: the cost is unknown."`
}

func (statsSMS) Help() string {
	return `A message counts in the hour in which its challenge was created, and so do its receipts and its code. VERIFIED divided by
SENT is the conversion. The digits of a prefix are shown only while the server counts its messages, and with the keyset.

Examples:

  countersign stats sms --env production --config /etc/countersign.yaml
  countersign stats sms --env production --since 30d --sms-prices prices.csv --json`
}

var messageColumns = []string{"sent", "delivered", "undelivered", "failed", "verified", "conversion", "segments", "cost"}

func messageValues(m *operator.SMSMessages) []string {
	conversion := "-"
	if m.Sent > 0 {
		conversion = fmt.Sprintf("%.1f%%", 100*float64(m.Verified)/float64(m.Sent))
	}
	return append(numbersText([]int64{m.Sent, m.Delivered, m.Undelivered, m.Failed, m.Verified}), conversion, strconv.FormatInt(m.Segments, 10), costText(m))
}

// costText returns the known cost, and whether a part is unknown.
func costText(m *operator.SMSMessages) string {
	var parts []string
	for _, c := range m.Costs {
		parts = append(parts, c.Amount()+" "+c.Currency)
	}
	switch {
	case m.Unpriced > 0 && len(parts) == 0:
		return "unknown"
	case m.Unpriced > 0:
		parts = append(parts, "unknown")
	case len(parts) == 0:
		return "0"
	}
	return strings.Join(parts, " + ")
}

func (c *statsSMS) Run(ctx context.Context, con console) error {
	q, err := c.query(con.now())
	if err != nil {
		return err
	}
	out := newStatsTable(con, c.CSV, messageColumns)
	return c.each(ctx, c.Prices, c.Keyset, func(s *operator.Service, env mfa.Environment) error {
		answer, err := s.SMSStats(ctx, env, q)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(con, operatorwire.NewMessageStatistics(env, answer))
		}
		out.begin(env, answer.Since, answer.Until, answer.CountedTo)
		for i := range answer.Periods {
			p := &answer.Periods[i]
			out.row(env, p.Start, p.End, q.Zone, answer.Step, messageValues(&p.Messages))
		}
		out.total(messageValues(&answer.Total))
		if !c.CSV {
			c.details(con, &answer)
		}
		return out.flush()
	})
}

// details prints the messages by country and provider, and by prefix.
func (c *statsSMS) details(con console, answer *operator.SMSStats) {
	w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
	if len(answer.Routes) > 0 {
		fmt.Fprintf(w, "\nCOUNTRY\tPROVIDER\t%s\n", strings.ToUpper(strings.Join(messageColumns, "\t")))
		for i := range answer.Routes {
			r := &answer.Routes[i]
			fmt.Fprintf(w, "%s\t%s\t%s\n", cmp.Or(r.Country, "-"), cmp.Or(r.Provider, "none"), strings.Join(messageValues(&r.Messages), "\t"))
		}
		w.Flush()
	}
	if len(answer.Prefixes) > 0 {
		shown := messageColumns[:len(messageColumns)-1]
		fmt.Fprintf(w, "\nPREFIX\tCOUNTRY\t%s\n", strings.ToUpper(strings.Join(shown, "\t")))
		for i := range answer.Prefixes {
			p := &answer.Prefixes[i]
			fmt.Fprintf(w, "%s\t%s\t%s\n", cmp.Or(p.Prefix, p.Reference), cmp.Or(p.Country, "-"), strings.Join(messageValues(&p.Messages)[:len(shown)], "\t"))
		}
		w.Flush()
	}
}

type statsCoverage struct{ statsFlags }

func (statsCoverage) Help() string {
	return `A server counts the users in the background, at most a few minutes after a factor has changed, or later in a large store.
Suspended factors, and factors without a user_id, do not count. Recovery codes are counted separately, and not as a factor.

Example:

  countersign stats coverage --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *statsCoverage) Run(ctx context.Context, con console) error {
	w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(w, "ENVIRONMENT\tUSERS\tONE FACTOR\tTWO OR MORE\tPHISHING-RESISTANT\tRECOVERY CODES\tALL SUSPENDED\tCOUNTED AT")
	}
	err := c.each(ctx, "", "", func(s *operator.Service, env mfa.Environment) error {
		got, err := s.Coverage(ctx, env)
		switch {
		case err != nil:
			return err
		case c.JSON:
			return printJSON(con, coverageJSON(env, &got))
		case got.Ended.IsZero():
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t-\tnot yet\n", env.Name)
		default:
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", env.Name, got.Users, share(got.One, got.Users), share(got.TwoOrMore, got.Users),
				share(got.Resistant, got.Users), share(got.Recovery, got.Users), share(got.None, got.Users), got.Ended.UTC().Format(shownTime))
		}
		return nil
	})
	return errors.Join(err, w.Flush())
}

// share returns a number and its share of all.
func share(n, of int64) string {
	if of == 0 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%d (%.0f%%)", n, 100*float64(n)/float64(of))
}

// A statsTable prints periods as a table or in CSV.
type statsTable struct {
	con     console
	columns []string
	csv     *csv.Writer // nil for a table
	table   *tabwriter.Writer
	begun   bool
}

func newStatsTable(con console, asCSV bool, columns []string) *statsTable {
	t := &statsTable{con: con, columns: columns, table: tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)}
	if asCSV {
		t.csv = csv.NewWriter(con.out)
	}
	return t
}

// begin prints the head of the table of an environment.
func (t *statsTable) begin(env mfa.Environment, since, until, counted time.Time) {
	if t.csv != nil {
		if !t.begun {
			t.csv.Write(append([]string{"environment", "start", "end"}, t.columns...))
		}
		t.begun = true
		return
	}
	if t.begun {
		t.con.printf("\n")
	}
	t.begun = true
	t.con.printf("%s, %s to %s", env.Name, since.UTC().Format(shownTime), until.UTC().Format(shownTime))
	if late := t.con.now().Sub(counted); late > time.Minute {
		t.con.printf("; events of the last %s are not counted yet: is a server running?", late.Round(time.Minute))
	}
	t.con.printf("\n")
	fmt.Fprintf(t.table, "FROM\t%s\n", strings.ToUpper(strings.Join(t.columns, "\t")))
}

// row prints a period. A table leaves out periods without numbers.
func (t *statsTable) row(env mfa.Environment, start, end time.Time, zone *time.Location, step operator.StatsStep, values []string) {
	if t.csv != nil {
		t.csv.Write(append([]string{env.Name, start.In(zone).Format(time.RFC3339), end.In(zone).Format(time.RFC3339)}, values...))
		return
	}
	empty := true
	for _, v := range values {
		empty = empty && (v == "0" || v == "-")
	}
	if !empty {
		fmt.Fprintf(t.table, "%s\t%s\n", start.In(zone).Format(stepFormat[step]), strings.Join(values, "\t"))
	}
}

var stepFormat = map[operator.StatsStep]string{
	operator.StatsHour: "2006-01-02 15:04 MST", operator.StatsDay: "2006-01-02", operator.StatsMonth: "2006-01",
}

func stepOf(text string) operator.StatsStep { return operator.StatsStep(text) }

func (t *statsTable) total(values []string) {
	if t.csv == nil {
		fmt.Fprintf(t.table, "total\t%s\n", strings.Join(values, "\t"))
		t.table.Flush()
	}
}

func (t *statsTable) flush() error {
	if t.csv == nil {
		return nil
	}
	t.csv.Flush()
	return t.csv.Error()
}

func printJSON(con console, v any) error {
	enc := json.NewEncoder(con.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
