package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
)

// expiresSoon is the time before the end of a certificate from which Check warns.
const expiresSoon = 30 * 24 * time.Hour

func (c *checker) checkTLS() {
	const check = "tls"
	if len(c.cfg.Domains) > 0 {
		c.checkACME(check)
		return
	}
	if c.cfg.TLSCert == "" || c.cfg.TLSKey == "" { // one without the other is refused as a setting
		if c.cfg.TLSCert == c.cfg.TLSKey {
			c.plainHTTP(check)
		}
		return
	}
	c.checkPrivate(check, c.cfg.TLSKey)
	pair, err := tls.LoadX509KeyPair(c.cfg.TLSCert, c.cfg.TLSKey)
	if err != nil {
		c.fail(check, "give this account the permission to read both files, and name the key that belongs to the certificate",
			"%s with %s: %v", c.cfg.TLSCert, c.cfg.TLSKey, err)
		return
	}
	chain, err := parseChain(pair.Certificate)
	if err != nil {
		c.fail(check, "replace the file with the chain that the certificate authority has issued", "%s: %v", c.cfg.TLSCert, err)
		return
	}
	if c.checkDates(check, chain) {
		c.checkChain(check, chain)
	}
}

func (c *checker) plainHTTP(check string) {
	if c.cfg.PlainHTTP && !config.IsLocal(c.cfg.Addr) {
		c.ok(check, "none: plain_http is set, so a proxy in front must terminate TLS")
		return
	}
	c.ok(check, "none: without a certificate, only this machine can connect")
}

func parseChain(der [][]byte) (chain []*x509.Certificate, err error) {
	for i, one := range der {
		cert, err := x509.ParseCertificate(one)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		chain = append(chain, cert)
	}
	return chain, nil
}

// checkDates reports whether all certificates of a chain are valid now.
func (c *checker) checkDates(check string, chain []*x509.Certificate) bool {
	now := c.now()
	for i, cert := range chain {
		left := cert.NotAfter.Sub(now)
		switch name := certificateName(cert, i); {
		case now.Before(cert.NotBefore):
			c.fail(check, "correct the clock of this machine, or wait", "%s is not valid before %s", name, date(cert.NotBefore))
			return false
		case left <= 0:
			c.fail(check, "renew it", "%s expired on %s", name, date(cert.NotAfter))
			return false
		case left < expiresSoon:
			c.warn(check, "renew it", "%s expires in %d days, on %s", name, int(left/(24*time.Hour)), date(cert.NotAfter))
		}
	}
	return true
}

func certificateName(cert *x509.Certificate, place int) string {
	if place == 0 {
		return "the certificate"
	}
	return fmt.Sprintf("certificate %d of the chain (%s)", place+1, cert.Subject)
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// checkChain reports the names of a certificate and whether clients trust it.
func (c *checker) checkChain(check string, chain []*x509.Certificate) {
	leaf := chain[0]
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		c.fail(check, "have it issued with the names of the server as subject alternative names", "the certificate has no names: clients refuse it")
		return
	}
	for i := 1; i < len(chain); i++ {
		if err := chain[i-1].CheckSignatureFrom(chain[i]); err != nil {
			c.fail(check, "order the file: the certificate first, then each issuer of the one before", "certificate %d of %s did not issue certificate %d: %v", i+1, c.cfg.TLSCert, i, err)
			return
		}
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	shown := strings.Join(names, ", ")
	_, err := leaf.Verify(x509.VerifyOptions{Intermediates: intermediates, CurrentTime: c.now()})
	if err != nil {
		c.warn(check, "add the intermediate certificates to the file; with a private authority, install its root where clients run",
			"the certificate for %s matches its key and is valid until %s, but this machine does not trust it: %v", shown, date(leaf.NotAfter), err)
		return
	}
	c.ok(check, "the certificate for %s matches its key and is valid until %s", shown, date(leaf.NotAfter))
}
