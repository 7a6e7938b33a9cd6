package e2e_test

import (
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// TestTheServerReportsToSystemd starts the server as systemd does for Type=notify.
func TestTheServerReportsToSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	receive := func() string {
		t.Helper()
		buf := make([]byte, 4096)
		manager.SetReadDeadline(time.Now().Add(patience))
		n, err := manager.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	env := []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=200000"}
	p := launch(t, env, "serve", "--addr", "127.0.0.1:0", "--log-format", "text", "--store", storeIn(t, t.TempDir()))
	ready := receive()
	p.awaitServing()
	if want := "READY=1\nSTATUS=serving at " + p.url; ready != want {
		t.Errorf("the first report is %q; want %q", ready, want)
	}
	resp, err := http.Get(p.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for range 3 {
		if got := receive(); got != "WATCHDOG=1" {
			t.Errorf("the server reported %q; want WATCHDOG=1", got)
		}
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for {
		got := receive()
		if got == "STOPPING=1" {
			break
		}
		if got != "WATCHDOG=1" {
			t.Fatalf("the server reported %q", got)
		}
	}
}

func TestAWrongSocketOfSystemdIsAnError(t *testing.T) {
	p := launch(t, []string{"NOTIFY_SOCKET=vsock:2:1"}, "serve", "--addr", "127.0.0.1:0", "--store", storeIn(t, t.TempDir()))
	p.await(p.log, `NOTIFY_SOCKET: "vsock:2:1" is not the path of a socket`)
	<-p.exited
	if p.code != 1 {
		t.Errorf("exit code %d; want 1", p.code)
	}
}
