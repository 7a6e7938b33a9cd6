package cli

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of settings in docs/operating.md")

// TestOperatingListsEverySetting compares the table of settings in docs/operating.md with
// the flags of serve. With -update it writes the table.
func TestOperatingListsEverySetting(t *testing.T) {
	const page, begin, end = "../../docs/operating.md", "<!-- settings: written by `make docs` from internal/config -->\n", "<!-- end of settings -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	table, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", page)
	}
	want := settings(t)
	switch {
	case table == want:
	case *update:
		if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not have the settings of internal/config; run 'make docs'. The table is\n%s\nwant\n%s", page, table, want)
	}
}

// ownDefault is the sentence of a help text about a default that is not the value of the flag.
var ownDefault = regexp.MustCompile(` Default ([^.]+)\.`)

// settings returns the flags of serve as a table in Markdown.
func settings(t *testing.T) string {
	t.Helper()
	parser, _ := newParser(t)
	var b strings.Builder
	b.WriteString("| setting | default | meaning |\n|---|---|---|\n")
	for _, command := range parser.Model.Leaves(true) {
		if command.Name != "serve" {
			continue
		}
		for _, f := range command.Flags {
			if f.Name == "help" || f.Name == "config" {
				continue
			}
			value, meaning := "", strings.Replace(f.Help, " Default "+f.Default+".", "", 1)
			if f.HasDefault && f.Default != "" {
				value = "`" + f.Default + "`"
			}
			if m := ownDefault.FindStringSubmatch(meaning); m != nil { // in words
				value, meaning = m[1], strings.Replace(meaning, m[0], "", 1)
			}
			if note := f.Tag.Get("note"); note != "" {
				meaning += " " + note
			}
			meaning = strings.ReplaceAll(meaning, "|", "\\|")
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ReplaceAll(f.Name, "-", "_"), value, meaning)
		}
	}
	return b.String()
}
