package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// timeToFirstCode is the time that docs/install.md promises, from the installation of the
// package to the first verified code.
const timeToFirstCode = time.Minute

// TestAPackageServesAVerifiedCode installs the .deb in a minimal Debian that systemd has
// booted in its own namespaces, and runs the commands of docs/install.md.
func TestAPackageServesAVerifiedCode(t *testing.T) {
	m := boot(t)
	deb, err := filepath.Glob(filepath.Join(released(t), "*.deb"))
	if err != nil || len(deb) != 1 {
		t.Fatalf("packages: %v, %v", deb, err)
	}
	m.copyIn(t, deb[0], "/root/"+filepath.Base(deb[0]))
	document := string(readFile(t, filepath.Join(repository, "docs/install.md")))

	began := time.Now()
	m.run(t, commandsAfter(t, document, "As root, on Debian or Ubuntu:"))
	started := time.Since(began)
	out := m.run(t, commandsAfter(t, document, "Create an environment with a key for your program")+
		commandsAfter(t, document, "Enroll an authenticator app")+"\n"+
		commandsAfter(t, document, "Verify the code that the app shows"))
	took := time.Since(began)
	var verified struct{ Valid bool }
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &verified); err != nil || !verified.Valid {
		t.Fatalf("the verification printed %q (%v)", out, err)
	}
	t.Logf("installed and started after %v, first verified code after %v", started.Round(time.Millisecond), took.Round(time.Millisecond))
	if took > timeToFirstCode {
		t.Errorf("the first verified code took %v; want at most %v", took, timeToFirstCode)
	}

	t.Run("the files of the service are private", func(t *testing.T) {
		for path, want := range map[string]string{
			"/etc/countersign.yaml": "640 root countersign",
			"/etc/countersign":      "750 root countersign",
			"/var/lib/countersign":  "700 countersign countersign",
		} {
			if got := strings.TrimSpace(m.run(t, "stat -c '%a %U %G' "+path)); got != want {
				t.Errorf("%s: %s; want %s", path, got, want)
			}
		}
	})
	t.Run("the document checks the configuration", func(t *testing.T) {
		m.run(t, "runuser -u countersign -- countersign check --config /etc/countersign.yaml")
	})
	t.Run("systemd knows that the server is ready, and starts it at boot", func(t *testing.T) {
		if status := m.property(t, "StatusText"); status != "serving at http://127.0.0.1:4100" {
			t.Errorf("status %q", status)
		}
		if got := strings.TrimSpace(m.run(t, "systemctl is-enabled countersign")); got != "enabled" {
			t.Errorf("is-enabled printed %q", got)
		}
	})
	t.Run("a reload reads the keyset again", func(t *testing.T) {
		m.run(t, "systemctl reload countersign")
		m.await(t, "journalctl -u countersign -o cat | grep -c 'reloaded the keyset'")
	})
	t.Run("the keyset can be a credential", func(t *testing.T) {
		m.run(t, commandsAfter(t, document, "To move the keyset of a SQLite store there")+
			"\n"+`test "$(stat -c %a /etc/credstore)" = 700`)
		if state := m.property(t, "ActiveState"); state != "active" {
			t.Errorf("the service is %s", state)
		}
		m.run(t, "test ! -e /var/lib/countersign/countersign.db.keyset")
	})
	t.Run("with the socket, a restart refuses no connection", func(t *testing.T) {
		m.run(t, commandsAfter(t, document, "is not that of a setting. To turn it on, as root:"))
		m.run(t, `refused=/run/refused; rm -f $refused
while test ! -e /run/enough; do countersign health --config /etc/countersign.yaml >/dev/null 2>>$refused || echo refused >>$refused; done &
for i in 1 2 3; do systemctl restart countersign; done
touch /run/enough; wait
if test -s $refused; then cat $refused; exit 1; fi
systemctl is-active countersign countersign.socket`)
	})
	t.Run("the watchdog ends a server that does not answer", func(t *testing.T) {
		m.run(t, `mkdir -p /run/systemd/system/countersign.service.d
printf '[Service]\nWatchdogSec=4\n' >/run/systemd/system/countersign.service.d/test.conf
systemctl daemon-reload
systemctl restart countersign`)
		before := m.property(t, "MainPID")
		m.await(t, "sleep 5; test $(systemctl show -P MainPID countersign) = "+before) // it reports
		m.run(t, "kill -STOP "+before)
		m.await(t, `pid=$(systemctl show -P MainPID countersign); test "$pid" != 0 && test "$pid" != `+before+` && systemctl is-active countersign`)
		if n := m.property(t, "NRestarts"); n != "1" {
			t.Errorf("%s restarts; want 1", n)
		}
	})
	t.Run("an upgrade restarts the server and keeps the configuration", func(t *testing.T) {
		before := m.property(t, "MainPID")
		m.run(t, "echo '# changed here' >>/etc/countersign.yaml; dpkg -i /root/*.deb; grep 'changed here' /etc/countersign.yaml; systemctl is-active countersign")
		if m.property(t, "MainPID") == before {
			t.Error("the old program still runs")
		}
	})
	t.Run("a removal keeps the store", func(t *testing.T) {
		m.run(t, "dpkg --purge countersign; test -f /var/lib/countersign/countersign.db; test ! -e /usr/bin/countersign; ! pgrep countersign; ! systemctl is-active countersign.socket")
	})
}

// commandsAfter returns the indented commands that follow a sentence of a document.
func commandsAfter(t *testing.T, document, sentence string) string {
	t.Helper()
	_, rest, found := strings.Cut(document, sentence)
	if !found {
		t.Fatalf("docs/install.md has no %q", sentence)
	}
	commands := regexp.MustCompile(`(?m)(?:^    .*\n)+`).FindString(rest)
	if commands == "" {
		t.Fatalf("docs/install.md has no commands after %q", sentence)
	}
	return strings.ReplaceAll(strings.TrimPrefix(commands, "    "), "\n    ", "\n")
}

// A machine is a Debian that systemd has booted in its own namespaces, without a network.
type machine struct{ init int } // the process of systemd, as this process sees it

// booting prepares the namespaces, and becomes systemd. The file system is that of
// scripts/setup, unchanged: all writes go to memory.
const booting = `set -e
umask 022 # scripts/test has another one
mount --make-rprivate /
mount -t tmpfs tmpfs "$WORK"
mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
mount -t overlay -o "lowerdir=$DEBIAN,upperdir=$WORK/upper,workdir=$WORK/work" overlay "$WORK/root"
cd "$WORK/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
  touch dev/$device
  mount --bind /dev/$device dev/$device
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
hostname countersign-test
mount --make-rshared / # a real systemd does it: services mount their credentials
exec chroot . /usr/bin/env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target
`

// needNamespaces skips the test where root may not make namespaces and control groups, as in
// most containers. No program that scripts/setup could install changes that.
func needNamespaces(t *testing.T, unshare string) {
	t.Helper()
	if out, err := exec.Command(unshare, "--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc").CombinedOutput(); err != nil {
		t.Skipf("needs a machine or a container in which root may mount file systems: %v: %s", err, out)
	}
	if !controlGroups.Match(readFile(t, "/proc/self/mounts")) {
		t.Skip("needs control groups, version 2, which are not mounted")
	}
}

var controlGroups = regexp.MustCompile(`(?m)^\S+ (\S+) cgroup2 rw`)

// boot starts a machine, which ends with the test.
func boot(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to boot systemd in namespaces; CI runs this test")
	}
	unshare := testenv.Tool(t, "unshare")
	needNamespaces(t, unshare)
	debian, err := filepath.Abs(filepath.Join(repository, ".cache/debian"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(debian, "lib/systemd/systemd")); err != nil {
		testenv.Missing(t, err)
	}
	cmd := exec.Command(unshare, "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--fork", "--kill-child=KILL", "bash", "-c", booting)
	cmd.Env = append(os.Environ(), "WORK="+t.TempDir(), "DEBIAN="+debian)
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	enterGroup(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // and with it systemd
		cmd.Wait()
	})
	m := &machine{init: childOf(t, cmd.Process.Pid)}
	deadline := time.Now().Add(30 * time.Second)
	for {
		// "degraded" only means that some unit of Debian needs a real machine.
		out, _ := m.command(t.Context(), "systemctl is-system-running").CombinedOutput()
		if state := strings.TrimSpace(string(out)); state == "running" || state == "degraded" {
			return m
		} else if time.Now().After(deadline) {
			t.Fatalf("systemd is %q after 30 s:\n%s", state, console.String())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// enterGroup makes a command start in its own control group, so systemd manages only
// the groups below it.
func enterGroup(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	found := controlGroups.FindStringSubmatch(string(readFile(t, "/proc/self/mounts")))
	own := regexp.MustCompile(`(?m)^0::(.*)$`).FindStringSubmatch(string(readFile(t, "/proc/self/cgroup")))
	dir := filepath.Join(found[1], own[1], fmt.Sprintf("countersign-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the end of the machine
		for range 50 {
			if removeGroups(dir) {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("%s is still in use", dir)
	})
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { group.Close() })
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
}

// removeGroups removes a control group and all below it, and reports whether they are gone.
func removeGroups(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	for _, e := range entries {
		if e.IsDir() {
			removeGroups(filepath.Join(dir, e.Name()))
		}
	}
	return os.Remove(dir) == nil
}

// childOf returns the only child of a process, once it is there.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	for range 100 {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
		if err != nil {
			t.Fatal(err)
		}
		if child, err := strconv.Atoi(strings.TrimSpace(string(children))); err == nil {
			return child
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("unshare started no process")
	return 0
}

// command is a command of the shell in the machine, as root, in root's directory.
func (m *machine) command(ctx context.Context, script string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(m.init), "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--root", "--wd",
		"env", "-i", "HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
		"bash", "-euc", "umask 022\ncd /root\n"+script)
}

// run runs commands in the machine, which must succeed, and returns their standard output.
func (m *machine) run(t *testing.T, script string) string {
	t.Helper()
	cmd := m.command(t.Context(), script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		log, _ := m.command(t.Context(), "journalctl --no-pager -n 30 -o cat -u countersign").CombinedOutput()
		t.Fatalf("%s\n%v\n%s%s\nthe journal:\n%s", script, err, out, stderr.Bytes(), log)
	}
	return string(out)
}

// await runs a command until it succeeds.
func (m *machine) await(t *testing.T, script string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		out, err := m.command(t.Context(), script).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s\n%v\n%s", script, err, out)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// property returns a property of the service.
func (m *machine) property(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(m.run(t, "systemctl show -P "+name+" countersign"))
}

// copyIn copies a file into the machine.
func (m *machine) copyIn(t *testing.T, from, to string) {
	t.Helper()
	cmd := m.command(t.Context(), "cat >"+to)
	cmd.Stdin = bytes.NewReader(readFile(t, from))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v\n%s", from, err, out)
	}
}
