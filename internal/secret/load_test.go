package secret_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

func TestLoadKeyset(t *testing.T) {
	dir := t.TempDir()
	path, wrapped := filepath.Join(dir, "keyset"), filepath.Join(dir, "wrapped")
	k := must(t)(secret.CreateKeysetFile(path))
	encoded := base64.StdEncoding.EncodeToString(marshal(t, k))
	if err := os.WriteFile(wrapped, []byte(encoded+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_KEYSET", string(marshal(t, k)))
	t.Setenv("TEST_KEYSET_BASE64", encoded)
	for _, source := range []string{
		"file:" + path, "file:" + wrapped,
		"env:TEST_KEYSET", "env:TEST_KEYSET_BASE64",
		"exec:cat " + path, "exec:cat  " + wrapped + " ",
	} {
		t.Run(source, func(t *testing.T) {
			if got := must(t)(secret.LoadKeyset(t.Context(), source)); !opens(got, seal(t, k, plain, "here")) {
				t.Error("another keyset was loaded")
			}
		})
	}
}

// script returns the source that runs text as a shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh here: ", err)
	}
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "exec:" + sh + " " + path
}

func TestLoadKeysetErrorsNameTheFault(t *testing.T) {
	t.Setenv("TEST_KEYSET", plain)
	for _, tc := range []struct{ name, source, want string }{
		{"empty source", "", "file:PATH, env:NAME or exec:COMMAND"},
		{"path without scheme", "/etc/countersign/keyset", "file:PATH, env:NAME or exec:COMMAND"},
		{"unknown scheme", "vault:" + plain, "file:PATH, env:NAME or exec:COMMAND"},
		{"a keyset as source", `{"format":"` + plain + `"}`, "file:PATH, env:NAME or exec:COMMAND"},
		{"missing file", "file:/nowhere/keyset", "/nowhere/keyset"},
		{"no variable", "env:", "name of a variable"},
		{"a value as variable", "env:" + plain, "name of a variable"},
		{"unset variable", "env:TEST_KEYSET_UNSET", "TEST_KEYSET_UNSET is not set"},
		{"rubbish in variable", "env:TEST_KEYSET", "TEST_KEYSET: malformed keyset"},
		{"no command", "exec: ", "wants a command"},
		{"unknown command", "exec:countersign-no-such-command x", "countersign-no-such-command"},
		{"failing command", script(t, "echo "+plain+"; echo access denied >&2; exit 3"), "exit status 3: access denied"},
		{"rubbish from command", script(t, "echo "+plain), "malformed keyset"},
		{"too much from command", script(t, "yes "+plain+" | head -c 2000000"), "larger than a keyset"},
		{"no shell", "exec:echo $TEST_KEYSET", "malformed keyset"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, err := secret.LoadKeyset(t.Context(), tc.source)
			if err == nil || k != nil {
				t.Fatalf("LoadKeyset = %v, %v; want an error", k, err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not say %q", err, tc.want)
			}
			checkSilent(t, "error", err.Error())
		})
	}
}

func TestLoadKeysetClipsErrorOutputOfCommand(t *testing.T) {
	_, err := secret.LoadKeyset(t.Context(), script(t, "yes complaint | head -c 100000 >&2; exit 1"))
	if err == nil || len(err.Error()) > 5000 {
		t.Errorf("the error has %d bytes; want some, but at most 5000", len(err.Error()))
	}
}

func TestLoadKeysetStopsWithItsContext(t *testing.T) {
	for name, text := range map[string]string{"command": "exec sleep 60", "child of command": "sleep 60"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := secret.LoadKeyset(ctx, script(t, text)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: LoadKeyset = %v; want %v", name, err, context.DeadlineExceeded)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: LoadKeyset took %v", name, took)
		}
	}
}
