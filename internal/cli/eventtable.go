package cli

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/eventexport"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// shownTime has the form of times that commands print.
const shownTime = "2006-01-02 15:04:05Z"

// An eventTable prints events in aligned columns as they arrive. A value that is wider than
// its column widens the column from then on. The longest column is the last: a narrow
// terminal wraps only the ids.
type eventTable struct {
	w       io.Writer
	several bool // there is a column for the environment
	widths  []int
}

// newEventTable returns a table whose columns fit a sample.
func newEventTable(w io.Writer, several bool, sample []namedEvent) *eventTable {
	t := &eventTable{w: w, several: several}
	t.widths = make([]int, len(t.names()))
	t.fit(t.names())
	for i := range sample {
		t.fit(t.row(&sample[i]))
	}
	return t
}

func (t *eventTable) names() []string {
	names := []string{"TIME", "WHAT", "USER", "IP ADDRESS", "REASON", "CALLER", "SUBJECT"}
	if t.several {
		return append([]string{"TIME", "ENVIRONMENT"}, names[1:]...)
	}
	return names
}

func (t *eventTable) row(e *namedEvent) []string {
	row := []string{e.At.UTC().Format(shownTime)}
	if t.several {
		row = append(row, e.env)
	}
	_, subject, reason := eventwire.Resource(&e.Event)
	if reason == "wrong_code" {
		reason = "" // the words of the type say it
	}
	if subject == "" || e.Type == mfa.Viewed {
		subject = factorOf(&e.Event)
	}
	if e.Kind != "" {
		subject = string(e.Kind) + " " + subject
	}
	row = append(row, eventexport.Words(e.Type), e.User, e.IPAddress, reason, callerOf(&e.Event), subject)
	for i, value := range row {
		row[i] = printable(value)
	}
	return row
}

// callerOf returns the caller of an event, in a form that is not empty.
func callerOf(e *events.Event) string { return cmp.Or(e.Caller, "system") }

func factorOf(e *events.Event) string {
	if e.Factor == (mfa.FactorID{}) {
		return ""
	}
	return e.Factor.String()
}

// printable returns a value as it can be shown on a terminal: applications choose user ids,
// and a control character could change what the terminal shows.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

func (t *eventTable) fit(row []string) {
	for i, value := range row {
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(value))
	}
}

func (t *eventTable) print(e namedEvent) error {
	return t.line(t.row(&e))
}

// begin prints the names of the columns.
func (t *eventTable) begin() error { return t.line(t.names()) }

func (t *eventTable) line(row []string) error {
	t.fit(row)
	var b strings.Builder
	for i, value := range row {
		b.WriteString(value)
		if i < len(row)-1 {
			b.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(value)+2))
		}
	}
	b.WriteByte('\n')
	_, err := io.WriteString(t.w, b.String())
	return err
}

// printCounts prints counts in the form of the flags.
func (c *listEvents) printCounts(con console, counts []*count) error {
	const format = "2006-01-02T15:04:05.000Z"
	switch {
	case c.JSON:
		enc := json.NewEncoder(con.out)
		enc.SetEscapeHTML(false)
		for _, n := range counts {
			if err := enc.Encode(struct {
				Count int    `json:"count"`
				First string `json:"first"`
				Last  string `json:"last"`
				Value string `json:"value"`
			}{n.n, n.first.UTC().Format(format), n.last.UTC().Format(format), n.value}); err != nil {
				return err
			}
		}
		return nil
	case c.CSV:
		w := csv.NewWriter(con.out)
		rows := [][]string{{"count", "first", "last", c.CountBy}}
		for _, n := range counts {
			rows = append(rows, []string{strconv.Itoa(n.n), n.first.UTC().Format(format), n.last.UTC().Format(format), eventexport.SpreadsheetText(n.value)})
		}
		return w.WriteAll(rows)
	}
	w := tabwriter.NewWriter(con.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "COUNT\tFIRST\tLAST\t%s\n", strings.ToUpper(c.CountBy))
	for _, n := range counts {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", n.n, n.first.UTC().Format(shownTime), n.last.UTC().Format(shownTime), printable(n.value))
	}
	return w.Flush()
}
