package e2e_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/test/executable"
)

// overSocket requests a path with curl through a unix socket.
func overSocket(t *testing.T, socket, path string) (status, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, testenv.Tool(t, "curl"), "-sS", "-w", "\n%{http_code}", "--unix-socket", socket, "http://localhost"+path).Output()
	if err != nil {
		t.Fatalf("curl --unix-socket %s %s: %v", socket, path, err)
	}
	end := bytes.LastIndexByte(out, '\n')
	return string(out[end+1:]), string(out[:end])
}

// TestServeListensOnAUnixSocket needs no --plain-http for plain HTTP, as on the
// loopback interface.
func TestServeListensOnAUnixSocket(t *testing.T) {
	t.Parallel()
	dir := socketDir(t)
	socket, metrics := filepath.Join(dir, "api.sock"), filepath.Join(dir, "metrics.sock")
	store := storeIn(t, t.TempDir())
	args := []string{"serve", "--addr", "unix:" + socket, "--metrics-addr", "unix:" + metrics, "--log-format", "text", "--store", store}
	p := serveWith(t, nil, args...)
	if p.url != "unix:"+socket {
		t.Errorf("the log gives the address %s", p.url)
	}
	for _, s := range []string{socket, metrics} {
		if info, err := os.Lstat(s); err != nil || info.Mode() != fs.ModeSocket|0o660 {
			t.Errorf("%s has mode %v (%v); want a socket of mode 0660", s, info.Mode(), err)
		}
	}
	if status, body := overSocket(t, socket, "/readyz"); status != "200" {
		t.Errorf("readyz = %s %s", status, body)
	}
	if status, body := overSocket(t, metrics, "/metrics"); status != "200" || !strings.Contains(body, "countersign_build_info") {
		t.Errorf("metrics = %s %s", status, body)
	}
	if status, body := overSocket(t, socket, "/auth/factors/x"); status != "401" {
		t.Errorf("without a key: %s %s", status, body)
	}

	refuses(t, "address already in use", args...)
	overSocket(t, socket, "/healthz")

	// A socket that remains after a crash is replaced.
	p.kill()
	if _, err := os.Lstat(socket); err != nil {
		t.Fatal(err)
	}
	p = serveWith(t, nil, args...)
	overSocket(t, socket, "/healthz")
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if names := namesIn(t, dir); len(names) != 0 {
		t.Errorf("the server left %q", names)
	}

	// Any other file is not replaced.
	if err := os.WriteFile(socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, "exists and is not a socket", args...)
	if string(readFile(t, socket)) != "precious" {
		t.Error("the file is gone")
	}
}

// TestDevOnAUnixSocket checks that its commands name the socket.
func TestDevOnAUnixSocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(socketDir(t), "dev.sock")
	p := launch(t, nil, "dev", "--addr", "unix:"+socket, "--store", storeIn(t, t.TempDir()))
	key := p.await(p.out, `API key   (sk_test_\w+)`)[1]
	logcapture.Secret(t, key)
	p.await(p.out, `curl -sS --unix-socket `+socket+` http://localhost/auth/factors/enroll`)
	if status, body := overSocket(t, socket, "/dev/inbox"); status != "200" {
		t.Errorf("the inbox = %s %s", status, body)
	}
}

// socketDir returns a directory with a path that is short enough for a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestAnIdleConnectionIsClosedAfterTheIdleTimeout(t *testing.T) {
	t.Parallel()
	p := serve(t, "--store", storeIn(t, t.TempDir()), "--idle-timeout", "50ms")
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// The program ends long before the default of two minutes.
	if reply, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(reply, []byte("HTTP/1.1 200")) {
		t.Errorf("read until the server closes = %q, %v", reply, err)
	}
}

// TestServeGoesOnWhenTheReaderOfItsLogIsGone runs 'serve 2>&1 | head -1'.
func TestServeGoesOnWhenTheReaderOfItsLogIsGone(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "serve", "--addr", "127.0.0.1:0", "--log-format", "text", "--store", "sqlite:"+filepath.Join(t.TempDir(), "countersign.db"))
	cmd.Env, cmd.Stdout, cmd.Stderr = executable.Environment(), writer, writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	defer func() { cmd.Process.Kill() }()

	log := newOutput(logcapture.Log(t, t.Name()))
	p := &program{t: t, cmd: cmd, out: log, log: log, exited: make(chan struct{})}
	copied := make(chan struct{})
	go func() { defer close(copied); io.Copy(log, reader) }()
	p.awaitServing()
	reader.Close()
	<-copied

	for range 3 {
		r, err := http.Get(p.url + "/auth/factors/x") // a line of the log each
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusUnauthorized {
			t.Errorf("status %d; want 401", r.StatusCode)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-exited:
		if err != nil {
			t.Errorf("the server ended with %v; want exit code 0", err)
		}
	case <-time.After(patience):
		t.Error("the server did not end")
	}
}
