// Package pgtest starts temporary PostgreSQL clusters for tests. It uses the server
// binaries of the machine, with fsync on, and free ports of the loopback address.
// COUNTERSIGN_TEST_PG_BIN names the directory of other binaries: the programs initdb and
// postgres are enough. The directory postgres18 has the binaries of the second run in scripts/test.
package pgtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// A Cluster is a running PostgreSQL server.
type Cluster struct {
	Dir  string // its data directory
	Port int

	bin     string
	account *syscall.Credential // the server's user; nil: the user of the test
	process *os.Process
	exited  <-chan struct{}
	source  string // of a standby: how it connects to its primary
	names   atomic.Int64
	filled  sync.Once // fill of Copy
}

// startWithin is the time in which a server must answer. Other tests may keep the
// machine busy.
const startWithin = 60 * time.Second

// Start starts a new, empty cluster and stops it when the test ends. It skips the
// test if PostgreSQL is not installed, unless testenv.ToolsRequired.
func Start(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	c, err := New(settings...)
	if err != nil {
		if !testenv.ToolsRequired() {
			t.Skipf("PostgreSQL is not there: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(c.Remove)
	return c
}

// New is Start for a TestMain: call Remove at the end. settings are lines of
// postgresql.conf.
func New(settings ...string) (*Cluster, error) {
	c, err := prepare()
	if err != nil {
		return nil, err
	}
	if out, err := c.run("initdb", "--pgdata="+c.Dir, "--username=postgres", "--auth=trust", "--encoding=UTF8",
		"--locale=C.UTF-8", "--no-instructions"); err != nil {
		c.Remove()
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := c.Configure(append([]string{
		"listen_addresses = '127.0.0.1'",
		"unix_socket_directories = ''",
		"fsync = on",
		"shared_buffers = 64MB",
		"max_connections = 200",
		"logging_collector = off",
	}, settings...)...); err != nil {
		c.Remove()
		return nil, err
	}
	return c, c.Boot()
}

// prepare finds the server binaries and makes an empty directory for its account.
func prepare() (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin}
	if c.Port, err = freePort(); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if c.account, err = unprivileged(); err != nil {
			return nil, err
		}
	}
	base, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return nil, err
	}
	c.Dir = filepath.Join(base, "data")
	if c.account != nil {
		err = os.Chown(base, int(c.account.Uid), int(c.account.Gid))
	}
	return c, err
}

// binaries returns the directory of the newest server: PostgreSQL keeps its
// programs out of PATH on Debian.
func binaries() (string, error) {
	if dir := os.Getenv("COUNTERSIGN_TEST_PG_BIN"); dir != "" {
		return dir, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is good
	if path, err := exec.LookPath("postgres"); err == nil && len(found) == 0 {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no server binaries in /usr/lib/postgresql or PATH; scripts/setup installs them")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

// unprivileged returns an account that PostgreSQL agrees to run as; it refuses root.
func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			continue
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			continue
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("PostgreSQL needs an account to run as: postgres or nobody")
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

func (c *Cluster) run(name string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = filepath.Dir(c.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.account}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Configure adds lines to postgresql.conf, which take effect at the next start.
func (c *Cluster) Configure(lines ...string) error {
	return c.appendTo("postgresql.conf", lines...)
}

func (c *Cluster) appendTo(file string, lines ...string) error {
	f, err := os.OpenFile(filepath.Join(c.Dir, file), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Boot starts the server and waits until it answers. It tries several times,
// because processes of a killed server may still run.
func (c *Cluster) Boot() error {
	deadline := time.Now().Add(startWithin)
	for {
		before := len(c.Log())
		err := c.boot()
		old := strings.Contains(c.Log()[before:], "is still in use")
		if err == nil || !old || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (c *Cluster) boot() error {
	log, err := os.OpenFile(filepath.Join(filepath.Dir(c.Dir), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(c.bin, "postgres"), "-D", c.Dir, "-p", strconv.Itoa(c.Port))
	cmd.Dir = filepath.Dir(c.Dir)
	if c.exited, c.process, err = start(cmd, c.account, log); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	return c.await()
}

// start runs a program that ends with the test, and returns a channel that is
// closed when it has ended.
func start(cmd *exec.Cmd, account *syscall.Credential, log *os.File) (<-chan struct{}, *os.Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	dieWithParent(cmd.SysProcAttr)
	cmd.Stdout, cmd.Stderr = log, log
	// The kernel ends the program when the thread that started it ends, so this
	// thread must live as long as the program.
	started := make(chan error)
	exited := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		return nil, nil, err
	}
	return exited, cmd.Process, nil
}

func (c *Cluster) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-c.exited:
			return fmt.Errorf("postgres ended:\n%s", c.Log())
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w\n%s", err, c.Log())
		case <-tick.C:
		}
	}
}

// Log returns what the server has logged.
func (c *Cluster) Log() string {
	b, _ := os.ReadFile(filepath.Join(filepath.Dir(c.Dir), "log"))
	return string(b)
}

// URL returns the URL of a database of the cluster.
func (c *Cluster) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", c.Port, database)
}

// Database creates a new, empty database, drops it when the test ends, and returns
// its URL.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	return c.database(t, "template1")
}

// Copy is like Database, but the database has what fill writes. fill runs once: the
// database is a copy of the one that it filled.
func (c *Cluster) Copy(t testing.TB, fill func(ctx context.Context, url string) error) string {
	t.Helper()
	c.filled.Do(func() {
		c.Exec(t, "CREATE DATABASE filled")
		if err := fill(t.Context(), c.URL("filled")); err != nil {
			t.Fatal(err)
		}
	})
	return c.database(t, "filled")
}

func (c *Cluster) database(t testing.TB, template string) string {
	t.Helper()
	name := fmt.Sprintf("test%d", c.names.Add(1))
	c.Exec(t, "CREATE DATABASE "+name+" TEMPLATE "+template)
	t.Cleanup(func() {
		if c.Running() {
			c.Exec(t, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		}
	})
	return c.URL(name)
}

// Exec runs a statement in the database postgres. It does not wait for a standby.
func (c *Cluster) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL("postgres")+"&synchronous_commit=local")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Running reports whether the server is running.
func (c *Cluster) Running() bool {
	if c.exited == nil {
		return false
	}
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// Kill ends the server and all its connections at once, as if the machine had
// failed.
func (c *Cluster) Kill() {
	if !c.Running() {
		return
	}
	c.process.Signal(syscall.SIGSTOP) // it must not start further processes
	for _, pid := range children(c.process.Pid) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	c.signal(syscall.SIGKILL)
}

// Freeze stops all processes of the server, so it answers nothing. Thaw lets them
// continue.
func (c *Cluster) Freeze() { c.all(syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (c *Cluster) Thaw() { c.all(syscall.SIGCONT) }

func (c *Cluster) all(s syscall.Signal) {
	for _, pid := range append(children(c.process.Pid), c.process.Pid) {
		syscall.Kill(pid, s)
	}
}

// children returns the child processes of a process on systems with /proc. On
// other systems, the processes of a server notice by themselves that it was killed.
func children(parent int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // has ended
		}
		stat := string(b) // pid (name) state parent ...
		fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Stop shuts the server down in good order and closes its connections.
func (c *Cluster) Stop() { c.signal(syscall.SIGINT) }

func (c *Cluster) signal(s syscall.Signal) {
	if c.Running() {
		c.process.Signal(s)
		<-c.exited
	}
}

// Standby starts a replica of the cluster that can be promoted. With the name in
// the primary's synchronous_standby_names, commits wait for it.
func (c *Cluster) Standby(t testing.TB, name string) *Cluster {
	t.Helper()
	s, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Remove)
	s.source = fmt.Sprintf("host=127.0.0.1 port=%d user=postgres application_name=%s", c.Port, name)
	if err := c.backup(t.Context(), s); err != nil {
		t.Fatalf("copy the primary: %v", err)
	}
	if err := s.appendTo("postgresql.auto.conf", "primary_conninfo = '"+s.source+"'", "wal_retrieve_retry_interval = '100ms'"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "standby.signal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.account != nil {
		if err := os.Chown(filepath.Join(s.Dir, "standby.signal"), int(s.account.Uid), int(s.account.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Boot(); err != nil {
		t.Fatal(err)
	}
	return s
}

// Synchronize makes all commits of the cluster wait for a standby with that name.
func (c *Cluster) Synchronize(t testing.TB, standby string) {
	t.Helper()
	c.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = '"+standby+"'")
	c.Exec(t, "SELECT pg_reload_conf()")
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	const isSynchronous = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = $1 AND sync_state = 'sync')"
	for synchronous := false; !synchronous; {
		if err := conn.QueryRow(ctx, isSynchronous, standby).Scan(&synchronous); err != nil {
			t.Fatalf("wait for the standby %s: %v", standby, err)
		}
		<-tick.C
	}
}

// Partition ends the connection of a standby to its primary, whose commits then wait if
// the standby is synchronous. It returns when the standby receives nothing more.
func (c *Cluster) Partition(t testing.TB) { c.follow(t, "", 0) }

// Heal connects a standby to its primary again.
func (c *Cluster) Heal(t testing.TB) { c.follow(t, c.source, 1) }

// follow changes the connection of a standby and waits until it has the given number of receivers.
func (c *Cluster) follow(t testing.TB, source string, receivers int) {
	t.Helper()
	c.Exec(t, "ALTER SYSTEM SET primary_conninfo = '"+source+"'")
	c.Exec(t, "SELECT pg_reload_conf()")
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := -1; n != receivers; <-tick.C {
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_wal_receiver").Scan(&n); err != nil {
			t.Fatalf("wait for the receiver of a standby: %v", err)
		}
	}
}

// Promote makes a standby the primary.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	c.Exec(t, "SELECT pg_promote(true, 30)")
}

// Remove ends the server and deletes its data.
func (c *Cluster) Remove() {
	c.signal(syscall.SIGQUIT)
	os.RemoveAll(filepath.Dir(c.Dir))
}
