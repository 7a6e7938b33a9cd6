package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/server"
)

// Over TLS too every error that net/http writes is JSON, and HTTP/2 is served.
func TestErrorsOverTLSAreJSON(t *testing.T) {
	dir := t.TempDir()
	cfg := configIn(dir)
	cfg.Addr, cfg.Inbox = "127.0.0.1:0", true
	cfg.TLSCert, cfg.TLSKey = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := server.MakeCertificate(cfg.TLSCert, cfg.TLSKey); err != nil {
		t.Fatal(err)
	}
	addr, end := serve(t, start(t, cfg))
	defer end()
	insecure := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}} // the certificate was made a moment ago
	overTLS := func(t *testing.T) net.Conn {
		c, err := tls.Dial("tcp", addr, insecure)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	plain := func(t *testing.T) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, tc := range []struct {
		name, request string
		dial          func(*testing.T) net.Conn
		status        int
	}{
		{"bare %", "GET /auth/factors/50% HTTP/1.1\r\nHost: x\r\n\r\n", overTLS, 400},
		{"large header", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 100_000) + "\r\n\r\n", overTLS, 431},
		{"plain HTTP", "POST /auth/factors/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", plain, 400},
		{"no such path", "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", overTLS, 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := tc.dial(t)
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			go io.WriteString(c, tc.request) // the answer may come before its end
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			var body struct{ Message string }
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Message == "" || r.StatusCode != tc.status || r.Header.Get("X-Request-Id") == "" {
				t.Errorf("%d, %v %v, %v", r.StatusCode, r.Header, body, err)
			}
		})
	}

	for proto, client := range map[int]*http.Client{
		1: {Transport: &http.Transport{TLSClientConfig: insecure}},
		2: {Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}},
	} {
		client.Timeout = 10 * time.Second
		for range 3 {
			r, err := client.Post("https://"+addr+"/auth/factors/enroll", "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if r.ProtoMajor != proto || r.StatusCode != http.StatusUnauthorized {
				t.Errorf("HTTP/%d: answered %d over HTTP/%d", proto, r.StatusCode, r.ProtoMajor)
			}
		}
		// The page knows that it was reached over TLS.
		ask, err := http.NewRequest(http.MethodGet, "https://"+addr+"/dev/inbox", nil)
		if err != nil {
			t.Fatal(err)
		}
		ask.Header.Set("Accept", "text/html")
		r, err := client.Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(r.Body)
		if r.Body.Close(); err != nil || !strings.Contains(string(page), "https://"+addr) {
			t.Errorf("HTTP/%d: the inbox does not show https://%s: %v", proto, addr, err)
		}
		client.CloseIdleConnections()
	}
	// A client without ALPN gets HTTP/1.1.
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if text, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200 ") {
		t.Errorf("without ALPN: %q, %v", text, err)
	}
}

// A client that does not trust the certificate has sent no request, so none is logged or
// counted. The log says at level debug why there was no handshake.
func TestFailedHandshakeIsNoRequest(t *testing.T) {
	dir := t.TempDir()
	cfg := configIn(dir)
	cfg.TLSCert, cfg.TLSKey = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := server.MakeCertificate(cfg.TLSCert, cfg.TLSKey); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	p := parts(t)
	p.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(logcapture.Log(t, t.Name()), &log), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := server.New(t.Context(), cfg, p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	addr, end := serve(t, s)
	begin := func(hello func(net.Conn)) (answer string) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		hello(c)
		b, err := io.ReadAll(c) // until the server has closed it
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	begin(func(c net.Conn) {
		if err := tls.Client(c, &tls.Config{ServerName: "localhost"}).Handshake(); err == nil {
			t.Error("the certificate is trusted")
		}
	})
	begin(func(c net.Conn) { fmt.Fprint(c, "nothing that TLS begins with\r\n\r\n") })
	plain := begin(func(c net.Conn) { fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") })
	if n := strings.Count(plain, "HTTP/1.1 400 "); n != 1 {
		t.Errorf("plain HTTP got %d answers; want 1: %q", n, plain)
	}
	end()
	if n := strings.Count(log.String(), "msg=request"); n != 1 {
		t.Errorf("%d requests are logged; want only the one of plain HTTP:\n%s", n, &log)
	}
	if n := strings.Count(log.String(), "the TLS handshake failed"); n != 2 {
		t.Errorf("%d failed handshakes are logged; want 2:\n%s", n, &log)
	}
}
