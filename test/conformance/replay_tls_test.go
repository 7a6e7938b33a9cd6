package conformance_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// overTLS replaces the plain servers with servers that use TLS. A request that has to
// be lost goes without TLS from the client to the network, and with TLS from there.
func (r *replayer) overTLS(t *testing.T) {
	for _, s := range []struct {
		at      *target
		network **network
		flags   []string
	}{
		{&r.main, &r.network, []string{"--tls"}},
		{&r.brief, &r.briefNetwork, []string{"--tls", "--challenge-ttl", "50ms", "--sms-spacing", "3s"}},
	} {
		server := start(t, s.flags...)
		trust, err := trustOf(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		*s.at = target{url: server.URL, apiKey: server.APIKey, tls: trust, watch: asDocumented(t)}
		*s.network = startNetwork(t, relay(t, server.URL, trust))
	}
	r.client = &http.Client{Transport: trusting{r.main, r.brief}}
}

// trustOf returns the setting that a user of the library makes: trust in the
// certificate that the server created, and in no other. The certificate is read from
// the connection because start does not return the path of its file.
func trustOf(serverURL string) (*tls.Config, error) {
	u, err := url.Parse(serverURL)
	if err != nil {
		return nil, err
	}
	conn, err := tls.Dial("tcp", u.Host, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	roots := x509.NewCertPool()
	roots.AddCert(conn.ConnectionState().PeerCertificates[0])
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}, nil
}

// trusting sends a request to the target for which it is meant.
type trusting []target

func (servers trusting) RoundTrip(req *http.Request) (*http.Response, error) {
	for _, s := range servers {
		if strings.HasSuffix(s.url, "//"+req.URL.Host) {
			transport := &http.Transport{TLSClientConfig: s.tls, DisableKeepAlives: true}
			return transport.RoundTrip(req)
		}
	}
	return nil, errors.New("no server at " + req.URL.Host)
}

// relay listens without TLS in front of a server with TLS, and returns its address.
func relay(t *testing.T, serverURL string, trust *tls.Config) string {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			plain, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer plain.Close()
				secure, err := tls.Dial("tcp", u.Host, trust)
				if err != nil {
					return
				}
				defer secure.Close()
				go func() {
					io.Copy(secure, plain)
					secure.Close()
				}()
				io.Copy(plain, secure)
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}
