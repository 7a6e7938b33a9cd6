package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// Pool starts a PgBouncer in transaction mode before the cluster, until the test
// ends, and returns the URL of the same database through it. settings are lines of
// its configuration. It skips the test if PgBouncer is not installed, unless
// testenv.ToolsRequired.
func (c *Cluster) Pool(t testing.TB, direct string, settings ...string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // is not in everyone's PATH
		if _, err := os.Stat(program); err != nil && !testenv.ToolsRequired() {
			t.Skip("PgBouncer is not there; scripts/setup installs it")
		}
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(c.Dir), fmt.Sprintf("pgbouncer-%d.ini", port))
	lines := append([]string{
		"[databases]",
		fmt.Sprintf("* = host=127.0.0.1 port=%d user=postgres", c.Port),
		"[pgbouncer]",
		"listen_addr = 127.0.0.1",
		fmt.Sprintf("listen_port = %d", port),
		"unix_socket_dir =",
		"auth_type = any",
		"pool_mode = transaction",
		"max_client_conn = 200",
		"default_pool_size = 8",
	}, settings...)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The account of the server can read the file, also with a strict umask.
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(file + ".log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	exited, process, err := start(exec.Command(program, file), c.account, log)
	if err != nil {
		t.Fatalf("start pgbouncer: %v", err)
	}
	t.Cleanup(func() {
		process.Signal(syscall.SIGTERM)
		<-exited
	})
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = fmt.Sprintf("127.0.0.1:%d", port)
	awaitPool(t, u.String(), exited, log.Name())
	return u.String()
}

func awaitPool(t testing.TB, url string, exited <-chan struct{}, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			conn.Close(ctx)
			return
		}
		said, _ := os.ReadFile(log)
		select {
		case <-exited:
			t.Fatalf("pgbouncer ended:\n%s", said)
		case <-ctx.Done():
			t.Fatalf("pgbouncer does not answer: %v\n%s", err, said)
		case <-tick.C:
		}
	}
}
