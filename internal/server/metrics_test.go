package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/admission"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/server"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

// Both stores have a queue; the wiring only asks at run time.
var _ interface{ Waiting() int } = (*postgres.Store)(nil)

// measured returns a server with metrics, and where they are.
func measured(t *testing.T, dir string) (s *server.Server, url string) {
	t.Helper()
	return measuredOf(t, configIn(dir))
}

func measuredOf(t *testing.T, cfg config.Config) (s *server.Server, url string) {
	t.Helper()
	var log bytes.Buffer
	cfg.MetricsAddr = "127.0.0.1:0"
	parts := parts(t)
	parts.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(logcapture.Log(t, t.Name()), &log), nil))
	s, err := server.New(t.Context(), cfg, parts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	at := regexp.MustCompile(`msg="serving metrics" addr=(\S+)`).FindStringSubmatch(log.String())
	if at == nil {
		t.Fatalf("the log does not say where metrics are: %s", &log)
	}
	return s, "http://" + at[1] + "/metrics"
}

func read(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s (%v)", url, resp.StatusCode, text, err)
	}
	return string(text)
}

// TestTheLengthOfTheQueueIsShown holds the write lock of the store, so writes
// through the server wait.
func TestTheLengthOfTheQueueIsShown(t *testing.T) {
	dir := t.TempDir()
	s, url := measured(t, dir)
	other, err := server.OpenStore(t.Context(), configIn(dir).Store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	entered, leave, left := make(chan bool), make(chan bool), make(chan error, 1)
	go func() {
		left <- other.Update(context.Background(), mfa.Read{}, func(*mfa.Tx) error {
			close(entered)
			<-leave
			return nil
		})
	}()
	<-entered

	var writes sync.WaitGroup
	for deadline := time.Now().Add(20 * time.Second); strings.Contains(read(t, url), "\ncountersign_store_queue_length 0\n"); {
		if time.Now().After(deadline) {
			t.Error("nothing was seen to wait")
			break
		}
		// The writer takes the first; the next wait for it.
		writes.Go(func() {
			if _, err := s.Access().CreateEnvironment(context.Background(), mfa.Caller{}, "any", false); err != nil {
				t.Log(err) // some names are taken
			}
		})
	}
	close(leave)
	writes.Wait()
	if err := <-left; err != nil {
		t.Error(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(read(t, url), "\ncountersign_store_queue_length 0\n") {
		t.Error("the queue does not empty")
	}
}

// TestConnectionsAreBounded has more callers connect than a server keeps.
func TestConnectionsAreBounded(t *testing.T) {
	cfg := configIn(t.TempDir())
	cfg.MaxConnections = 2
	s, url := measuredOf(t, cfg)
	addr, end := serve(t, s)
	most := cfg.MaxConnections + admission.Spare
	for range most + 10 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	open := regexp.MustCompile(`\ncountersign_http_connections (\d+)\n`)
	seen := 0
	for deadline := time.Now().Add(20 * time.Second); seen < most; {
		n, err := strconv.Atoi(open.FindStringSubmatch(read(t, url))[1])
		if err != nil || n > most {
			t.Fatalf("%d connections are open (%v); want at most %d", n, err, most)
		}
		if seen = max(seen, n); time.Now().After(deadline) {
			t.Fatalf("no more than %d connections were open; want %d", seen, most)
		}
	}
	for range 10 {
		text := read(t, url)
		if n, err := strconv.Atoi(open.FindStringSubmatch(text)[1]); err != nil || n > most || !strings.Contains(text, "\ncountersign_http_connections_limit 2\n") {
			t.Errorf("%d connections are open (%v), or there is no limit; want at most %d", n, err, most)
		}
	}
	end()
}

func TestMetricsEndWithTheServer(t *testing.T) {
	s, url := measured(t, t.TempDir())
	read(t, url)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if resp, err := http.Get(url); err == nil {
		resp.Body.Close()
		t.Error("metrics are served after Close")
	}
}

// TestAnAddressOfMetricsThatIsTaken leaves nothing open behind.
func TestAnAddressOfMetricsThatIsTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := configIn(t.TempDir())
	cfg.MetricsAddr = ln.Addr().String()
	s, err := server.New(t.Context(), cfg, parts(t))
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "--metrics-addr") || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("New = %v", err)
	}
	cfg.MetricsAddr = ""
	start(t, cfg)
}

func TestTheEndOfTheCertificateIsShown(t *testing.T) {
	dir := t.TempDir()
	cfg := configIn(dir)
	cfg.TLSCert, cfg.TLSKey = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := server.MakeCertificate(cfg.TLSCert, cfg.TLSKey); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
	if err != nil {
		t.Fatal(err)
	}
	_, url := measuredOf(t, cfg)
	line := regexp.MustCompile(`(?m)^countersign_tls_certificate_expiry_timestamp_seconds (\S+)$`).FindStringSubmatch(read(t, url))
	if line == nil {
		t.Fatal("a scrape does not show the end of the certificate")
	}
	if end, err := strconv.ParseFloat(line[1], 64); err != nil || int64(end) != pair.Leaf.NotAfter.Unix() {
		t.Errorf("the certificate ends at %s; want %d", line[1], pair.Leaf.NotAfter.Unix())
	}
}

func TestAServerThatIsNotReadySaysSo(t *testing.T) {
	s, url := measured(t, t.TempDir())
	if !strings.Contains(read(t, url), "\ncountersign_ready 1\n") {
		t.Error("a ready server does not say so")
	}
	s.Drain()
	if !strings.Contains(read(t, url), "\ncountersign_ready 0\n") {
		t.Error("a server that stops says that it is ready")
	}
}
