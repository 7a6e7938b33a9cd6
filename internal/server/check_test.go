package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/certs"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/server"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// checkable returns the settings of a server with a used store in a new directory, and that
// directory. Check finds no fault in them.
func checkable(t *testing.T) (config.Config, string) {
	t.Helper()
	dir := t.TempDir()
	cfg := config.Default()
	cfg.Addr, cfg.Store = "127.0.0.1:0", "sqlite:"+filepath.Join(dir, "countersign.db")
	srv, err := server.New(t.Context(), cfg, server.Parts{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg, dir
}

// write writes a file and returns its path.
func write(t *testing.T, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

// order runs a server with the domains of cfg until it has tried to obtain a certificate.
func order(t *testing.T, cfg config.Config) {
	t.Helper()
	failed := &watcher{text: "a certificate could not be obtained", seen: make(chan struct{})}
	srv, err := server.New(t.Context(), cfg, server.Parts{Logger: slog.New(slog.NewTextHandler(failed, nil))})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-failed.seen:
	case <-time.After(30 * time.Second):
		t.Error("no order failed")
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
}

// A watcher is a log that waits for a text.
type watcher struct {
	text string
	seen chan struct{} // closed after the text
	once sync.Once
}

func (w *watcher) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(w.text)) {
		w.once.Do(func() { close(w.seen) })
	}
	return len(line), nil
}

// pragma sets a value in the database of cfg.
func pragma(t *testing.T, cfg config.Config, text string) {
	t.Helper()
	path, _ := config.SQLitePath(cfg.Store)
	db, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Exec(text), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// finding returns the findings of one check as text: one line "state: message; action" for
// each.
func finding(found []server.Finding, check string) string {
	var lines []string
	for _, f := range found {
		if f.Check == check {
			lines = append(lines, f.Status+": "+f.Message+"; "+f.Action)
		}
	}
	return strings.Join(lines, "\n")
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(e.Name(), info.Size(), info.Mode(), info.ModTime()))
	}
	return strings.Join(all, "\n")
}

func TestCheckReportsEachFault(t *testing.T) {
	later := func(d time.Duration) func() time.Time {
		return func() time.Time { return time.Now().Add(d) }
	}
	day := 24 * time.Hour
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, cfg *config.Config, dir string)
		now    func() time.Time
		check  string
		want   string // state and message
		action string
	}{
		{name: "settings", change: func(t *testing.T, c *config.Config, dir string) { c.RateLimit = 0 },
			check: "settings", want: "failed: --rate-limit is 0; it must be positive"},
		{name: "country", change: func(t *testing.T, c *config.Config, dir string) { c.SMSCountries = []string{"USA"} },
			check: "settings", want: `failed: --sms-countries: "USA" is not a country`, action: "use codes such as US"},
		{name: "network", change: func(t *testing.T, c *config.Config, dir string) { c.WebhookAllow = []string{"10.1"} },
			check: "settings", want: "failed: --webhook-allow"},
		{name: "proxies", change: func(t *testing.T, c *config.Config, dir string) { c.TrustedProxies = []string{"x"} },
			check: "settings", want: "failed: --trusted-proxies"},

		{name: "certificate missing", change: func(t *testing.T, c *config.Config, dir string) {
			c.TLSCert, c.TLSKey = filepath.Join(dir, "none.crt"), filepath.Join(dir, "none.key")
		}, check: "tls", want: "none.crt: no such file", action: "permission to read"},
		{name: "certificate of another key", change: func(t *testing.T, c *config.Config, dir string) {
			a, b := newChain(t, dir, "a", time.Now().Add(60*day)), newChain(t, dir, "b", time.Now().Add(60*day))
			c.TLSCert, c.TLSKey = a.cert, b.key
		}, check: "tls", want: "private key does not match public key", action: "name the key"},
		{name: "certificate that ends soon", change: func(t *testing.T, c *config.Config, dir string) {
			p := newChain(t, dir, "a", time.Now().Add(12*day+time.Hour))
			c.TLSCert, c.TLSKey = p.cert, p.key
		}, check: "tls", want: "warning: the certificate expires in 12 days", action: "renew it"},
		{name: "certificate that ended", change: func(t *testing.T, c *config.Config, dir string) {
			p := newChain(t, dir, "a", time.Now().Add(60*day))
			c.TLSCert, c.TLSKey = p.cert, p.key
		}, now: later(61 * day), check: "tls", want: "failed: the certificate expired on", action: "renew it"},
		{name: "certificate of tomorrow", change: func(t *testing.T, c *config.Config, dir string) {
			p := newChain(t, dir, "a", time.Now().Add(60*day))
			c.TLSCert, c.TLSKey = p.cert, p.key
		}, now: later(-2 * day), check: "tls", want: "failed: the certificate is not valid before"},
		{name: "chain in the wrong order", change: func(t *testing.T, c *config.Config, dir string) {
			p := newChain(t, dir, "a", time.Now().Add(60*day))
			other := newChain(t, dir, "b", time.Now().Add(60*day))
			c.TLSCert, c.TLSKey = write(t, dir, "mixed.crt", readText(t, p.leaf)+readText(t, other.leaf), 0o644), p.key
		}, check: "tls", want: "failed: certificate 2 of", action: "order the file"},
		{name: "certificate of an unknown authority", change: func(t *testing.T, c *config.Config, dir string) {
			p := newChain(t, dir, "a", time.Now().Add(60*day))
			c.TLSCert, c.TLSKey = p.cert, p.key
		}, check: "tls", want: "warning: the certificate for mfa.example.com matches its key and is valid until", action: "intermediate"},
		{name: "key that all can read", change: func(t *testing.T, c *config.Config, dir string) {
			p := newChain(t, dir, "a", time.Now().Add(60*day))
			c.TLSCert, c.TLSKey = p.cert, write(t, dir, "open.key", readText(t, p.key), 0o644)
		}, check: "tls", want: "warning: every account can read", action: "chmod 640"},
		{name: "roots of an authority that are missing", change: func(t *testing.T, c *config.Config, dir string) {
			c.Domains, c.ACMERoots = []string{"mfa.example.com"}, filepath.Join(dir, "none.pem")
		}, check: "tls", want: "failed: --acme-roots: open", action: "certificates in PEM"},
		{name: "roots of an authority that are not certificates", change: func(t *testing.T, c *config.Config, dir string) {
			c.Domains, c.ACMERoots = []string{"mfa.example.com"}, write(t, dir, "roots.pem", "x", 0o600)
		}, check: "tls", want: "has no certificate in PEM", action: "certificates in PEM"},
		{name: "domain at another port", change: func(t *testing.T, c *config.Config, dir string) { c.Domains = []string{"mfa.example.com"} },
			check: "tls", want: "warning: the authority connects to port 443 of mfa.example.com", action: "addr: :443"},
		{name: "certificate that cannot be obtained", change: func(t *testing.T, c *config.Config, dir string) {
			c.Domains, c.ACMEDirectory = []string{"mfa.example.com"}, "https://127.0.0.1:1/directory"
			order(t, *c)
		}, check: "tls", want: "warning: the last order of a certificate for mfa.example.com failed, 1 in a row: ", action: "the next order begins at"},
		{name: "certificate of another keyset", change: func(t *testing.T, c *config.Config, dir string) {
			c.Domains = []string{"mfa.example.com"}
			name := certs.Names(c.ACMEDirectory, c.Domains[0])[0]
			pragma(t, *c, "INSERT INTO meta VALUES ('"+name+"', CAST('x' AS BLOB))")
		}, check: "tls", want: "warning: the stored certificate for mfa.example.com cannot be used", action: "start the server"},

		{name: "no file of providers", change: func(t *testing.T, c *config.Config, dir string) { c.SMS = filepath.Join(dir, "none.yaml") },
			check: "sms", want: "none.yaml"},
		{name: "file of providers with a fault", change: func(t *testing.T, c *config.Config, dir string) {
			c.SMS = write(t, dir, "sms.yaml", "providers: [{name: a, type: carrier-pigeon}]", 0o600)
		}, check: "sms", want: "failed: ", action: ""},
		{name: "providers without countries", change: func(t *testing.T, c *config.Config, dir string) {
			c.SMS = write(t, dir, "sms.yaml", "countries: []", 0o600)
		}, check: "sms", want: "name no country"},

		{name: "sink in no directory", change: func(t *testing.T, c *config.Config, dir string) {
			c.EventsSink = "file:" + filepath.Join(dir, "none", "events.jsonl")
		}, check: "events_sink", want: "failed: ", action: "create its directory"},
		{name: "sink with a password", change: func(t *testing.T, c *config.Config, dir string) { c.EventsSink = "https://a:b@example.com" },
			check: "events_sink", want: "failed: --events-sink: the URL has a password"},
		{name: "headers without a sink", change: func(t *testing.T, c *config.Config, dir string) { c.EventsSinkHeaders = "x" },
			check: "events_sink", want: "failed: events_sink_headers is set without"},
		{name: "missing headers of the collector", change: func(t *testing.T, c *config.Config, dir string) {
			c.OTLPEndpoint, c.OTLPHeadersFile = "https://otel.example.com", filepath.Join(dir, "none")
		}, check: "telemetry", want: "failed: --otlp-headers-file: open", action: "correct the file of headers"},
		{name: "headers of the collector for everyone", change: func(t *testing.T, c *config.Config, dir string) {
			c.OTLPEndpoint, c.OTLPHeadersFile = "https://otel.example.com", write(t, dir, "headers", "Authorization: Bearer x", 0o644)
		}, check: "telemetry", want: "warning: every account can read"},
		{name: "missing metadata of authenticators", change: func(t *testing.T, c *config.Config, dir string) { c.WebAuthnMDS = filepath.Join(dir, "none") },
			check: "webauthn_mds", want: "failed: --webauthn-mds: open", action: "load the file again"},
		{name: "metadata of authenticators that is not signed", change: func(t *testing.T, c *config.Config, dir string) {
			c.WebAuthnMDS = write(t, dir, "blob.jwt", "x", 0o600)
		}, check: "webauthn_mds", want: "failed: --webauthn-mds: ", action: "load the file again"},
		{name: "no webhooks", change: func(t *testing.T, c *config.Config, dir string) { c.Webhooks = "off" },
			check: "webhooks", want: "warning: no process delivers"},

		{name: "console without the secret of its provider", change: func(t *testing.T, c *config.Config, dir string) {
			c.ConsoleAddr, c.ConsoleOIDCIssuer, c.ConsoleOIDCClientID = "127.0.0.1:0", "https://id.example.com", "console"
			c.ConsoleOIDCClientSecret, c.ConsoleOIDCRoles = filepath.Join(dir, "none"), []string{"sre=admin"}
		}, check: "console_oidc", want: "failed: --console-oidc-client-secret: open", action: "correct the settings"},
		{name: "console at the address of the API", change: func(t *testing.T, c *config.Config, dir string) {
			c.Addr, c.ConsoleAddr = "127.0.0.1:4100", "127.0.0.1:4100"
		}, check: "settings", want: "failed: --console-addr is 127.0.0.1:4100, as --addr is"},
		{name: "console at an address of another machine", change: func(t *testing.T, c *config.Config, dir string) {
			c.ConsoleAddr, c.PlainHTTP = "192.0.2.1:8081", true
			c.ConsoleURL = "https://console.example.com"
		}, check: "console_addr", want: "failed: ", action: "address of this machine"},

		{name: "store of an unknown kind", change: func(t *testing.T, c *config.Config, dir string) { c.Store = "mysql://x" },
			check: "store", want: "failed: the store is not known"},
		{name: "store that must exist", change: func(t *testing.T, c *config.Config, dir string) {
			c.Store, c.StoreMustExist = "sqlite:"+filepath.Join(dir, "other.db"), true
		}, check: "store", want: "does not exist, and store_must_exist is set", action: "mount its volume"},
		{name: "store gone from its keyset", change: func(t *testing.T, c *config.Config, dir string) {
			if err := os.Remove(filepath.Join(dir, "countersign.db")); err != nil {
				t.Fatal(err)
			}
		}, check: "store", want: "failed: ", action: "countersign restore"},
		{name: "no database", change: func(t *testing.T, c *config.Config, dir string) {
			write(t, dir, "countersign.db", strings.Repeat("text ", 50), 0o600)
		}, check: "store", want: "not a database"},
		{name: "older schema", change: func(t *testing.T, c *config.Config, dir string) { pragma(t, *c, "PRAGMA user_version = 3") },
			check: "schema", want: "warning: the store has schema 3; the server updates it", action: "back up"},
		{name: "newer schema", change: func(t *testing.T, c *config.Config, dir string) { pragma(t, *c, "PRAGMA user_version = 1000") },
			check: "schema", want: "failed: the store has schema 1000", action: "newer version"},
		{name: "store that was copied away", change: func(t *testing.T, c *config.Config, dir string) {
			pragma(t, *c, "INSERT INTO meta VALUES ('moved_to', CAST('elsewhere' AS BLOB))")
		}, check: "store", want: "elsewhere", action: "use that store"},
		{name: "development store", change: func(t *testing.T, c *config.Config, dir string) {
			pragma(t, *c, "INSERT INTO meta VALUES ('development', CAST('yes' AS BLOB))")
		}, check: "store", want: "warning: sqlite:", action: "create a new store"},

		{name: "wrong keyset", change: func(t *testing.T, c *config.Config, dir string) {
			c.Keyset = "file:" + filepath.Join(dir, "other.keyset")
			if _, err := secret.CreateKeysetFile(filepath.Join(dir, "other.keyset")); err != nil {
				t.Fatal(err)
			}
		}, check: "keyset", want: "failed: file:", action: "name the right one"},
		{name: "keyset gone", change: func(t *testing.T, c *config.Config, dir string) {
			if err := os.Remove(filepath.Join(dir, "countersign.db.keyset")); err != nil {
				t.Fatal(err)
			}
		}, check: "keyset", want: "failed: the store is sealed, but its keyset is gone", action: "restore the file"},
		{name: "keyset that others can read", change: func(t *testing.T, c *config.Config, dir string) {
			if err := os.Chmod(filepath.Join(dir, "countersign.db.keyset"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, check: "keyset", want: "is open to others", action: ""},
		{name: "no keyset for PostgreSQL", change: func(t *testing.T, c *config.Config, dir string) {
			c.Store = "postgres://nobody@127.0.0.1:1/none?sslmode=disable"
		}, check: "keyset", want: "failed: a PostgreSQL store needs --keyset"},
		{name: "no database server", change: func(t *testing.T, c *config.Config, dir string) {
			c.Store = "postgres://nobody@127.0.0.1:1/none?sslmode=disable"
		}, check: "store", want: "failed: connect to PostgreSQL"},

		{name: "backups in no directory", change: func(t *testing.T, c *config.Config, dir string) { c.BackupDir = filepath.Join(dir, "none") },
			check: "backups", want: "failed: ", action: "create the directory"},
		{name: "backups on the disk of the store", change: func(t *testing.T, c *config.Config, dir string) { c.BackupDir = dir },
			check: "backups", want: "is on the disk of the store", action: "copy the backups"},
		{name: "backups that are old", change: func(t *testing.T, c *config.Config, dir string) {
			c.BackupDir = dir
			name := "countersign.db-" + time.Now().Add(-50*time.Hour).UTC().Format("20060102T150405.000Z") + ".backup"
			write(t, dir, name, "backup", 0o600)
			write(t, dir, "countersign.db.backups", name+"\n", 0o600)
		}, check: "backups", want: "warning: the newest of 1 in ", action: "search its log"},
		{name: "backups for PostgreSQL", change: func(t *testing.T, c *config.Config, dir string) {
			c.Store, c.BackupDir = "postgres://nobody@127.0.0.1:1/none?sslmode=disable", dir
		}, check: "settings", want: "failed: --backup-dir is only for SQLite stores", action: "pg_dump or pgBackRest"},

		{name: "more connections than files", change: func(t *testing.T, c *config.Config, dir string) { limitFiles(t, 512) },
			check: "open_files", want: "warning: 512 open files are allowed here", action: "LimitNOFILE"},
		{name: "address in use", change: func(t *testing.T, c *config.Config, dir string) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() { // a program of another kind
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					conn.Close()
				}
			}()
			t.Cleanup(func() { ln.Close() })
			c.Addr = ln.Addr().String()
		}, check: "addr", want: "is in use, but not by a Countersign server", action: "stop the program"},
		{name: "address of another machine", change: func(t *testing.T, c *config.Config, dir string) { c.MetricsAddr = "192.0.2.1:9464" },
			check: "metrics_addr", want: "failed: ", action: "address of this machine"},
		{name: "socket that is a file", change: func(t *testing.T, c *config.Config, dir string) {
			c.Addr = "unix:" + write(t, dir, "socket", "", 0o600)
		}, check: "addr", want: "exists and is not a socket"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, dir := checkable(t)
			tc.change(t, &cfg, dir)
			before := names(t, dir)
			found := finding(server.Check(t.Context(), cfg, tc.now), tc.check)
			if !strings.Contains(found, tc.want) || !strings.Contains(found, tc.action) || saysNothing(found) {
				t.Errorf("the check %s reports\n%s\nwant %q and %q", tc.check, found, tc.want, tc.action)
			}
			if after := names(t, dir); after != before {
				t.Errorf("Check changed the files\n%s\nto\n%s", before, after)
			}
		})
	}
}

// saysNothing reports whether a finding that is not ok does not say what to do.
func saysNothing(found string) bool {
	for line := range strings.Lines(found) {
		if !strings.HasPrefix(line, server.CheckOK) && strings.HasSuffix(strings.TrimSuffix(line, "\n"), "; ") {
			return true
		}
	}
	return false
}

func TestCheckFindsNoFaultInAGoodConfiguration(t *testing.T) {
	cfg, _ := checkable(t)
	for _, f := range server.Check(t.Context(), cfg, nil) {
		if f.Status != server.CheckOK || f.Action != "" || f.Message == "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestCheckMakesNoStore(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Default()
	cfg.Addr, cfg.Store = "unix:"+filepath.Join(dir, "socket"), "sqlite:"+filepath.Join(dir, "new", "countersign.db")
	cfg.EventsSink = "file:" + filepath.Join(dir, "events.jsonl")
	for _, f := range server.Check(t.Context(), cfg, nil) {
		if f.Status != server.CheckOK {
			t.Errorf("%+v", f)
		}
	}
	if left := names(t, dir); left != "" {
		t.Errorf("Check made %s", left)
	}
}

func TestCheckOfARunningServer(t *testing.T) {
	cfg, _ := checkable(t)
	for _, addr := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		cfg.Addr, cfg.MetricsAddr = addr, ""
		srv, err := server.New(t.Context(), cfg, server.Parts{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ln, _, err := srv.Listen()
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- srv.Serve(ctx, ln) }()
		if ln.Addr().Network() == "tcp" {
			cfg.Addr = ln.Addr().String()
		}
		found := server.Check(t.Context(), cfg, nil)
		if got := finding(found, "addr"); !strings.Contains(got, "ok: a running Countersign server listens on") {
			t.Errorf("addr: %s", got)
		}
		if got := finding(found, "store"); !strings.Contains(got, "a process is using it") {
			t.Errorf("store: %s", got)
		}
		for _, f := range found {
			if f.Status != server.CheckOK {
				t.Errorf("%+v", f)
			}
		}
		stop()
		if err := errors.Join(<-served, srv.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestCheckOfNodes(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		cfg, _ := checkable(t)
		path, _ := config.SQLitePath(cfg.Store)
		checkNodes(t, cfg, func(n nodes.Node) error {
			store, err := sqlite.Open(path, nil)
			if err != nil {
				return err
			}
			return errors.Join(store.PutNode(t.Context(), n), store.Close())
		})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		cfg := config.Default()
		keyset := filepath.Join(t.TempDir(), "keyset")
		if _, err := secret.CreateKeysetFile(keyset); err != nil {
			t.Fatal(err)
		}
		cfg.Addr, cfg.Store, cfg.Keyset = "127.0.0.1:0", pgtest.Shared(t).Database(t), "file:"+keyset
		srv, err := server.New(t.Context(), cfg, server.Parts{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Close(); err != nil {
			t.Fatal(err)
		}
		checkNodes(t, cfg, func(n nodes.Node) error {
			store, err := postgres.Open(t.Context(), cfg.Store, postgres.Options{})
			if err != nil {
				return err
			}
			return errors.Join(store.PutNode(t.Context(), n), store.Close())
		})
	})
}

// checkNodes checks a store that no node serves, after each change of its nodes. put stores the row of a node.
func checkNodes(t *testing.T, cfg config.Config, put func(nodes.Node) error) {
	t.Helper()
	now := time.Now()
	keyset := server.KeysetFingerprint(t, cfg)
	for _, step := range []struct {
		node nodes.Node
		want string
	}{
		{nodes.Node{ID: "lost", Keyset: "another", SeenAt: now.Add(-nodes.LostAfter - time.Second)}, "ok: no node serves the store now"},
		{nodes.Node{ID: "1", Name: "web-1", Address: ":4100", Version: "0.2.0", Keyset: keyset, SeenAt: now}, "ok: these nodes serve the store: web-1 at :4100 (0.2.0)"},
		{nodes.Node{ID: "2", Name: "web-2", Address: ":4100", Version: "0.1.0", Keyset: keyset, SeenAt: now.Add(-time.Second)},
			"warning: the nodes have different versions: web-1 at :4100 (0.2.0), web-2 at :4100 (0.1.0)"},
		{nodes.Node{ID: "2", Name: "web-2", Address: ":4100", Version: "0.2.0", Keyset: "another", SeenAt: now.Add(-time.Second)},
			"warning: these nodes have another keyset than this one: web-2 at :4100;"},
		{nodes.Node{ID: "2", Name: "web-2", Address: ":4100", Version: "0.2.0", Keyset: keyset, SeenAt: now.Add(-time.Second)},
			"ok: these nodes serve the store: web-1 at :4100 (0.2.0), web-2 at :4100 (0.2.0)"},
	} {
		if err := put(step.node); err != nil {
			t.Fatal(err)
		}
		if got := finding(server.Check(t.Context(), cfg, func() time.Time { return now }), "nodes"); !strings.HasPrefix(got, step.want) {
			t.Errorf("nodes: %s; want %s", got, step.want)
		}
	}
}

func TestCheckOfPostgreSQL(t *testing.T) {
	cfg := config.Default()
	keyset := filepath.Join(t.TempDir(), "keyset")
	if _, err := secret.CreateKeysetFile(keyset); err != nil {
		t.Fatal(err)
	}
	cfg.Addr, cfg.Store, cfg.Keyset = "127.0.0.1:0", pgtest.Shared(t).Database(t), "file:"+keyset
	if got := finding(server.Check(t.Context(), cfg, nil), "store"); !strings.Contains(got, "ok: postgres://") || !strings.Contains(got, "does not exist; the server creates it") {
		t.Errorf("of an empty database: %s", got)
	}
	srv, err := server.New(t.Context(), cfg, server.Parts{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	for _, f := range server.Check(t.Context(), cfg, nil) {
		if f.Status != server.CheckOK {
			t.Errorf("%+v", f)
		}
	}
	for _, tc := range []struct {
		off  time.Duration
		want string
	}{{time.Minute, "ahead of that of the database; max_clock_skew is 2s"}, {-time.Minute, "failed: the clock of this machine is"}, {1500 * time.Millisecond, "warning: the clock"}} {
		now := func() time.Time { return time.Now().Add(tc.off) }
		if got := finding(server.Check(t.Context(), cfg, now), "clock"); !strings.Contains(got, tc.want) || !strings.Contains(got, "NTP") {
			t.Errorf("with a clock that is off by %v: %s", tc.off, got)
		}
	}
}

func TestCheckOfAClockBehindTheStore(t *testing.T) {
	cfg, _ := checkable(t)
	srv, err := server.New(t.Context(), cfg, server.Parts{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	if _, err := srv.Access().CreateEnvironment(t.Context(), mfa.Caller{Operator: "ada"}, "staging", false); err != nil {
		t.Fatal(err)
	}
	yesterday := func() time.Time { return time.Now().Add(-24 * time.Hour) }
	if got := finding(server.Check(t.Context(), cfg, yesterday), "clock"); !strings.Contains(got, "failed: the clock of this machine is wrong: it is 24h") {
		t.Errorf("clock: %s", got)
	}
}
