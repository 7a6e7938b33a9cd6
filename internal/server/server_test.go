package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/admission"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/server"
)

// configIn returns the configuration of a server over a new store.
func configIn(dir string) config.Config {
	c := config.Default()
	c.Addr, c.Store = "127.0.0.1:0", "sqlite:"+filepath.Join(dir, "countersign.db")
	return c
}

func parts(t *testing.T) server.Parts {
	return server.Parts{OpenAPI: []byte("openapi: 3.1.0\n"), Logger: slog.New(slog.NewTextHandler(logcapture.Log(t, t.Name()), nil))}
}

func start(t *testing.T, cfg config.Config) *server.Server {
	t.Helper()
	s, err := server.New(t.Context(), cfg, parts(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func status(s *server.Server, path string) int {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code
}

func TestAServerServes(t *testing.T) {
	cfg := configIn(t.TempDir())
	for _, tc := range []struct {
		inbox bool
		path  string
		want  int
	}{
		{false, "/healthz", http.StatusOK},
		{false, "/readyz", http.StatusOK},
		{false, "/openapi.yaml", http.StatusOK},
		{false, "/js/countersign.js", http.StatusOK},
		{false, "/auth/factors/x", http.StatusUnauthorized},
		{false, "/dev/inbox", http.StatusNotFound},
		{true, "/dev/inbox", http.StatusForbidden}, // httptest asks as example.com
		{true, "/healthz", http.StatusOK},
	} {
		cfg.Inbox = tc.inbox
		s := start(t, cfg)
		if got := status(s, tc.path); got != tc.want {
			t.Errorf("%s, inbox %t: %d; want %d", tc.path, tc.inbox, got, tc.want)
		}
	}
}

func TestCloseTwiceIsFine(t *testing.T) {
	s := start(t, configIn(t.TempDir()))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := status(s, "/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("readyz of a closed server = %d; want 503", got)
	}
}

// serve has a server answer at addr until end is called.
func serve(t *testing.T, s *server.Server) (addr string, end func()) {
	t.Helper()
	ln, _, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	return ln.Addr().String(), func() {
		t.Helper()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v; want nil", err)
		}
	}
}

// TestServeEndsWithItsContext starts and ends a server without a process.
func TestServeEndsWithItsContext(t *testing.T) {
	s := start(t, configIn(t.TempDir()))
	addr, end := serve(t, s)
	resp, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	end()
	if got := status(s, "/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("readyz of a server that was told to end = %d; want 503", got)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*config.Config)
		want   string
	}{
		{"no store", func(c *config.Config) { c.Store = "" }, "sqlite:PATH"},
		{"an unknown store", func(c *config.Config) { c.Store = "mysql://localhost/countersign" }, "sqlite:PATH"},
		{"a directory as store", func(c *config.Config) { c.Store = "sqlite:" + os.TempDir() }, os.TempDir()},
		{"an unknown keyset", func(c *config.Config) { c.Keyset = "nonsense" }, "file:PATH"},
		{"a keyset that is not there", func(c *config.Config) { c.Keyset = "file:/no/such/keyset" }, "/no/such/keyset"},
		{"a limit that is none", func(c *config.Config) { c.RateLimit = 0 }, "--rate-limit"},
		{"a challenge that lives for ever", func(c *config.Config) { c.ChallengeTTL = 1 << 62 }, "10m"},
		{"a window of hours", func(c *config.Config) { c.TOTPWindow = 100 }, "0 to 2"},
		{"spans that are none", func(c *config.Config) { c.SMSLimits = []string{"many"} }, `"many"`},
		{"an address that is public", func(c *config.Config) { c.Addr = ":4100" }, "--plain-http"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := configIn(t.TempDir())
			tc.change(&cfg)
			s, err := server.New(t.Context(), cfg, parts(t))
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New = %v; want an error with %q", err, tc.want)
			}
		})
	}
}

// TestAKeysetOnlyFitsItsStore holds what keeps a server from sealing under keys
// that the next one does not have.
func TestAKeysetOnlyFitsItsStore(t *testing.T) {
	dir := t.TempDir()
	cfg := configIn(dir)
	path := filepath.Join(dir, "countersign.db.keyset")
	start(t, cfg).Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the keyset that New made: %v (%v)", info, err)
	}
	start(t, cfg).Close() // the same again

	other := filepath.Join(dir, "other.keyset")
	if _, err := secret.CreateKeysetFile(other); err != nil {
		t.Fatal(err)
	}
	cfg.Keyset = "file:" + other
	if _, err := server.New(t.Context(), cfg, parts(t)); err == nil || !strings.Contains(err.Error(), "name the right one with --keyset") {
		t.Errorf("New with the keyset of another store = %v", err)
	}
	cfg.Keyset = ""
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := server.New(t.Context(), cfg, parts(t)); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "restore the file from its backup") {
		t.Errorf("New without the keyset = %v", err)
	}
}

func TestFailedReloadKeepsKeyset(t *testing.T) {
	dir := t.TempDir()
	s := start(t, configIn(dir))
	path := filepath.Join(dir, "countersign.db.keyset")
	if err := s.Reload(t.Context()); err != nil {
		t.Errorf("Reload of the same keyset = %v", err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context()); err == nil {
		t.Error("Reload accepted a malformed keyset")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context()); err == nil {
		t.Error("Reload made a keyset")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Reload made a file (%v)", err)
	}
}

// TestIdleConnectionsBlockNoNewOnes has as many callers as are let in at all ask again
// and again, each on its own connection, of which the server may keep two.
func TestIdleConnectionsBlockNoNewOnes(t *testing.T) {
	cfg := configIn(t.TempDir())
	cfg.MaxConnections = 2
	s := start(t, cfg)
	addr, end := serve(t, s)
	ended := 0
	for range cfg.MaxConnections + admission.Spare {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if answer(t, conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").Close {
			ended++
		}
	}
	if ended != admission.Spare {
		t.Errorf("%d of %d connections were ended; want all but %d", ended, cfg.MaxConnections+admission.Spare, cfg.MaxConnections)
	}
	resp, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	end()
}

// TestNoWaitForTheRestInACrowd has a caller without a key send half a request.
func TestNoWaitForTheRestInACrowd(t *testing.T) {
	cfg := configIn(t.TempDir())
	cfg.MaxConnections = 1
	s := start(t, cfg)
	addr, end := serve(t, s)
	kept, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	answer(t, kept, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second)) // a third of the usual time-out
	r := answer(t, conn, "POST /auth/factors/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
	if r.StatusCode != http.StatusUnauthorized || !r.Close {
		t.Errorf("status %d, the connection ends: %t; want 401 and its end", r.StatusCode, r.Close)
	}
	end()
}

// answer sends a request and reads the head of its answer.
func answer(t *testing.T, conn net.Conn, request string) *http.Response {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
