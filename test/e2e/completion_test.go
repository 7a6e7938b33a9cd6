package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/test/executable"
)

// presses are lines that a person begins, and what Tab makes of the last word.
var presses = []struct{ typed, want string }{
	{"countersign keys", "keyset "},
	{"countersign keyset pro", "promote "},
	{"countersign serve --log-le", "--log-level"},
	{"countersign serve --log-level de", "debug "},
	{"countersign serve --log-level=de", "--log-level=debug "},
	{"countersign serve --totp-challenge-expires-at o", "omit "},
	{"countersign completion fi", "fish "},
	{"countersign help migr", "migrate "},
	{"countersign restore backup-o", "backup-of-today.db "},
	{"countersign serve --sms provi", "providers.yaml "},
	{"countersign serve --sms=provi", "--sms=providers.yaml "},
	{"countersign backup --store sqlite:backup-o", "sqlite:backup-of-today.db "},
	{"countersign check --config conf", "config/"},
}

// inDirectory makes a directory with the files of presses and changes to it.
func inDirectory(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"backup-of-today.db", "providers.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "config", "more"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
}

func TestCompletionInBash(t *testing.T) {
	path := testenv.Tool(t, "bash")
	inDirectory(t)
	shell := openTerminal(t, nil, path, "--norc", "--noprofile", "-i")
	shell.sees("ready> ")
	shell.keys("source <(countersign completion bash)\r")
	shell.sees("ready> ")
	for _, p := range presses {
		shell.completes(p.typed, p.want)
	}
	shell.lists("countersign keyset ", "add", "create", "promote", "retire", "status")
	shell.lists("countersign serve --log-format=", "json", "text")
}

func TestCompletionInZsh(t *testing.T) {
	path := testenv.Tool(t, "zsh")
	inDirectory(t)
	shell := openTerminal(t, nil, path, "-f", "-i")
	shell.keys("PS1='ready> '; autoload -U compinit; compinit -u -D; source <(countersign completion zsh); echo set-\"\"up\r")
	shell.sees("set-up")
	shell.sees("ready> ")
	for _, p := range presses {
		shell.completes(p.typed, p.want)
	}
	shell.lists("countersign keyset ", "add", "create", "promote", "retire", "status")
}

// completes types a line and Tab, and looks for the rest of the completed word. It removes
// the line before it is run.
func (c *terminal) completes(typed, want string) {
	c.t.Helper()
	c.keys(typed + "\t")
	begun := typed[strings.LastIndex(typed, " ")+1:]
	c.sees(regexp.QuoteMeta(strings.TrimPrefix(want, begun)))
	c.keys("\x15echo next-\"\"line\r")
	c.sees("next-line")
	c.sees("ready> ")
}

// lists types a line and Tab twice, and looks for candidates in any order.
func (c *terminal) lists(typed string, want ...string) {
	c.t.Helper()
	start := c.mark
	c.keys(typed + "\t\t")
	for _, word := range want {
		c.mark = start
		c.sees(`\b` + word + `\b`)
	}
	c.keys("\x15echo next-\"\"line\r")
	c.sees("next-line")
	c.sees("ready> ")
}

func TestCompletionInFish(t *testing.T) {
	path := testenv.Tool(t, "fish")
	inDirectory(t)
	run := func(line string) string {
		cmd := exec.Command(path, "--no-config", "-c", `countersign completion fish | source; complete -C $argv[1]`, line)
		cmd.Env = append(executable.Environment(), "HOME="+t.TempDir(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("fish: %v\n%s", err, out)
		}
		return string(out)
	}
	for _, p := range presses {
		got := run(p.typed)
		word, _, _ := strings.Cut(strings.TrimSpace(got), "\t")
		if want := strings.TrimSuffix(p.want, " "); word != want || strings.Count(got, "\n") != 1 {
			t.Errorf("fish completes %q with %q; want %q", p.typed, got, want)
		}
	}
	if got := run("countersign keyset "); !strings.Contains(got, "promote\tRotation, step 2") || strings.Contains(got, "backup-of") {
		t.Errorf("fish completes 'countersign keyset ' with %q", got)
	}
}
