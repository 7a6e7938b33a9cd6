package smpp_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms/smpp"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

const (
	testPassword = "s3cretpw"
	wait         = 10 * time.Second // for events that must happen
)

// A testServer is a running smpptest/server.mjs.
type testServer struct {
	address string
	orders  io.Writer
	events  chan serverEvent
	earlier []serverEvent // events that next has not returned yet
}

// A serverEvent is a line of the output of a testServer.
type serverEvent struct {
	Event       string
	Port        int
	Status      int
	SystemType  string
	Text        string
	Header      []string
	Payload     bool
	Coding, ESM int
	Source, To  string
	SourceTON   int
	SourceNPI   int
	Service     string
	Registered  int
	Outstanding int
	ValidFor    int
	Message     string
}

// startServer starts the server. With TLS its arguments are the files of a certificate and
// its key.
func startServer(t *testing.T, tls ...string) *testServer {
	t.Helper()
	node := testenv.Tool(t, "node")
	if _, err := os.Stat(filepath.Join("smpptest", "node_modules", "smpp", "package.json")); err != nil {
		testenv.Missing(t, err)
	}
	for _, name := range []string{"server.mjs", "package-lock.json"} { // a change of these files must run the test again
		if _, err := os.ReadFile(filepath.Join("smpptest", name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(node, append([]string{"server.mjs", "countersign", testPassword}, tls...)...)
	cmd.Dir, cmd.Stderr = "smpptest", os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &testServer{orders: stdin, events: make(chan serverEvent, 10_000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e serverEvent
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				e = serverEvent{Event: "error", Message: lines.Text()}
			}
			s.events <- e
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-read
		cmd.Wait()
	})
	s.address = fmt.Sprintf("127.0.0.1:%d", s.next(t, "listening").Port)
	return s
}

// next returns the next event of a kind that has not been returned before.
func (s *testServer) next(t *testing.T, kind string) serverEvent {
	t.Helper()
	for i, e := range s.earlier {
		if e.Event == kind {
			s.earlier = append(s.earlier[:i:i], s.earlier[i+1:]...)
			return e
		}
	}
	timeout := time.After(wait)
	for {
		select {
		case e := <-s.events:
			if e.Event == "error" {
				t.Fatalf("the SMPP server reports %s", e.Message)
			}
			if e.Event == kind {
				return e
			}
			s.earlier = append(s.earlier, e)
		case <-timeout:
			t.Fatalf("no %s from the SMPP server; %v", kind, s.earlier)
		}
	}
}

// order sends an order and returns after the server has carried it out.
func (s *testServer) order(t *testing.T, order string) {
	t.Helper()
	if _, err := io.WriteString(s.orders, order+"\n"); err != nil {
		t.Fatal(err)
	}
	s.next(t, "obeyed")
}

// A logBuffer keeps the log.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func testOptions(address string) smpp.Options {
	return smpp.Options{
		Address: address, SystemID: "countersign", Password: secret.NewString(testPassword), SystemType: "otp",
		Source: "Example", ReconnectAfter: 20 * time.Millisecond,
	}
}

// open returns a provider that is closed at the end of the test. Its log must not contain
// personal data and secrets.
func open(t *testing.T, o smpp.Options) *smpp.Provider {
	t.Helper()
	log := &logBuffer{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	p, err := smpp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		for _, hidden := range []string{testPassword, "491701234567", "482913"} {
			if strings.Contains(log.String(), hidden) {
				t.Errorf("the log shows %q: %s", hidden, log)
			}
		}
	})
	return p
}

// makeCertificate writes a certificate for 127.0.0.1 and its key to files.
func makeCertificate(t *testing.T) (certificate, key string, pemCertificate []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plan := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "smsc"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"smsc.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, plan, plan, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pemCertificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if err := os.WriteFile(certificate, pemCertificate, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, pemKey, 0o600); err != nil {
		t.Fatal(err)
	}
	return certificate, key, pemCertificate
}
