package config_test

import (
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/config"
)

func TestDomains(t *testing.T) {
	long := strings.Repeat("a", 64) + ".example.com"
	for _, tc := range []struct {
		name string
		with func(*config.Config)
		want string // part of the error, or "" if it is accepted
	}{
		{"a domain", func(c *config.Config) { c.Domains = []string{"mfa.example.com"} }, ""},
		{"two domains", func(c *config.Config) { c.Domains = []string{"mfa.example.com", "xn--mnchen-3ya.example"} }, ""},
		{"the same twice", func(c *config.Config) { c.Domains = []string{"mfa.example.com", "mfa.example.com"} }, "there twice"},
		{"a wildcard", func(c *config.Config) { c.Domains = []string{"*.example.com"} }, "wildcard"},
		{"an address", func(c *config.Config) { c.Domains = []string{"192.0.2.7"} }, "is an address"},
		{"an address of version 6", func(c *config.Config) { c.Domains = []string{"2001:db8::1"} }, "is an address"},
		{"a URL", func(c *config.Config) { c.Domains = []string{"https://mfa.example.com"} }, "is not a domain"},
		{"a port", func(c *config.Config) { c.Domains = []string{"mfa.example.com:443"} }, "is not a domain"},
		{"capitals", func(c *config.Config) { c.Domains = []string{"MFA.example.com"} }, "in lower case"},
		{"letters outside of ASCII", func(c *config.Config) { c.Domains = []string{"münchen.example"} }, "xn--"},
		{"one label", func(c *config.Config) { c.Domains = []string{"localhost"} }, "is not a domain"},
		{"a dot at the end", func(c *config.Config) { c.Domains = []string{"mfa.example.com."} }, "is not a domain"},
		{"a long label", func(c *config.Config) { c.Domains = []string{long} }, "is not a domain"},
		{"nothing", func(c *config.Config) { c.Domains = []string{""} }, "is not a domain"},
		{"too many", func(c *config.Config) {
			for i := range 21 {
				c.Domains = append(c.Domains, strings.Repeat("a", i+1)+".example.com")
			}
		}, "at most 20"},
		{"and a certificate", func(c *config.Config) {
			c.Domains, c.TLSCert, c.TLSKey = []string{"mfa.example.com"}, "tls.crt", "tls.key"
		}, "give one of them"},
		{"and plain HTTP", func(c *config.Config) { c.Domains, c.PlainHTTP = []string{"mfa.example.com"}, true }, "--plain-http has no use"},
		{"on a unix socket", func(c *config.Config) { c.Domains, c.Addr = []string{"mfa.example.com"}, "unix:/run/api.sock" }, "the authority can reach"},
		{"a console at another name", func(c *config.Config) {
			c.Domains, c.ConsoleAddr, c.ConsoleURL = []string{"mfa.example.com"}, ":8443", "https://console.example.com"
		}, "no certificate for console.example.com"},
		{"a directory without TLS", func(c *config.Config) {
			c.Domains, c.ACMEDirectory = []string{"mfa.example.com"}, "http://ca.example.com/directory"
		}, "not an https URL"},
		{"a wrong e-mail address", func(c *config.Config) { c.Domains, c.ACMEEmail = []string{"mfa.example.com"}, "ops" }, "--acme-email"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := local()
			c.Addr, c.ACMEDirectory = ":443", "https://ca.example.com/directory"
			tc.with(&c)
			err := c.Check()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Check = %v; want %q", err, tc.want)
			}
		})
	}
}
