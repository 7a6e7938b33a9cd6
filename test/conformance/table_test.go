package conformance_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

var update = flag.Bool("update", false, "rewrite the generated parts of docs/clients.md and skips.txt")

// A row holds the results of one client.
type row struct {
	client client
	lines  map[string]line // by step
}

// A cell holds the results of one operation of one client.
type cell struct {
	passed, skipped, failed int
	reasons                 []string // why steps were skipped; each reason appears once
}

// mark returns the result of an operation as a word or a sign.
func (c cell) mark() string {
	switch {
	case c.failed > 0 || c.passed+c.skipped == 0:
		return "FAILED"
	case c.passed == 0:
		return "–"
	case len(c.reasons) > 0:
		return "◐"
	default:
		return "✓"
	}
}

func (r row) cell(op operation) cell {
	var c cell
	for _, s := range steps {
		if s.operation != op {
			continue
		}
		l, ok := r.lines[s.name]
		switch {
		case !ok || !l.OK:
			c.failed++
		case l.Skipped:
			c.skipped++
			if !s.missesNothing() {
				c.reasons = appendNew(c.reasons, l.Detail)
			}
		default:
			c.passed++
		}
	}
	return c
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// notes numbers the reasons why steps were skipped, in the order of the table.
type notes struct{ reasons []string }

// refer returns the numbers of a cell's reasons, as "1,3".
func (n *notes) refer(reasons []string) string {
	var numbers []string
	for _, reason := range reasons {
		n.reasons = appendNew(n.reasons, reason)
		for i, have := range n.reasons {
			if have == reason {
				numbers = append(numbers, fmt.Sprint(i+1))
			}
		}
	}
	return strings.Join(numbers, ",")
}

// text returns the table for a terminal.
func text(rows []row) string {
	var out bytes.Buffer
	var n notes
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "client\tby")
	for _, op := range operations {
		fmt.Fprintf(w, "\t%s", op)
	}
	fmt.Fprintln(w)
	for _, r := range rows {
		fmt.Fprintf(w, "%s %s\t%s", r.client.language, r.client.version, r.client.by)
		for _, op := range operations {
			c := r.cell(op)
			fmt.Fprintf(w, "\t%s", c.mark())
			if refs := n.refer(c.reasons); refs != "" {
				fmt.Fprintf(w, " (%s)", refs)
			}
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	out.WriteString("✓ works; ◐ works but for what a number names; – the library cannot do it; wire: its requests were replayed\n")
	for i, reason := range n.reasons {
		fmt.Fprintf(&out, "(%d) %s\n", i+1, reason)
	}
	return out.String()
}

// markdown returns the table for docs/clients.md.
func markdown(rows []row) string {
	var out strings.Builder
	var n notes
	out.WriteString("| client | generation | proven by |")
	for _, op := range operations {
		fmt.Fprintf(&out, " %s |", op)
	}
	out.WriteString("\n|---|---|---|" + strings.Repeat(":-:|", len(operations)) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&out, "| %s %s | %s | %s |", r.client.language, r.client.version, r.client.generation, r.client.by)
		for _, op := range operations {
			c := r.cell(op)
			out.WriteString(" " + c.mark())
			if refs := n.refer(c.reasons); refs != "" {
				fmt.Fprintf(&out, "<sup>%s</sup>", refs)
			}
			out.WriteString(" |")
		}
		out.WriteString("\n")
	}
	out.WriteString("\n")
	for i, reason := range n.reasons {
		fmt.Fprintf(&out, "%d. %s\n", i+1, reason)
	}
	return out.String()
}

// skips returns the steps that each client skips and the reasons, one line per step.
func skips(rows []row) string {
	var out strings.Builder
	for _, r := range rows {
		for _, s := range steps {
			if l := r.lines[s.name]; l.Skipped {
				fmt.Fprintf(&out, "%s %s: %s: %s\n", r.client.language, r.client.version, s.name, l.Detail)
			}
		}
	}
	return out.String()
}

// sameSkips checks that no client skips more steps than skips.txt lists: the table
// by itself would not show it.
func sameSkips(t *testing.T, got string) {
	t.Helper()
	const path = "skips.txt"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Split(string(want), "\n")
	given := strings.Split(got, "\n")
	for _, l := range given {
		if !slices.Contains(wanted, l) {
			t.Errorf("skipped, but %s does not list it: %s", path, l)
		}
	}
	for _, l := range wanted {
		if !slices.Contains(given, l) {
			t.Errorf("%s lists it as skipped, but it was run: %s", path, l)
		}
	}
}

const clientsPage = "../../docs/clients.md"

var pageLock sync.Mutex // parallel tests write their parts

// inPage checks that docs/clients.md contains text between the comments that mark the
// beginning and end of a part. If the tests run with -update, it writes the text there.
func inPage(t *testing.T, part, want string) {
	t.Helper()
	inDocument(t, clientsPage, part, want)
}

// inDocument is inPage for another page.
func inDocument(t *testing.T, path, part, want string) {
	t.Helper()
	pageLock.Lock()
	defer pageLock.Unlock()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- begin "+part+" -->\n", "<!-- end "+part+" -->"
	before, rest, ok := strings.Cut(string(page), begin)
	have, after, ok2 := strings.Cut(rest, end)
	switch {
	case !ok || !ok2:
		t.Errorf("%s has no part %q", path, part)
	case have == want:
	case *update:
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: the part %q differs from the results of this run. Update it with:\n  make docs\nIt has:\n%s\nwant:\n%s", path, part, have, want)
	}
}
