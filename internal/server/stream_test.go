package server_test

import (
	"bufio"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/server"
)

// TestStreamsEndWithTheServer opens a stream over each version of HTTP. The server must
// not wait for it, and the client must see a complete answer.
func TestStreamsEndWithTheServer(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run("HTTP/"+string(rune('0'+version)), func(t *testing.T) {
			dir := t.TempDir()
			cfg := configIn(dir)
			cfg.TLSCert, cfg.TLSKey = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
			if err := server.MakeCertificate(cfg.TLSCert, cfg.TLSKey); err != nil {
				t.Fatal(err)
			}
			cfg.ShutdownTimeout = time.Minute
			s := start(t, cfg)
			env, err := s.Access().CreateEnvironment(t.Context(), mfa.Caller{}, "Acme", false)
			if err != nil {
				t.Fatal(err)
			}
			key, _, err := s.Access().CreateKey(t.Context(), mfa.Caller{Environment: env}, access.KeyParams{})
			if err != nil {
				t.Fatal(err)
			}
			logcapture.Secret(t, key.Reveal())
			addr, end := serve(t, s)
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: version == 2}
			t.Cleanup(transport.CloseIdleConnections)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/events/stream", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+key.Reveal())
			answer, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK || answer.ProtoMajor != version {
				t.Fatalf("%s %s", answer.Proto, answer.Status)
			}
			lines := bufio.NewScanner(answer.Body)
			if !lines.Scan() || !strings.HasPrefix(lines.Text(), "retry: ") {
				t.Fatalf("the stream begins with %q: %v", lines.Text(), lines.Err())
			}
			began := time.Now()
			end()
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the server ended after %v", took)
			}
			for lines.Scan() {
			}
			if err := lines.Err(); err != nil {
				t.Errorf("the stream ended with %v", err)
			}
		})
	}
}
