package conformance_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
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
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "countersign-nginx-") // a path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
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

	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, nginx, "-e", filepath.Join(dir, "error.log"), "-c", filepath.Join(dir, "nginx.conf"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
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
		stop()
		<-ended
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
			t.Fatalf("nginx did not start: %s", out.Bytes())
		case <-time.After(20 * time.Millisecond):
		}
	}

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
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	t.Cleanup(client.CloseIdleConnections)
	for _, tc := range []struct {
		name, receipt string
		status        int
	}{
		{"good", good, http.StatusOK},
		{"of another installation", sign(stranger, nil), http.StatusUnauthorized},
		{"of another environment", sign(keys, func(_ *receipt.Request, c *receipt.Claims) { c.Issuer = "https://mfa.example.com/environments/sandbox" }), http.StatusUnauthorized},
		{"for another audience", sign(keys, func(r *receipt.Request, _ *receipt.Claims) { r.Audience = "https://other.example.com" }), http.StatusUnauthorized},
		{"expired", sign(keys, func(_ *receipt.Request, c *receipt.Claims) { c.At = c.At.Add(-61 * time.Minute) }), http.StatusUnauthorized},
		{"of a bypass code", sign(keys, func(_ *receipt.Request, c *receipt.Claims) { c.Recovery = true }), http.StatusUnauthorized},
		{"with another payload", changed(t, good, nil, map[string]any{"sub": "admin"}), http.StatusUnauthorized},
		{"of another type", resigned(t, keys, good, map[string]any{"typ": "JWT"}), http.StatusUnauthorized},
		{"with the algorithm none", unsigned(t, good), http.StatusUnauthorized},
		{"with HS256 and the public key", confused(t, keys, good), http.StatusUnauthorized},
		{"no receipt", "x", http.StatusUnauthorized},
		{"no header", "", http.StatusUnauthorized},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://nginx/payments", nil)
		if err != nil {
			t.Fatal(err)
		}
		if tc.receipt != "" {
			req.Header.Set("X-Receipt", tc.receipt)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		resp.Body.Close()
		if resp.StatusCode != tc.status {
			t.Errorf("%s: status %d; want %d", tc.name, resp.StatusCode, tc.status)
		}
	}
	if t.Failed() {
		log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
		t.Logf("nginx: %s", log)
	}
}
