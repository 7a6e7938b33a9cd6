package conformance_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

// njsModule is where the packages of Debian and Ubuntu install njs.
const njsModule = "/usr/lib/nginx/modules/ngx_http_js_module.so"

// TestReceiptsWithNginx runs the configuration and the script of docs/receipts.md. Only the path of the keys is replaced.
func TestReceiptsWithNginx(t *testing.T) {
	t.Parallel()
	nginx := testenv.Tool(t, "nginx")
	if _, err := os.Stat(njsModule); err != nil {
		testenv.Missing(t, err)
	}
	keys, dir := newKeyset(t), proxyDirectory(t)
	set, err := receipt.Keys(keys)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "jwks.json", set)
	script := fromPage(t, "javascript")
	const keysOfPage = "/etc/nginx/jwks.json"
	if !strings.Contains(script, keysOfPage) {
		t.Fatalf("the script of docs/receipts.md does not read %s", keysOfPage)
	}
	put(t, dir, "receipts.js", []byte(strings.Replace(script, keysOfPage, filepath.Join(dir, "jwks.json"), 1)))
	imports, locations, ok := strings.Cut(fromPage(t, "nginx"), "\n")
	if !ok || !strings.HasPrefix(imports, "js_import ") {
		t.Fatalf("the configuration of docs/receipts.md begins with %q; want js_import", imports)
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // the files of this test are only for its account
	}
	put(t, dir, "nginx.conf", fmt.Appendf(nil, `load_module %[1]s;
%[2]s
daemon off;
pid %[3]s/pid;
error_log %[3]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[3]s/body;
	proxy_temp_path %[3]s/proxy;
	fastcgi_temp_path %[3]s/fastcgi;
	uwsgi_temp_path %[3]s/uwsgi;
	scgi_temp_path %[3]s/scgi;
	js_path %[3]s;
	%[4]s
	upstream payments { server unix:%[3]s/payments.sock; }
	server {
		listen unix:%[3]s/front.sock;
		%[5]s
	}
	server {
		listen unix:%[3]s/payments.sock;
		location / { return 200 paid; }
	}
}
`, njsModule, user, dir, imports, locations))

	log := filepath.Join(dir, "error.log")
	client := startProxy(t, dir, exec.Command(nginx, "-e", log, "-c", filepath.Join(dir, "nginx.conf")))
	for _, tc := range proxiedReceipts(t, keys) {
		if status := client.get(tc.receipt); status != tc.nginx {
			t.Errorf("%s: status %d; want %d", tc.name, status, tc.nginx)
		}
	}
	if t.Failed() {
		text, _ := os.ReadFile(log)
		t.Logf("nginx: %s", text)
	}
}

// TestReceiptsWithEnvoy runs the filter of docs/receipts.md. The keys come from a server of this test.
func TestReceiptsWithEnvoy(t *testing.T) {
	t.Parallel()
	const program = "envoy/libraries/envoy/_bin/envoy"
	if _, err := os.Stat(program); err != nil {
		testenv.Missing(t, err)
	}
	keys, dir := newKeyset(t), proxyDirectory(t)
	set, err := receipt.Keys(keys)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, dir, "countersign", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/jwks.json" || r.Host != "mfa.example.com" {
			t.Errorf("Envoy asks for the keys at %s%s", r.Host, r.URL.Path)
		}
		w.Write(set)
	})
	serve(t, dir, "payments", func(w http.ResponseWriter, r *http.Request) {
		payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(r.Header.Get("X-Receipt-Payload"), "="))
		var claims struct {
			Subject string `json:"sub"`
		}
		if err = errors.Join(err, json.Unmarshal(payload, &claims)); err != nil || claims.Subject != "user_42" {
			t.Errorf("the service receives the payload %q, %v; want the claims of user_42", payload, err)
		}
	})
	cluster := func(name string) string {
		return fmt.Sprintf(`
    - name: %[1]s
      load_assignment:
        cluster_name: %[1]s
        endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: %[2]s/%[1]s.sock } } } }] }]`, name, dir)
	}
	filters := strings.ReplaceAll(strings.TrimSuffix(fromPage(t, "yaml"), "\n"), "\n", "\n              ")
	put(t, dir, "envoy.yaml", fmt.Appendf(nil, `static_resources:
  listeners:
    - address: { pipe: { path: %[1]s/front.sock } }
      filter_chains:
        - filters:
          - name: envoy.filters.network.http_connection_manager
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
              stat_prefix: front
              route_config: { virtual_hosts: [{ name: all, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: payments } }] }] }
              %[2]s
                - name: envoy.filters.http.router
                  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:%[3]s%[4]s
`, dir, filters, cluster("countersign"), cluster("payments")))

	log := filepath.Join(dir, "error.log")
	client := startProxy(t, dir, exec.Command(program, "-c", filepath.Join(dir, "envoy.yaml"), "--log-path", log, "--concurrency", "1", "--disable-hot-restart"))
	for _, tc := range proxiedReceipts(t, keys) {
		if status := client.get(tc.receipt); status != tc.envoy {
			t.Errorf("%s: status %d; want %d", tc.name, status, tc.envoy)
		}
	}
	if t.Failed() {
		text, _ := os.ReadFile(log)
		t.Logf("Envoy: %s", text)
	}
}

func newKeyset(t *testing.T) *secret.Keyset {
	t.Helper()
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// proxyDirectory returns a directory for the files and sockets of a proxy.
func proxyDirectory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "countersign-proxy-") // a path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// serve answers requests at the socket NAME.sock in dir.
func serve(t *testing.T, dir, name string, h http.HandlerFunc) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(dir, name+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
}

// A proxyClient sends requests through a proxy.
type proxyClient struct {
	t *testing.T
	http.Client
}

// startProxy starts a proxy that listens at the socket front.sock in dir, and waits for it.
func startProxy(t *testing.T, dir string, cmd *exec.Cmd) *proxyClient {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			cmd.Process.Kill()
			<-ended
			t.Error("the proxy did not end within a minute")
		}
	})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "front.sock"))
	}
	for {
		if conn, err := dial(t.Context(), "", ""); err == nil {
			conn.Close()
			break
		}
		select {
		case <-ended:
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Fatalf("the proxy did not start: %s%s", out.Bytes(), log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	c := &proxyClient{t, http.Client{Transport: &http.Transport{DialContext: dial}}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// get requests a payment with a receipt and returns the status.
func (c *proxyClient) get(receipt string) int {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://proxy/payments", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if receipt != "" {
		req.Header.Set("X-Receipt", receipt)
	}
	resp, err := c.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// A proxiedReceipt is a receipt with the statuses that the proxies of docs/receipts.md answer.
type proxiedReceipt struct {
	name, receipt string
	nginx, envoy  int
}

func proxiedReceipts(t *testing.T, keys *secret.Keyset) []proxiedReceipt {
	t.Helper()
	claims := receipt.Claims{
		Issuer: receiptIssuer, Subject: "user_42", ID: "auth_challenge_1", At: time.Now(), Methods: []string{"otp"}, FactorID: "auth_factor_1", FactorType: "totp",
	}
	sign := func(k *secret.Keyset, change func(*receipt.Request, *receipt.Claims)) string {
		r, c := receipt.Request{Audience: "https://pay.example.com", ExpiresIn: 3600}, claims
		if change != nil {
			change(&r, &c)
		}
		text, err := receipt.Sign(k.Signer(), &r, c)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := sign(keys, nil)
	const (
		accepted  = http.StatusOK
		refused   = http.StatusUnauthorized
		forbidden = http.StatusForbidden
	)
	return []proxiedReceipt{
		{"good", good, accepted, accepted},
		{"of another installation", sign(newKeyset(t), nil), refused, refused},
		{"of another environment", sign(keys, func(_ *receipt.Request, c *receipt.Claims) { c.Issuer = "https://mfa.example.com/environments/sandbox" }), refused, refused},
		{"for another audience", sign(keys, func(r *receipt.Request, _ *receipt.Claims) { r.Audience = "https://other.example.com" }), refused, forbidden},
		{"expired", sign(keys, func(_ *receipt.Request, c *receipt.Claims) { c.At = c.At.Add(-61 * time.Minute) }), refused, refused},
		{"of a bypass code", sign(keys, func(_ *receipt.Request, c *receipt.Claims) { c.Recovery = true }), refused, accepted}, // the service behind Envoy decides
		{"with another payload", changed(t, good, nil, map[string]any{"sub": "admin"}), refused, refused},
		{"of another type", resigned(t, keys, good, map[string]any{"typ": "JWT"}), refused, accepted}, // as docs/receipts.md says
		{"with the algorithm none", unsigned(t, good), refused, refused},
		{"with HS256 and the public key", confused(t, keys, good), refused, refused},
		{"no receipt", "x", refused, refused},
		{"no header", "", refused, refused},
	}
}
