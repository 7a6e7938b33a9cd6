package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// inherits returns a command that runs serve as systemd does: with open sockets, and variables
// that name them.
func inherits(sockets []*os.File, args ...string) *exec.Cmd {
	script := fmt.Sprintf(`export LISTEN_FDS=%d LISTEN_PID=$$; exec "$0" "$@"`, len(sockets))
	cmd := exec.Command("sh", append([]string{"-c", script, binary, "serve", "--log-format", "text"}, args...)...)
	cmd.ExtraFiles = sockets
	return cmd
}

// socket returns a listening socket, as systemd opens it.
func socket(t *testing.T) (addr string, file *os.File) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err = ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return ln.Addr().String(), file
}

func TestARestartWithASocketOfSystemdRefusesNoConnection(t *testing.T) {
	t.Parallel()
	addr, api := socket(t)
	metricsAddr, metrics := socket(t)
	store := storeIn(t, t.TempDir())
	start := func() *program {
		p := launchBy(t, nil, inherits([]*os.File{metrics, api}, "--addr", addr, "--metrics-addr", metricsAddr, "--store", store))
		p.awaitServing()
		return p
	}
	p := start()
	if p.url != "http://"+addr {
		t.Fatalf("it serves at %s; want the socket %s", p.url, addr)
	}
	if status, _ := get(t, p.metricsURL()); status != http.StatusOK {
		t.Errorf("metrics: %d", status)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var answered atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
			for ctx.Err() == nil {
				resp, err := client.Get("http://" + addr + "/healthz")
				if err != nil {
					t.Errorf("a request during restarts: %v", err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("a request during restarts: %s", resp.Status)
				}
				answered.Add(1)
			}
		})
	}
	for range 3 {
		before := answered.Load()
		for answered.Load() < before+20 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		if code := p.stop(); code != 0 {
			t.Errorf("exit code %d:\n%s", code, p.log.tail())
		}
		p = start()
	}
	cancel()
	clients.Wait()
	t.Logf("%d requests were answered during three restarts", answered.Load())
}

func TestASocketThatNoSettingNamesIsAnError(t *testing.T) {
	t.Parallel()
	addr, file := socket(t)
	cmd := inherits([]*os.File{file}, "--addr", "127.0.0.1:0", "--store", storeIn(t, t.TempDir()))
	out, err := cmd.CombinedOutput()
	if want := "systemd passed the socket " + addr + ", which is not the address of a setting"; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("it ended with %v and printed %q; want %q", err, out, want)
	}
}
