package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/certs"
	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// authorityPatience bounds one request to the certificate authority.
const authorityPatience = 30 * time.Second

// authorityClient returns a client that trusts the certificates of a file, or the roots of the system if
// path is empty.
func authorityClient(path string) (*http.Client, error) {
	client := &http.Client{Timeout: authorityPatience}
	if path == "" {
		return client, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--acme-roots: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--acme-roots: %s has no certificate in PEM", path)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	client.Transport = transport
	return client, nil
}

// newManager returns the manager of the certificates for the domains of the configuration.
func (s *Server) newManager(client *http.Client) *certs.Manager {
	return certs.New(s.store.transfer, certs.Options{
		Domains: s.cfg.Domains, Email: s.cfg.ACMEEmail, Directory: s.cfg.ACMEDirectory,
		Keys: func() *secret.Keyset { return s.mfa.Load().Keys() }, Ready: func() error { return s.clock.err() },
		Client: client, UserAgent: "countersign/" + s.version, Now: s.now, Logger: s.log,
	})
}

// resealCertificates seals the values of package certs under the newest key: also values of nodes with other domains, of
// a domain that is not served any more, and of an order that was interrupted.
func (s *Server) resealCertificates(ctx context.Context, keys *secret.Keyset) error {
	for place := ""; ; {
		rows, next, err := s.store.transfer.Export(ctx, "meta", place, rowsAStep)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, r := range rows {
			if !strings.HasPrefix(r.Meta.Name, certs.Prefix) {
				continue
			}
			if err := certs.Reseal(ctx, s.store.transfer, keys, r.Meta.Name); err != nil {
				return err
			}
		}
		place = next
	}
}

// tlsConfig returns the TLS settings of a listener that offers HTTP and further protocols, or nil if the server
// serves plain HTTP.
func (s *Server) tlsConfig(further ...string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	switch {
	case s.acme != nil:
		config.GetCertificate = s.acme.Get
		config.NextProtos = append(config.NextProtos, further...)
	case s.certs != nil:
		config.GetCertificate = s.certs.get
	default:
		return nil
	}
	return config
}

// aboutDomains describes the certificates by ACME for the console.
func (s *Server) aboutDomains() console.Section {
	section := console.Section{Name: "TLS certificates"}
	for _, c := range s.acme.States() {
		state := s.validity(c.NotAfter)
		section.Facts = append(section.Facts, console.Fact{Name: c.Domain, Value: state.Value, Tone: state.Tone})
		if !c.NotAfter.IsZero() {
			section.Facts = append(section.Facts, console.Fact{Name: "Expires", At: c.NotAfter})
		}
		if c.Problem != "" {
			section.Facts = append(section.Facts,
				console.Fact{Name: "Last order", Value: fmt.Sprintf("failed, %d in a row: %s", c.Failures, c.Problem), Tone: "bad"},
				console.Fact{Name: "Next order", At: c.NextTry})
		}
	}
	section.Facts = append(section.Facts, console.Fact{Name: "Authority", Value: s.cfg.ACMEDirectory})
	return section
}

// validity says whether a certificate that ends at notAfter is valid.
func (s *Server) validity(notAfter time.Time) console.Fact {
	switch now := s.now(); {
	case notAfter.IsZero():
		return console.Fact{Name: "State", Value: "not issued yet", Tone: "bad"}
	case now.After(notAfter):
		return console.Fact{Name: "State", Value: "expired", Tone: "bad"}
	case now.Add(soon).After(notAfter):
		return console.Fact{Name: "State", Value: "expires soon", Tone: "warn"}
	}
	return console.Fact{Name: "State", Value: "valid", Tone: "good"}
}

// checkACME describes the certificates by ACME. Only the authority can say whether it reaches the server.
func (c *checker) checkACME(check string) {
	if _, err := authorityClient(c.cfg.ACMERoots); err != nil {
		c.failed(check, "name a file with certificates in PEM that this account can read", err)
	}
	const port443 = ":443"
	names := strings.Join(c.cfg.Domains, ", ")
	if !strings.HasSuffix(c.cfg.Addr, port443) {
		c.warn(check, "let port 443 of each domain lead to this address, or set addr: :443",
			"the authority connects to port 443 of %s, and the server listens on %s", names, c.cfg.Addr)
		return
	}
	c.ok(check, "the server obtains certificates for %s from %s", names, c.cfg.ACMEDirectory)
}

// checkCertificates describes the stored certificates by ACME.
func (c *checker) checkCertificates(keys *secret.Keyset, values map[string][]byte) {
	const check = "tls"
	for _, domain := range c.cfg.Domains {
		s, err := certs.Stored(values, keys, c.cfg.ACMEDirectory, domain)
		if err != nil {
			c.warn(check, "start the server, which orders a new one", "the stored certificate for %s cannot be used: %v", domain, err)
			continue
		}
		if s.Problem != "" {
			c.warn(check, "let port 443 of the domain lead to the server, and see what the authority says; the next order begins at "+s.NextTry.UTC().Format(time.RFC3339),
				"the last order of a certificate for %s failed, %d in a row: %s", domain, s.Failures, s.Problem)
		}
		switch {
		case s.NotAfter.IsZero():
			c.ok(check, "the store has no certificate for %s yet; the server orders one", domain)
		case c.now().After(s.NotAfter):
			c.warn(check, "start the server, which orders a new one, and watch its log", "the certificate for %s expired on %s", domain, date(s.NotAfter))
		default:
			c.ok(check, "the certificate for %s is valid until %s", domain, date(s.NotAfter))
		}
	}
}
