package server_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/server"
)

// TestHealthAsksTheAddressOfTheServer asks servers over TCP, TLS and a unix socket.
func TestHealthAsksTheAddressOfTheServer(t *testing.T) {
	ready := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/readyz" {
			t.Errorf("asked %s %s", r.Method, r.URL.Path)
		}
	})
	draining := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
	})
	for _, tc := range []struct {
		name    string
		handler http.Handler
		tls     bool
		unix    bool
		want    string // part of the error; empty without an error
	}{
		{"plain", ready, false, false, ""},
		{"TLS with a certificate for another name", ready, true, false, ""},
		{"a unix socket", ready, false, true, ""},
		{"a server that stops", draining, false, false, "is not ready: it answered 503 Service Unavailable: shutting down"},
		{"a server that stops, TLS", draining, true, false, "503"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(tc.handler)
			cfg := config.Config{Addr: srv.Listener.Addr().String()}
			if tc.unix {
				path := filepath.Join(t.TempDir(), "socket")
				ln, err := net.Listen("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				srv.Listener.Close()
				srv.Listener, cfg.Addr = ln, "unix:"+path
			}
			if tc.tls {
				cfg.TLSCert = "cert.pem" // only says that the server has one
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			switch err := server.Health(t.Context(), cfg); {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("Health = %v; want %q", err, tc.want)
			}
		})
	}
	t.Run("no server", func(t *testing.T) {
		cfg := config.Config{Addr: "unix:" + filepath.Join(t.TempDir(), "none")}
		if err := server.Health(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "does not answer") {
			t.Errorf("Health = %v", err)
		}
	})
}
