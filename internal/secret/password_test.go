package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/secret"
)

func TestPasswordFromCommand(t *testing.T) {
	for _, tc := range []struct{ name, script, want, fails string }{
		{"line", `echo pass-word`, "pass-word", ""},
		{"spaces", `printf ' a b \r\n'`, " a b ", ""},
		{"variables", `echo "$PGUSER at $PGHOST"`, "app at db", ""},
		{"nothing", `true`, "", "it printed nothing"},
		{"failure", `echo s3cret; echo s3cret >&2; exit 3`, "", "exit status 3"},
		{"too much", `head -c 100000 /dev/zero`, "", "too long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "command")
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+tc.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			got, err := secret.PasswordFromCommand(t.Context(), path+" s3cret", "PGUSER=app", "PGHOST=db")
			if tc.fails == "" && (err != nil || got.Reveal() != tc.want) {
				t.Errorf("PasswordFromCommand = %q, %v; want %q", got.Reveal(), err, tc.want)
			}
			if tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails) || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("PasswordFromCommand = %v; want %q without any output or argument", err, tc.fails)
			}
		})
	}
	if _, err := secret.PasswordFromCommand(t.Context(), "/no/such/command"); err == nil {
		t.Error("a missing command printed a password")
	}
}
