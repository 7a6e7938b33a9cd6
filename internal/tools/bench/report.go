package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// print writes the tables, next to the tables of an older run unless it is nil.
func (r *Results) print(out io.Writer, old *Results) {
	fmt.Fprintf(out, "%s, commit %s\n%s, %d cores, %s, %s\nrounds: %d of %s; connections: %d; large stores: of %s factors; load and servers share the cores\n\n",
		r.Time.Format("2006-01-02 15:04"), r.Commit, r.Machine.CPU, r.Machine.Cores, r.Machine.Go, r.Machine.Kernel,
		r.Rounds, r.Window, r.Connections, r.Fill)
	if len(r.Flows) > 0 {
		r.printFlows(out, old)
	}
	if len(r.Figures) > 0 {
		r.printFigures(out, old)
	}
	if len(r.Pages) > 0 {
		r.printPages(out)
	}
}

// printPages writes how long the pages of operators took.
func (r *Results) printPages(out io.Writer) {
	w := newTable(out)
	defer w.Flush()
	fmt.Fprintf(w, "PAGE\tSERVER\tREQUESTS\tP50 MS\tP95 MS\tMAX MS\tP95 ≤ %d MS\n", mostOfPage)
	for _, p := range r.Pages {
		verdict := "no"
		if p.P95 <= mostOfPage {
			verdict = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%.1f\t%.1f\t%.1f\t%s\n", p.Name, p.Server, p.Requests, p.P50, p.P95, p.Max, verdict)
	}
}

func newTable(out io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
}

func (r *Results) printFlows(out io.Writer, old *Results) {
	w := newTable(out)
	defer w.Flush()
	fmt.Fprint(w, "FLOW\tSERVER\t/S\tP50 MS\tP99 MS\tSERVER µS\tDATABASE µS\tLOAD µS\tBUSY\tREFUSED")
	if old != nil {
		fmt.Fprintf(w, "\t/S AT %s\tNOW", old.Commit)
	}
	fmt.Fprintln(w)
	var seen []string
	for _, m := range r.Flows {
		name := m.Flow + "\t" + m.Server
		if slices.Contains(seen, name) {
			continue
		}
		seen = append(seen, name)
		of := func(value func(Measurement) float64) float64 { return median(r.of(m.Flow, m.Server, value)) }
		refused := of(func(m Measurement) float64 { return float64(m.Refused) })
		database := func(m Measurement) float64 { return m.Database }
		client := func(m Measurement) float64 { return m.Client }
		busy := func(m Measurement) float64 { return m.Busy }
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.2f\t%.0f",
			name, of(perSecond), of(p50), of(p99), of(cpu), of(database), of(client), of(busy), refused)
		if old != nil {
			before := median(old.of(m.Flow, m.Server, perSecond))
			fmt.Fprintf(w, "\t%.0f\t%s", before, times(of(perSecond), before))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

func (r *Results) printFigures(out io.Writer, old *Results) {
	w := newTable(out)
	defer w.Flush()
	fmt.Fprint(w, "FIGURE\tSERVER\tREACHED\tLOWEST\tHIGHEST\tTO REACH\t")
	if old != nil {
		fmt.Fprintf(w, "\tAT %s\tNOW", old.Commit)
	}
	fmt.Fprintln(w)
	for _, f := range r.Figures {
		wanted, verdict := "", ""
		if t, ok := f.target(); ok {
			wanted, verdict = t.String(), "no"
			if t.met(f.Value) {
				verdict = "yes"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s", f.Name, f.Server, f.text(f.Value),
			f.text(slices.Min(f.Rounds)), f.text(slices.Max(f.Rounds)), wanted, verdict)
		if old != nil {
			before, ok := old.find(f.Name, f.Server)
			was := "–"
			if ok {
				was = f.text(before.Value)
			}
			fmt.Fprintf(w, "\t%s\t%s", was, times(f.Value, before.Value))
		}
		fmt.Fprintln(w)
	}
}

// text writes a value with its unit.
func (f Figure) text(value float64) string {
	text := fmt.Sprintf("%.2f", value)
	if value >= 20 {
		text = fmt.Sprintf("%.0f", value)
	}
	return strings.TrimSpace(text + " " + f.Unit)
}

func (t target) String() string {
	if t.least {
		return fmt.Sprintf("≥ %v", t.value)
	}
	return fmt.Sprintf("≤ %v", t.value)
}

// times writes how many times as much a value is as it was before.
func times(value, before float64) string {
	if before == 0 {
		return "–"
	}
	return fmt.Sprintf("× %.2f", value/before)
}

// columns are the columns of the history in docs/performance.md, after the date,
// the commit and the machine.
var columns = []struct{ name, server string }{
	{"flow", "sqlite"},
	{"flow: CPU", "sqlite"},
	{"flow", "postgres"},
	{"totp", "sqlite"},
	{"get", "sqlite"},
	{"enroll totp", "sqlite"},
	{"p99 at half the peak", "sqlite"},
	{"p99 at half the peak", "postgres"},
	{"one client: p50 over 2 fdatasync", "sqlite"},
	{"goodput at 3 times the peak", "sqlite"},
	{"flow: 10 M factors over 10 k", "sqlite"},
	{"peak RSS, 10 M factors", "sqlite"},
	{"bytes a factor, 10 M factors", "sqlite"},
	{"start to ready, 10 M factors", "sqlite"},
	{"steady: last tenth over first", "sqlite"},
}

// row returns the results as a row of the history.
func (r *Results) row() string {
	machine := fmt.Sprintf("%d × %s, %s, %s", r.Machine.Cores, r.Machine.CPU, r.Machine.Go, r.Machine.Kernel)
	cells := []string{r.Time.Format("2006-01-02"), r.Commit, machine}
	for _, c := range columns {
		f, ok := r.find(c.name, c.server)
		if !ok {
			cells = append(cells, "–")
			continue
		}
		cells = append(cells, f.text(f.Value))
	}
	return "| " + strings.Join(cells, " | ") + " |"
}
