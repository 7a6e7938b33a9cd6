package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

// TestPlaintextBeyondThisMachineIsRefused needs no server: the store refuses the URLs
// before it connects.
func TestPlaintextBeyondThisMachineIsRefused(t *testing.T) {
	for _, tc := range []struct {
		url, env string // env is the value of PGSSLMODE
		refused  bool
	}{
		{url: "postgres://192.0.2.1/cs", refused: true},
		{url: "postgres://192.0.2.1/cs?sslmode=disable", refused: true},
		{url: "postgres://192.0.2.1/cs?sslmode=allow", refused: true},
		{url: "postgres://192.0.2.1/cs?sslmode=prefer", refused: true},
		{url: "postgres://192.0.2.1/cs?sslmode=require"},
		{url: "postgres://192.0.2.1/cs?sslmode=verify-ca"},
		{url: "postgres://192.0.2.1/cs?sslmode=verify-full"},
		{url: "postgres://192.0.2.1/cs", env: "disable", refused: true},
		{url: "postgres://192.0.2.1/cs", env: "require"},
		{url: "postgres://127.0.0.1,192.0.2.1/cs?sslmode=disable", refused: true},
		{url: "postgres:///cs?host=127.0.0.1,192.0.2.1", refused: true},
		{url: "postgres://192.0.2.1/cs?sslmode=disable&allow_plaintext=yes"},
		{url: "postgres://192.0.2.1/cs?sslmode=disable&allow_plaintext=no", refused: true},
		{url: "postgres://127.0.0.1/cs"},
		{url: "postgres://127.0.0.1,localhost,[::1]/cs?sslmode=disable"},
		{url: "postgres:///cs?host=/run/postgresql"},
		{url: "postgres://%2Frun%2Fpostgresql/cs?sslmode=disable"},
	} {
		t.Setenv("PGSSLMODE", tc.env)
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // prevents any connection
		err := postgres.Migrate(ctx, tc.url)
		if refused := err != nil && strings.Contains(err.Error(), "add sslmode=verify-full"); refused != tc.refused {
			t.Errorf("%s, PGSSLMODE %q: %v; want it refused: %t", tc.url, tc.env, err, tc.refused)
		}
	}
}

func TestOtherEncodingsAreRefused(t *testing.T) {
	for _, encoding := range []string{"EUC_JP", "LATIN1", "SQL_ASCII"} {
		name := "encoded_" + strings.ToLower(encoding)
		cluster.Exec(t, fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING '%s' LC_COLLATE 'C' LC_CTYPE 'C'", name, encoding))
		t.Cleanup(func() { cluster.Exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
		for what, err := range map[string]error{
			"Migrate": postgres.Migrate(t.Context(), cluster.URL(name)),
			"Open":    openError(t, cluster.URL(name)),
		} {
			if err == nil || !strings.Contains(err.Error(), "its encoding is "+encoding) {
				t.Errorf("%s = %v; want an error that names %s", what, err, encoding)
			}
		}
	}
	url := migrated(t)
	if err := openError(t, with(url, "client_encoding=LATIN1")); err == nil || !strings.Contains(err.Error(), "client_encoding is LATIN1") {
		t.Errorf("Open = %v; want an error that names client_encoding", err)
	}
	cluster.Exec(t, "ALTER ROLE postgres SET client_encoding = 'LATIN1'")
	t.Cleanup(func() { cluster.Exec(t, "ALTER ROLE postgres RESET client_encoding") })
	openAt(t, url, postgres.Options{})
}

func openError(t *testing.T, url string) error {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, postgres.Options{})
	if err == nil {
		s.Close()
	}
	return err
}

// TestARotatedPasswordIsUsed changes the password of a role, and then the source from
// which nodes read it. The nodes continue without a restart.
func TestARotatedPasswordIsUsed(t *testing.T) {
	c := pgtest.Start(t)
	c.Exec(t, "CREATE ROLE app LOGIN PASSWORD 'first-password'")
	c.Exec(t, "CREATE DATABASE cs OWNER app")
	hba := "host all app 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n"
	if err := os.WriteFile(filepath.Join(c.Dir, "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Exec(t, "SELECT pg_reload_conf()")
	dir := t.TempDir()
	set := func(password string) {
		t.Helper()
		logcapture.Secret(t, password)
		line := fmt.Sprintf("127.0.0.1:%d:cs:app:%s\n", c.Port, password)
		if err := os.WriteFile(filepath.Join(dir, "passfile"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "token"), []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("first-password")
	base := fmt.Sprintf("postgres://app@127.0.0.1:%d/cs?sslmode=disable", c.Port)
	stores := map[string]*postgres.Store{}
	for name, parameter := range map[string]string{
		"passfile": "&passfile=" + url.PathEscape(filepath.Join(dir, "passfile")),
		"command":  "&password_command=" + url.PathEscape("cat "+filepath.Join(dir, "token")),
	} {
		if err := postgres.Migrate(t.Context(), base+parameter); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		stores[name] = openAt(t, base+parameter, postgres.Options{})
	}
	if err := openError(t, base); err == nil {
		t.Fatal("the server asks for no password")
	}
	cut := func() { c.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'") }
	c.Exec(t, "ALTER ROLE app PASSWORD 'second-password'")
	cut()
	for name, s := range stores {
		if err := pingUntil(t, s, func(err error) bool { return err != nil && strings.Contains(err.Error(), "28P01") }); err != nil {
			t.Errorf("%s: with the old password: %v; want it refused", name, err)
		}
	}
	set("second-password")
	for name, s := range stores {
		if err := pingUntil(t, s, func(err error) bool { return err == nil }); err != nil {
			t.Errorf("%s: with the new password: %v", name, err)
		}
	}
}

// pingUntil pings until done accepts the result and returns nil. After 20 s it returns
// the last error.
func pingUntil(t *testing.T, s *postgres.Store, done func(error) bool) error {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := s.Ping(t.Context())
		if done(err) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("still %w", err)
		}
	}
}

// TestAPoolerThatForgetsStatementsIsNamed uses a PgBouncer that shares one server
// connection among all clients. The driver is not configured for that.
func TestAPoolerThatForgetsStatementsIsNamed(t *testing.T) {
	direct := migrated(t)
	pooled := cluster.Pool(t, direct, "default_pool_size = 1")
	var err error
	for range 3 { // the first may prepare all its statements before the second connects
		if err = openError(t, pooled); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "default_query_exec_mode=cache_describe") {
		t.Errorf("Open = %v; want an error that says what to write", err)
	}
	if err := openError(t, with(pooled, "default_query_exec_mode=cache_describe")); err != nil {
		t.Errorf("Open with what the error says = %v", err)
	}
}
