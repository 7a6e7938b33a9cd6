package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/countersign-mfa/countersign/internal/config"
)

// newParser returns a parser of the commands, outside Run.
func newParser(t *testing.T) (*kong.Kong, *commands) {
	t.Helper()
	cmds := new(commands)
	parser, err := kong.New(cmds, kong.Name("countersign"), kong.Configuration(readFile))
	if err != nil {
		t.Fatal(err)
	}
	return parser, cmds
}

// TestTheCommandLineStartsFromTheDefaults compares the defaults in the tags with
// the defaults of the library.
func TestTheCommandLineStartsFromTheDefaults(t *testing.T) {
	for _, command := range []string{"serve", "dev"} {
		parser, cmds := newParser(t)
		if _, err := parser.Parse([]string{command}); err != nil {
			t.Fatal(err)
		}
		settings := cmds.Serve.Settings
		if command == "dev" {
			settings = cmds.Dev.Settings
		}
		if want := config.Default(); !reflect.DeepEqual(settings, want) {
			t.Errorf("%s without arguments has\n%+v; config.Default is\n%+v", command, settings, want)
		}
	}
}

// aliases are the short forms in the path of a command, "environment (env) list".
var aliases = regexp.MustCompile(` \([a-z,]+\)`)

func TestEveryCommandHelps(t *testing.T) {
	parser, _ := newParser(t)
	withExamples := map[string]bool{"dev": true, "serve": true, "environment create": true, "key create": true}
	for _, leaf := range parser.Model.Leaves(true) {
		name := aliases.ReplaceAllString(strings.TrimPrefix(leaf.FullPath(), "countersign "), "")
		var out, errs bytes.Buffer
		code := Run(t.Context(), append(strings.Fields(name), "--help"), &out, &errs)
		if code != 0 || errs.Len() > 0 || !strings.HasPrefix(out.String(), "Usage: "+leaf.FullPath()) {
			t.Errorf("%s --help: exit code %d, %q, %q", name, code, &out, &errs)
		}
		if has := strings.Contains(out.String(), "Example"); withExamples[name] && !has {
			t.Errorf("%s --help has no example:\n%s", name, &out)
		}
		for _, flag := range leaf.Flags {
			if flag.Help == "" && !flag.Hidden {
				t.Errorf("%s --%s has no help", name, flag.Name)
			}
		}
		if strings.Contains(out.String(), ",...,...") { // the parser adds ",..." to the placeholder of a list
			t.Errorf("%s --help shows a list twice:\n%s", name, &out)
		}
	}
}

// TestTheExamplesAreCommands parses every example of every help text.
func TestTheExamplesAreCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "countersign.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile(`(?m)(?:^ +|\$\()countersign ((?:[a-z-]+ )*[^)\n]+)`)
	parser, _ := newParser(t)
	texts := []string{description}
	for _, leaf := range parser.Model.Leaves(true) {
		texts = append(texts, leaf.Detail)
	}
	found := 0
	for _, m := range example.FindAllStringSubmatch(strings.Join(texts, "\n"), -1) {
		found++
		line, _, _ := strings.Cut(strings.ReplaceAll(m[1], "/etc/countersign.yaml", file), " > ") // without a redirection of the shell
		parser, _ := newParser(t)
		if _, err := parser.Parse(shellWords(line)); err != nil {
			t.Errorf("the example 'countersign %s' cannot be understood: %v", m[1], err)
		}
	}
	if found < 9 {
		t.Errorf("found %d examples; want 9 or more", found)
	}
}

// shellWords splits a line as a shell does, if it has no other special characters than single
// quotes.
func shellWords(line string) (words []string) {
	for i, part := range strings.Split(line, "'") {
		switch fields := strings.Fields(part); {
		case i%2 == 0:
			words = append(words, fields...)
		default:
			words = append(words, part)
		}
	}
	return words
}
