package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
)

// checkListen checks the addresses that the server listens on.
func (c *checker) checkListen(ctx context.Context) {
	tlsOn := c.cfg.HasTLS()
	for _, a := range []struct {
		name, addr, scheme, path, mark string
	}{
		{"addr", c.cfg.Addr, scheme(tlsOn), "/healthz", `"status"`},
		{"metrics_addr", c.cfg.MetricsAddr, "http", "/metrics", "countersign_"},
		{"console_addr", c.cfg.ConsoleAddr, scheme(tlsOn), "/console/sign-in", "Countersign"},
	} {
		if a.addr != "" {
			c.checkAddr(ctx, a.name, a.addr, probe{a.scheme, a.path, a.mark})
		}
	}
}

func scheme(tls bool) string {
	if tls {
		return "https"
	}
	return "http"
}

func (c *checker) checkAddr(ctx context.Context, check, addr string, p probe) {
	network, target := "tcp", addr
	var err error
	if path, ok := config.UnixSocket(addr); ok {
		network, target = "unix", path
		err = socketFree(path)
	} else {
		err = portFree(addr)
	}
	switch {
	case err == nil:
		c.ok(check, "%s is free", addr)
	case errors.Is(err, syscall.EADDRINUSE) && p.answers(ctx, network, target):
		c.ok(check, "a running Countersign server listens on %s", addr)
	case errors.Is(err, syscall.EADDRINUSE):
		c.fail(check, "stop the program that listens there, or choose another address", "%s is in use, but not by a Countersign server that answers", addr)
	case errors.Is(err, fs.ErrPermission):
		c.warn(check, "allow it, as deploy/systemd/countersign.service does with CAP_NET_BIND_SERVICE, or choose another address",
			"this account cannot listen on %s: %v", addr, err)
	default:
		c.fail(check, "choose an address of this machine", "%v", err)
	}
}

// portFree returns an error if a server cannot listen on an address now. It listens for a
// moment and accepts no connection.
func portFree(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return ln.Close()
}

// socketFree returns an error if a server cannot make a socket at path now; see listenUnix.
func socketFree(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket", path)
	default:
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			conn.Close()
			return &os.PathError{Op: "listen", Path: path, Err: syscall.EADDRINUSE}
		}
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return err
	}
	return writable(filepath.Dir(path))
}

// A probe is a request that only a Countersign server answers in the expected way.
type probe struct{ scheme, path, mark string }

const probeWait = 3 * time.Second

// localTransport sends requests to one address on this machine. The names in their URLs do not matter.
func localTransport(network, addr string) *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // its name is not the address, and nothing secret is sent
	}
}

// answers reports whether a Countersign server listens on an address.
func (p probe) answers(ctx context.Context, network, addr string) bool {
	client := &http.Client{Transport: localTransport(network, addr), Timeout: probeWait}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.scheme+"://localhost"+p.path, nil)
	if err != nil {
		return false
	}
	w, err := client.Do(r)
	if err != nil {
		return false
	}
	defer w.Body.Close()
	body, err := io.ReadAll(io.LimitReader(w.Body, 1<<20))
	return err == nil && w.StatusCode == http.StatusOK && bytes.Contains(body, []byte(p.mark))
}
