package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/cli"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// TestActsOnAFactor suspends, resumes and deletes a factor, and issues bypass codes to its
// user, by the commands, while a server uses the store.
func TestActsOnAFactor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countersign.db")
	s, err := sqlite.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	keys, err := secret.CreateKeysetFile(path + ".keyset")
	if err != nil {
		t.Fatal(err)
	}
	env, err := access.NewService(s, nil).CreateEnvironment(t.Context(), mfa.Caller{}, "staging", false)
	if err != nil {
		t.Fatal(err)
	}
	server, err := mfa.NewService(s, keys, nil, mfa.Options{Limits: mfa.Limits{UserFailures: 1}})
	if err != nil {
		t.Fatal(err)
	}
	by := mfa.Caller{Environment: env}
	f, err := server.Enroll(t.Context(), by, mfa.EnrollParams{Type: mfa.TOTP, User: "user_1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := f.ID.String()
	run := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		args = append(args, "--store", "sqlite:"+path)
		if got := cli.Run(t.Context(), args, &out, &errs); got != want {
			t.Fatalf("%v: exit code %d, %s%s", args, got, &out, &errs)
		}
		return out.String() + errs.String()
	}
	shows := func(text, want string) {
		t.Helper()
		if !strings.Contains(text, want) {
			t.Errorf("shows %q; want %q", text, want)
		}
	}
	challenge := func(want error) mfa.ChallengeID {
		t.Helper()
		c, err := server.Challenge(t.Context(), by, f.ID, mfa.ChallengeParams{}, nil)
		if !errors.Is(err, want) {
			t.Fatalf("Challenge = %v; want %v", err, want)
		}
		return c.ID
	}
	try := func(c mfa.ChallengeID, code string, valid bool) {
		t.Helper()
		v, err := server.Verify(t.Context(), by, c, mfa.VerifyParams{Code: code}, nil)
		if err != nil || v.Valid != valid {
			t.Fatalf("Verify = %v, %v; want %v", v.Valid, err, valid)
		}
	}

	shows(run(0, "factor", "suspend", id, "--reason", "stolen"), "suspended "+id)
	challenge(mfa.ErrSuspended)
	shows(run(0, "factor", "suspend", id, "--reason", "stolen"), "nothing to do")
	shows(run(0, "factor", "show", id), "suspended by")
	shows(run(0, "factor", "list", "--env", "staging", "--state", "suspended", "--json"), `"state":"suspended"`)
	shows(run(1, "bypass", "create", "user_1", "--env", "staging", "--reason", "ticket"), "suspended")
	shows(run(0, "factor", "resume", id, "--reason", "found", "--json"), `"changed": true`)
	shows(run(0, "factor", "resume", id, "--reason", "found", "--json"), `"changed": false`)

	try(challenge(nil), "wrong", false) // locks the user
	challenge(mfa.ErrTooManyAttempts)
	shows(run(1, "bypass", "show", "user_1", "--env", "staging"), "no bypass code")
	first := strings.TrimSpace(run(0, "bypass", "create", "user_1", "--env", "staging", "--reason", "ticket"))
	if !regexp.MustCompile(`^\d{5} \d{5}$`).MatchString(first) {
		t.Errorf("the code is %q; want ten digits", first)
	}
	shows(run(0, "bypass", "show", "user_1", "--env", "staging"), "ticket")
	shows(run(0, "user", "show", "user_1", "--env", "staging"), ": ticket")
	var second struct {
		Code, User, Reason string
	}
	if err := json.Unmarshal([]byte(run(0, "bypass", "create", "user_1", "--env", "staging", "--reason", "again", "--json", "--expires", "1h")), &second); err != nil {
		t.Fatal(err)
	}
	if second.User != "user_1" || second.Reason != "again" {
		t.Errorf("the JSON is %+v", second)
	}
	c := challenge(nil)
	try(c, first, false)
	try(c, second.Code, true)
	shows(run(0, "challenge", "explain", c.String()), "A right bypass code")
	shows(run(0, "challenge", "show", c.String()), "bypass code used: again")
	shows(run(1, "bypass", "revoke", "user_1", "--env", "staging", "--reason", "done"), "no bypass code")
	run(0, "bypass", "create", "user_1", "--env", "staging", "--reason", "ticket")
	shows(run(0, "bypass", "revoke", "user_1", "--env", "staging", "--reason", "done"), "revoked")
	challenge(mfa.ErrTooManyAttempts)

	shows(run(0, "factor", "delete", id, "--reason", "new phone"), "deleted "+id)
	shows(run(0, "challenge", "explain", c.String()), "Its factor was deleted later.")
	shows(run(0, "environment", "list", "--json"), `"name":"staging"`)
	challenge(mfa.ErrNotFound)
	shows(run(1, "factor", "delete", id, "--reason", "new phone"), "not found")
	events := run(0, "events", "list", "--env", "staging", "--json")
	for _, want := range []string{"factor.suspended", "factor.resumed", "factor.bypass_created", "factor.bypass_used", "factor.bypass_revoked", `"reason":"new phone"`} {
		shows(events, want)
	}
	for _, code := range []string{strings.ReplaceAll(first, " ", ""), second.Code} {
		if strings.Contains(events, code) {
			t.Error("the events contain a code")
		}
	}
}
