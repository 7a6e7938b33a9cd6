package cli

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// completions returns what completes the last of words in a shell.
func completions(t *testing.T, shell string, words ...string) []string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := Run(t.Context(), append([]string{completeCommand, shell}, words...), &out, &errs); code != 0 || errs.Len() > 0 {
		t.Fatalf("%q: exit code %d, %s", words, code, &errs)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func TestCompletionOffersWhatCanFollow(t *testing.T) {
	for _, tc := range []struct {
		shell string
		words []string
		has   []string
		lacks []string
	}{
		{"bash", []string{""}, []string{"serve", "check", "completion", "help", "keyset"}, []string{"create"}},
		{"bash", []string{"key", ""}, []string{"create", "list", "revoke"}, []string{"serve", "help", "--as"}},
		{"bash", []string{"help", "key", ""}, []string{"create"}, []string{"serve"}},
		{"bash", []string{"serve", "--"}, []string{"--addr", "--log-level", "--help", "--config"}, []string{"--json"}},
		{"bash", []string{"serve", "--addr", ":1", "--"}, []string{"--log-level"}, []string{"--addr"}},
		{"bash", []string{"serve", "--sms-countries", "US", "--sms-c"}, []string{"--sms-countries"}, nil},
		{"bash", []string{"serve", "--log-level", ""}, []string{"debug", "error"}, []string{"--addr"}},
		{"bash", []string{"serve", "--log-level", "=", ""}, []string{"debug", "error"}, nil},
		{"bash", []string{"serve", "--config", ""}, []string{":files"}, nil},
		{"bash", []string{"--", "x", "--a"}, nil, []string{"--addr"}},
		{"bash", []string{"serve", "--store", "s"}, []string{"sqlite:"}, []string{":files"}},
		{"zsh", []string{"serve", "--store", "s"}, []string{"sqlite:"}, nil},
		{"zsh", []string{"serve", "--log-level=d"}, []string{"--log-level=debug"}, nil},
		{"zsh", []string{"serv"}, []string{"serve:Run the server."}, nil},
		{"fish", []string{"serv"}, []string{"serve\tRun the server."}, nil},
		{"fish", []string{"completion", "f"}, []string{"fish"}, []string{"bash"}},
		{"bash", []string{"completion", "bash", ""}, nil, []string{"bash", "zsh", ":files"}},
		{"bash", []string{"no-such-command", ""}, nil, []string{":files"}},
		{"bash", nil, []string{"serve"}, nil},
	} {
		got := completions(t, tc.shell, tc.words...)
		for _, want := range tc.has {
			if !slices.Contains(got, want) {
				t.Errorf("%s %q: %q is not offered: %q", tc.shell, tc.words, want, got)
			}
		}
		for _, not := range tc.lacks {
			if slices.Contains(got, not) {
				t.Errorf("%s %q: %q is offered", tc.shell, tc.words, not)
			}
		}
	}
}

func TestCompletionOffersEveryCommandAndFlag(t *testing.T) {
	parser, _ := newParser(t)
	offered := func(words ...string) []string {
		var out bytes.Buffer
		complete(&out, parser.Model, "bash", words)
		return strings.Split(out.String(), "\n")
	}
	for _, leaf := range parser.Model.Leaves(true) {
		path := strings.Fields(strings.TrimPrefix(leaf.FullPath(), "countersign "))
		if got := offered(path...); !slices.Contains(got, leaf.Name) {
			t.Errorf("%q is not offered: %q", path, got)
		}
		flags := offered(append(path, "--")...)
		for _, flag := range leaf.Flags {
			if !flag.Hidden && !slices.Contains(flags, "--"+flag.Name) {
				t.Errorf("%q: --%s is not offered", path, flag.Name)
			}
			for _, value := range flag.EnumSlice() {
				if values := offered(append(path, "--"+flag.Name, "")...); value != "" && !slices.Contains(values, value) {
					t.Errorf("%q: the value %s of --%s is not offered: %q", path, value, flag.Name, values)
				}
			}
		}
	}
}

func TestCompletionScriptsAreCorrect(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		var out, errs bytes.Buffer
		if code := Run(t.Context(), []string{"completion", shell}, &out, &errs); code != 0 || errs.Len() > 0 {
			t.Fatalf("completion %s: exit code %d, %s", shell, code, &errs)
		}
		t.Run(shell, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), testenv.Tool(t, shell), "-n") // reads, and runs nothing
			cmd.Stdin = &out
			if text, err := cmd.CombinedOutput(); err != nil || len(text) > 0 {
				t.Errorf("%s -n: %v: %s", shell, err, text)
			}
		})
	}
	var out, errs bytes.Buffer
	if code := Run(t.Context(), []string{"completion", "tcsh"}, &out, &errs); code != 2 || !strings.Contains(errs.String(), `must be one of "bash","zsh","fish"`) {
		t.Errorf("completion tcsh: exit code %d, %s", code, &errs)
	}
}
