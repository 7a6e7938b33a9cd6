package server_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/server"
	"github.com/countersign-mfa/countersign/internal/signin/openid/openidtest"
)

// answered returns the status, the header and the body of an answer, without following it
// elsewhere.
func answered(t *testing.T, url string) (status int, header http.Header, body string) {
	t.Helper()
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}, // the certificate was made a moment ago
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	reply, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, reply.Header, string(text)
}

func TestConsoleHasItsOwnAddress(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			dir := t.TempDir()
			cfg := configIn(dir)
			cfg.ConsoleAddr = "127.0.0.1:0"
			if scheme == "https" {
				cfg.TLSCert, cfg.TLSKey = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
				if err := server.MakeCertificate(cfg.TLSCert, cfg.TLSKey); err != nil {
					t.Fatal(err)
				}
			}
			s := start(t, cfg)
			url := s.ConsoleURL()
			if !strings.HasPrefix(url, scheme+"://localhost:") || !strings.HasSuffix(url, "/console") {
				t.Fatalf("the console is at %s", url)
			}
			if code, h, body := answered(t, url); code != http.StatusUnauthorized || !strings.Contains(body, "Sign in") || h.Get("Content-Security-Policy") == "" {
				t.Errorf("GET %s = %d: %s", url, code, body)
			}
			if code, h, _ := answered(t, strings.TrimSuffix(url, "/console")); code != http.StatusSeeOther || h.Get("Location") != "/console" {
				t.Errorf("GET / = %d to %s", code, h.Get("Location"))
			}
			for _, path := range []string{"/auth/factors", "/metrics", "/dev/inbox", "/events"} {
				if code, _, _ := answered(t, strings.TrimSuffix(url, "/console")+path); code != http.StatusNotFound {
					t.Errorf("GET %s at the console = %d; want 404", path, code)
				}
			}
			if code := status(s, "/console"); code != http.StatusNotFound {
				t.Errorf("GET /console at the API = %d; want 404", code)
			}
		})
	}
}

func TestConsoleIsOffByDefault(t *testing.T) {
	s := start(t, configIn(t.TempDir()))
	if url := s.ConsoleURL(); url != "" {
		t.Errorf("the console is at %s", url)
	}
	if code := status(s, "/console"); code != http.StatusNotFound {
		t.Errorf("GET /console = %d; want 404", code)
	}
}

func TestProviderOfTheConsole(t *testing.T) {
	p := openidtest.New(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(openidtest.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := configIn(dir)
	cfg.ConsoleAddr, cfg.ConsoleOIDCIssuer, cfg.ConsoleOIDCClientID, cfg.ConsoleOIDCClientSecret = "127.0.0.1:0", p.URL, openidtest.ClientID, secret
	cfg.ConsoleOIDCRoles = []string{"admins=admin"}
	s := start(t, cfg)
	if _, _, body := answered(t, s.ConsoleURL()+"/sign-in"); !strings.Contains(body, "Sign in with 127.0.0.1") {
		t.Errorf("the page for signing in is %s", body)
	}
	for name, change := range map[string]func(c *config.Config){
		"a missing secret":  func(c *config.Config) { c.ConsoleOIDCClientSecret = filepath.Join(dir, "missing") },
		"an issuer on http": func(c *config.Config) { c.ConsoleOIDCIssuer = "http://id.example.com" },
		"an unknown role":   func(c *config.Config) { c.ConsoleOIDCRoles = []string{"admins=owner"} },
		"a busy address": func(c *config.Config) {
			c.ConsoleAddr = strings.TrimSuffix(strings.TrimPrefix(s.ConsoleURL(), "http://"), "/console")
		},
	} {
		wrong := cfg
		wrong.Store = "sqlite:" + filepath.Join(t.TempDir(), "other.db")
		change(&wrong)
		if s, err := server.New(t.Context(), wrong, parts(t)); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
	}
	// A provider that is down does not keep the server from starting.
	down := cfg
	down.Store, down.ConsoleOIDCIssuer = "sqlite:"+filepath.Join(dir, "down.db"), "https://127.0.0.1:1"
	start(t, down)
	checked := map[string]string{}
	for _, c := range []config.Config{cfg, down} {
		for _, f := range server.Check(t.Context(), c, nil) {
			if f.Check == "console_oidc" {
				checked[c.ConsoleOIDCIssuer] = string(f.Status)
			}
		}
	}
	if checked[p.URL] != string(server.CheckOK) || checked[down.ConsoleOIDCIssuer] != string(server.CheckWarning) {
		t.Errorf("Check found %v", checked)
	}
}
