package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// HasTLS reports whether the server serves HTTPS.
func (c Config) HasTLS() bool { return c.TLSCert != "" || len(c.Domains) > 0 }

// domainName matches a name for which an authority issues a certificate (RFC 1123, section 2.1),
// with at least two labels.
var domainName = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)

// mostDomains bounds the certificates of a server, each of which is one order.
const mostDomains = 20

// checkDomains checks the settings of ACME.
func (c Config) checkDomains() error {
	if len(c.Domains) == 0 {
		return nil
	}
	var errs []error
	if c.TLSCert != "" || c.TLSKey != "" {
		errs = append(errs, errors.New("--domain obtains a certificate, and --tls-cert names another; give one of them"))
	}
	if c.PlainHTTP {
		errs = append(errs, errors.New("--domain serves HTTPS, so --plain-http has no use; give one of them"))
	}
	if _, ok := UnixSocket(c.Addr); ok {
		errs = append(errs, fmt.Errorf("--domain needs an address that the authority can reach; --addr is %s", c.Addr))
	}
	if len(c.Domains) > mostDomains {
		errs = append(errs, fmt.Errorf("--domain has %d names; at most %d are supported", len(c.Domains), mostDomains))
	}
	if u, err := url.Parse(c.ConsoleURL); err == nil && c.ConsoleURL != "" && c.ConsoleAddr != "" && !slices.Contains(c.Domains, strings.ToLower(u.Hostname())) {
		errs = append(errs, fmt.Errorf("--domain has no certificate for %s, the host of --console-url; add the name", u.Hostname()))
	}
	for i, name := range c.Domains {
		switch {
		case slices.Contains(c.Domains[:i], name):
			errs = append(errs, fmt.Errorf("--domain: %q is there twice", name))
		case strings.HasPrefix(name, "*."):
			errs = append(errs, fmt.Errorf("--domain: %q is a wildcard, which this server cannot prove; name each domain", name))
		case net.ParseIP(name) != nil:
			errs = append(errs, fmt.Errorf("--domain: %q is an address; give a name", name))
		case len(name) > 253 || !domainName.MatchString(name):
			errs = append(errs, fmt.Errorf("--domain: %q is not a domain in lower case, such as mfa.example.com; write other letters in their xn-- form", name))
		}
	}
	if u, err := url.Parse(c.ACMEDirectory); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		errs = append(errs, fmt.Errorf("--acme-directory: %q is not an https URL", c.ACMEDirectory))
	}
	if c.ACMEEmail != "" && (strings.Count(c.ACMEEmail, "@") != 1 || strings.ContainsAny(c.ACMEEmail, " \t\r\n,<>?")) {
		errs = append(errs, fmt.Errorf("--acme-email: %q is not an e-mail address", c.ACMEEmail))
	}
	return errors.Join(errs...)
}
