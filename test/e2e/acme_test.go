package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/server"
)

const domain = "mfa.example.test"

// An authority is Pebble, the test server of Let's Encrypt.
type authority struct {
	directory  string // its URL
	management string // address of the other server, which shows the roots
	roots      string // file with the certificate of the server at directory
	cmd        *exec.Cmd
	log        *output
}

// newAuthority starts Pebble. It checks domains at the port of checked, and its certificates are
// valid for that long.
func newAuthority(t *testing.T, checked string, validity time.Duration) *authority {
	t.Helper()
	a := plannedAuthority(t)
	a.start(t, checked, validity)
	return a
}

// plannedAuthority returns an authority that does not run yet.
func plannedAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{directory: "https://" + freeAddr(t) + "/dir", management: freeAddr(t), roots: filepath.Join(t.TempDir(), "pebble.crt")}
	if err := server.MakeCertificate(a.roots, a.key()); err != nil {
		t.Fatal(err)
	}
	return a
}

// key returns the file with the key of the authority's own server.
func (a *authority) key() string { return strings.TrimSuffix(a.roots, "crt") + "key" }

func (a *authority) start(t *testing.T, checked string, validity time.Duration) {
	t.Helper()
	_, port, err := net.SplitHostPort(checked)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`{"pebble":{"listenAddress":%q,"managementListenAddress":%q,"certificate":%q,"privateKey":%q,"httpPort":1,"tlsPort":%s,
		"retryAfter":{"authz":1,"order":1},"profiles":{"default":{"description":"of this test","validityPeriod":%d}}}}`,
		strings.TrimSuffix(strings.TrimPrefix(a.directory, "https://"), "/dir"), a.management, a.roots, a.key(), port, int(validity.Seconds()))
	file := filepath.Join(filepath.Dir(a.roots), "pebble.json")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := exec.CommandContext(t.Context(), "go", "tool", "-n", "pebble").Output()
	if err != nil {
		t.Fatalf("build pebble: %v", err)
	}
	a.cmd = exec.Command(strings.TrimSpace(string(path)), "-config", file, "-dnsserver", resolver(t))
	a.cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	a.log = newOutput(io.Discard)
	a.cmd.Stdout, a.cmd.Stderr = a.log, a.log
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a.await(t, "ACME directory available") // Pebble logs this before it listens
	for _, addr := range []string{a.management, strings.TrimSuffix(strings.TrimPrefix(a.directory, "https://"), "/dir")} {
		awaitListener(t, addr)
	}
	t.Cleanup(func() {
		a.cmd.Process.Kill()
		a.cmd.Wait()
		if t.Failed() {
			t.Logf("pebble:\n%s", a.log.tail())
		}
	})
}

// await waits until the authority has logged a text.
func (a *authority) await(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for {
		log, changed := a.log.look()
		if strings.Contains(log, text) {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("pebble did not log %q:\n%s", text, a.log.tail())
		}
	}
}

// awaitListener waits until a server accepts connections.
func awaitListener(t *testing.T, addr string) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.Dial("tcp", addr); err == nil {
			conn.Close()
			return
		}
	}
	t.Fatalf("no server listens on %s: %v", addr, err)
}

// issued returns how many certificates the authority has issued.
func (a *authority) issued() int { return strings.Count(a.log.String(), "Issued certificate serial") }

// trust returns the root of the certificates that the authority issues.
func (a *authority) trust(t *testing.T) *x509.CertPool {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its own certificate is not the subject
	resp, err := client.Get("https://" + a.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatalf("the roots of pebble: %q, %v", text, err)
	}
	return roots
}

// resolver is a name server, over TCP, for which every name is this machine.
func resolver(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{Listener: ln, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		if q := r.Question[0]; q.Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1)})
		}
		w.WriteMsg(m)
	})}
	go srv.ActivateAndServe()
	t.Cleanup(func() { srv.Shutdown() })
	return ln.Addr().String()
}

// freeAddr returns an address that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// serves starts a node for the domain, which listens on an open socket.
func (a *authority) serves(t *testing.T, addr string, socket *os.File, flags ...string) *program {
	t.Helper()
	args := []string{"--addr", addr, "--domain", domain, "--acme-directory", a.directory, "--acme-roots", a.roots, "--acme-email", "ops@example.test"}
	p := launchBy(t, nil, inherits([]*os.File{socket}, append(args, flags...)...))
	p.awaitServing()
	if p.url != "https://"+addr {
		t.Fatalf("it serves %s; want https", p.url)
	}
	return p
}

// handshake connects to a node as a client of the domain does, and returns the certificate.
func handshake(addr string, roots *x509.CertPool) (*x509.Certificate, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, &tls.Config{ServerName: domain, RootCAs: roots})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// awaitCertificate waits until a node has a certificate that is not old.
func awaitCertificate(t *testing.T, addr string, roots *x509.CertPool, old *x509.Certificate) *x509.Certificate {
	t.Helper()
	var c *x509.Certificate
	var err error
	for end := time.Now().Add(3 * patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if c, err = handshake(addr, roots); err == nil && (old == nil || c.SerialNumber.Cmp(old.SerialNumber) != 0) {
			return c
		}
	}
	t.Fatalf("%s has no new certificate: %v", addr, err)
	return nil
}

// TestNodesShareACertificate lets Pebble issue a certificate to two nodes over one PostgreSQL. Pebble
// checks the domain at the second node, which may not be the one that orders. While clients send requests over
// new connections, the certificate is renewed.
func TestNodesShareACertificate(t *testing.T) {
	t.Parallel()
	store := pgtest.Shared(t).Database(t)
	keyset := filepath.Join(t.TempDir(), "keyset")
	succeed(t, "keyset", "create", keyset)
	flags := []string{"--store", store, "--keyset", "file:" + keyset}
	addrs, sockets := make([]string, 2), make([]*os.File, 2)
	for i := range addrs {
		addrs[i], sockets[i] = socket(t)
	}
	a := newAuthority(t, addrs[1], 24*time.Second)
	nodes := make([]*program, 2)
	for i := range nodes {
		nodes[i] = a.serves(t, addrs[i], sockets[i], flags...)
	}
	roots := a.trust(t)
	first := awaitCertificate(t, addrs[0], roots, nil)
	if other := awaitCertificate(t, addrs[1], roots, nil); !other.Equal(first) || a.issued() != 1 {
		t.Errorf("the nodes have the certificates %x and %x, of %d issued", first.SerialNumber, other.SerialNumber, a.issued())
	}

	ctx, cancel := context.WithCancel(t.Context())
	var answered atomic.Int64
	var clients sync.WaitGroup
	for i, addr := range addrs {
		clients.Go(func() {
			client := &http.Client{Timeout: patience, Transport: &http.Transport{
				DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots},
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, addr)
				},
			}}
			for ctx.Err() == nil {
				resp, err := client.Get("https://" + domain + "/healthz")
				if err != nil {
					t.Errorf("node %d: a request during the renewal: %v", i, err)
					return
				}
				resp.Body.Close()
				answered.Add(1)
			}
		})
	}
	for i, addr := range addrs {
		if c := awaitCertificate(t, addr, roots, first); !c.NotAfter.After(first.NotAfter) {
			t.Errorf("node %d has a certificate that ends at %v; the first one ended at %v", i, c.NotAfter, first.NotAfter)
		}
	}
	cancel()
	clients.Wait()
	t.Logf("%d requests were answered while the certificate was renewed", answered.Load())
	if n := a.issued(); n != 2 {
		t.Errorf("%d certificates were issued; want 2", n)
	}
}

// TestACertificateOutlivesTheServer restarts a server on one machine, with the authority and without it.
func TestACertificateOutlivesTheServer(t *testing.T) {
	t.Parallel()
	if pgtest.Chosen() {
		t.Skip("looks into the file of a SQLite store")
	}
	dir := t.TempDir()
	addr, file := socket(t)
	a := plannedAuthority(t)
	flags := []string{"--store", storeIn(t, dir)}

	// The authority is down: the server starts, says so, and tries again until the authority is there.
	p := a.serves(t, addr, file, flags...)
	p.await(p.log, `a certificate could not be obtained.*connection refused`)
	if _, err := handshake(addr, nil); err == nil {
		t.Error("a handshake succeeds without a certificate")
	}
	a.start(t, addr, time.Hour)
	roots := a.trust(t)
	first := awaitCertificate(t, addr, roots, nil)
	if out := succeed(t, "health", "--addr", addr, "--domain", domain); out != "ready" {
		t.Errorf("health printed %q", out)
	}
	if _, err := tls.Dial("tcp", addr, &tls.Config{ServerName: "other.example.test", InsecureSkipVerify: true}); err == nil {
		t.Error("a handshake for another domain succeeds")
	}
	if conn, err := tls.Dial("tcp", addr, &tls.Config{ServerName: domain, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true}); err == nil {
		t.Errorf("a client that claims to be the authority gets the certificate %v", conn.ConnectionState().PeerCertificates[0].Subject)
	}
	p.stop()

	// A restart needs no authority.
	a.cmd.Process.Kill()
	p = a.serves(t, addr, file, flags...)
	if again := awaitCertificate(t, addr, roots, nil); !again.Equal(first) || a.issued() != 1 {
		t.Errorf("after a restart the certificate is %x; want %x", again.SerialNumber, first.SerialNumber)
	}
	p.stop()

	// A certificate of another authority replaces that one.
	next := newAuthority(t, addr, time.Hour)
	p = next.serves(t, addr, file, flags...)
	awaitCertificate(t, addr, next.trust(t), nil)
	if next.issued() != 1 || strings.Contains(p.log.String(), "PRIVATE KEY") {
		t.Errorf("the other authority issued %d certificates; the log:\n%s", next.issued(), p.log.tail())
	}
	p.stop()

	// Keys are sealed.
	for _, name := range []string{"countersign.db", "countersign.db-wal"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("PRIVATE KEY")) || bytes.Contains(text, []byte("BEGIN CERTIFICATE")) {
			t.Errorf("%s has a certificate in plain text", name)
		}
	}
}
