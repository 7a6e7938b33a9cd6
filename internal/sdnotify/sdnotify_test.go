package sdnotify_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/sdnotify"
)

// manager listens as systemd does, and sets the variables of a service.
func manager(t *testing.T, name, usec, pid string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", usec)
	t.Setenv("WATCHDOG_PID", pid)
	return conn
}

func receive(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 4096)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestAServiceReportsItsState(t *testing.T) {
	abstract := "@countersign-" + strconv.Itoa(os.Getpid())
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), abstract} {
		conn := manager(t, name, "", "")
		n, err := sdnotify.FromEnvironment()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
			if value, set := os.LookupEnv(name); set {
				t.Errorf("commands of the service have %s=%s", name, value)
			}
		}
		if err := n.Ready("serves\nat once"); err != nil {
			t.Fatal(err)
		}
		if got, want := receive(t, conn), "READY=1\nSTATUS=serves at once"; got != want {
			t.Errorf("Ready sent %q; want %q", got, want)
		}
		if err := n.Stopping(); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, conn); got != "STOPPING=1" {
			t.Errorf("Stopping sent %q", got)
		}
	}
}

func TestWithoutAManagerNothingIsSent(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n, err := sdnotify.FromEnvironment()
	if n != nil || err != nil {
		t.Fatalf("FromEnvironment = %v, %v", n, err)
	}
	if err := errors.Join(n.Ready(""), n.Stopping()); err != nil {
		t.Error(err)
	}
	n.Watch(t.Context(), func(context.Context) error { t.Error("checked"); return nil }, nil)
}

func TestTheWatchdogHearsOnlyOfAServiceThatWorks(t *testing.T) {
	conn := manager(t, filepath.Join(t.TempDir(), "notify"), "20000", strconv.Itoa(os.Getpid()))
	n, err := sdnotify.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	fault := errors.New("it does not answer")
	checks, reported := 0, 0
	go func() {
		defer close(ended)
		n.Watch(ctx, func(context.Context) error {
			switch checks++; checks {
			case 2:
				return fault
			case 4:
				cancel()
			}
			return nil
		}, func(err error) {
			if reported++; !errors.Is(err, fault) {
				t.Errorf("reported %v", err)
			}
		})
	}()
	<-ended
	if reported != 1 {
		t.Errorf("%d failures were reported; want 1", reported)
	}
	for range 3 {
		if got := receive(t, conn); got != "WATCHDOG=1" {
			t.Errorf("Watch sent %q", got)
		}
	}
	conn.SetReadDeadline(time.Now())
	if n, err := conn.Read(make([]byte, 100)); err == nil {
		t.Errorf("Watch sent another message, of %d bytes, for a check that failed", n)
	}
}

func TestTheWatchdogOfAnotherProcessIsIgnored(t *testing.T) {
	manager(t, filepath.Join(t.TempDir(), "notify"), "20000", "1")
	n, err := sdnotify.FromEnvironment()
	if err != nil || n == nil {
		t.Fatalf("FromEnvironment = %v, %v", n, err)
	}
	n.Watch(t.Context(), func(context.Context) error { t.Error("checked"); return nil }, nil)
}

func TestWrongVariablesAreErrors(t *testing.T) {
	for _, tc := range []struct{ socket, usec string }{
		{"relative", ""},
		{"vsock:2:1234", ""},
		{"/run/notify", "soon"},
		{"/run/notify", "0"},
		{"/run/notify", "-5"},
		{"/run/notify", "9999999999999999"},
	} {
		t.Setenv("NOTIFY_SOCKET", tc.socket)
		t.Setenv("WATCHDOG_USEC", tc.usec)
		t.Setenv("WATCHDOG_PID", "")
		if n, err := sdnotify.FromEnvironment(); err == nil {
			t.Errorf("NOTIFY_SOCKET=%s WATCHDOG_USEC=%s: %v; want an error", tc.socket, tc.usec, n)
		}
	}
}
