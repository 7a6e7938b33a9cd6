package conformance_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/signin/openid/openidtest"
	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/test/executable"
)

// TestSignIn signs operators in to the consoles of two nodes over one PostgreSQL, in Chromium
// with its virtual authenticator and through an identity provider.
func TestSignIn(t *testing.T) {
	t.Parallel()
	node := testenv.Tool(t, "node")
	chromium := testenv.Tool(t, "chromium")
	installed(t, "node", "node_modules")
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := &signInFixture{t: t, binary: binary, dir: dir, store: pgtest.Shared(t).Database(t)}
	f.command("keyset", "create", "keyset")
	f.command("migrate", "--store", f.store)
	provider := openidtest.New(t)
	provider.Claim("groups", "admins")
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(openidtest.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	logcapture.Secret(t, openidtest.Secret)
	first, api := f.serve("--console-oidc-issuer", provider.URL, "--console-oidc-client-id", openidtest.ClientID,
		"--console-oidc-client-secret", "secret", "--console-oidc-roles", "admins=admin,helpdesk=support")
	second, _ := f.serve()
	key := f.command("key", "create", "--env", "staging", "--store", f.store)
	logcapture.Secret(t, key)
	env := []string{
		"COUNTERSIGN_CONSOLE=" + first, "COUNTERSIGN_SECOND_CONSOLE=" + second, "COUNTERSIGN_URL=" + api, "COUNTERSIGN_API_KEY=" + key,
		"COUNTERSIGN_HAND=" + f.hand(), "COUNTERSIGN_PROVIDER=" + provider.URL, "COUNTERSIGN_CHROMIUM=" + chromium,
	}
	run(t, func(line) {}, "node", env, node, "signin.mjs")
}

// A signInFixture runs nodes and commands over one store.
type signInFixture struct {
	t                  *testing.T
	binary, dir, store string
}

// command runs a command and returns its output.
func (f *signInFixture) command(args ...string) string {
	f.t.Helper()
	out, err := f.run(args...)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *signInFixture) run(args ...string) (string, error) {
	cmd := exec.Command(f.binary, args...)
	cmd.Dir, cmd.Env = f.dir, executable.Environment()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("countersign %s: %w: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}

var (
	consoleServed = regexp.MustCompile(`msg="serving the console" url=(\S+)/console `)
	apiReady      = regexp.MustCompile(`msg=ready url=(\S+)`)
)

// serve runs countersign serve until the test ends, and returns the addresses of its console
// and of its API.
func (f *signInFixture) serve(flags ...string) (console, api string) {
	f.t.Helper()
	args := append([]string{"serve", "--addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--store", f.store, "--keyset", "file:keyset", "--log-format", "text"}, flags...)
	cmd := exec.Command(f.binary, args...)
	cmd.Dir, cmd.Env = f.dir, executable.Environment()
	var log bytes.Buffer // read only after the process has ended
	read, write := io.Pipe()
	cmd.Stderr = io.MultiWriter(logcapture.Log(f.t, f.t.Name()), &log, write)
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { stop(f.t, cmd, &log); write.Close() })
	found := make(chan [2]string, 1)
	go func() {
		var all [2]string
		for lines := bufio.NewScanner(read); lines.Scan(); {
			if m := consoleServed.FindStringSubmatch(lines.Text()); m != nil {
				all[0] = m[1]
			}
			if m := apiReady.FindStringSubmatch(lines.Text()); m != nil {
				all[1] = m[1]
				found <- all
			}
		}
	}()
	select {
	case all := <-found:
		return all[0], all[1]
	case <-time.After(time.Minute):
		f.t.Fatal("countersign serve was not ready within a minute")
	}
	return "", ""
}

// hand returns the address of a server that does for the browser what operators do at a
// command line, and what time does.
func (f *signInFixture) hand() string {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, out string, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		io.WriteString(w, out)
	}
	mux.HandleFunc("POST /link", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		out, err := f.run("console", "link", "--as", q.Get("as"), "--role", q.Get("role"), "--store", f.store, "--console-url", q.Get("at"))
		if err == nil {
			_, secret, _ := strings.Cut(out, "#")
			logcapture.Secret(f.t, secret)
		}
		answer(w, out, err)
	})
	mux.HandleFunc("POST /console", func(w http.ResponseWriter, r *http.Request) {
		out, err := f.run(append([]string{"console"}, append(r.URL.Query()["arg"], "--store", f.store)...)...)
		answer(w, out, err)
	})
	sql := func(statement string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, err := pgx.Connect(r.Context(), f.store)
			if err == nil {
				_, err = conn.Exec(r.Context(), statement)
				conn.Close(r.Context())
			}
			answer(w, "", err)
		}
	}
	mux.HandleFunc("POST /after-15-minutes", sql(`UPDATE operator_tickets SET expires_at = now() - interval '1 second' WHERE kind = 'link'`))
	mux.HandleFunc("POST /after-5-minutes", sql(`UPDATE operator_tickets SET data = convert_to(jsonb_set(convert_from(data, 'UTF8')::jsonb,`+
		` '{FreshUntil}', '"2020-01-01T00:00:00Z"')::text, 'UTF8') WHERE kind = 'session'`))
	mux.HandleFunc("POST /after-30-minutes", sql(`UPDATE operator_tickets SET expires_at = now() - interval '1 second' WHERE kind = 'session'`))
	s := httptest.NewServer(mux)
	f.t.Cleanup(s.Close)
	return s.URL
}
