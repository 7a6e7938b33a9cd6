package config_test

import (
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/config"
)

func TestConsoleSettings(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(c *config.Config)
		want string // in the error; "" without one
	}{
		{"none", func(c *config.Config) {}, ""},
		{"loopback", func(c *config.Config) { c.ConsoleAddr = "127.0.0.1:8081" }, ""},
		{"a name behind a proxy", func(c *config.Config) {
			c.ConsoleAddr, c.ConsoleURL, c.PlainHTTP = ":8081", "https://console.example.com", true
		}, ""},
		{"a socket", func(c *config.Config) {
			c.ConsoleAddr, c.ConsoleURL = "unix:/run/console.sock", "https://console.example.com/"
		}, ""},
		{"a URL without an address", func(c *config.Config) { c.ConsoleURL = "https://console.example.com" }, "--console-addr"},
		{"no address", func(c *config.Config) { c.ConsoleAddr = "8081" }, "--console-addr"},
		{"the address of the API", func(c *config.Config) { c.ConsoleAddr, c.Addr = "127.0.0.1:4100", "127.0.0.1:4100" }, "address of its own"},
		{"the network without TLS", func(c *config.Config) { c.ConsoleAddr, c.ConsoleURL = ":8081", "https://console.example.com" }, "--tls-cert"},
		{"the network without a name", func(c *config.Config) { c.ConsoleAddr, c.PlainHTTP = ":8081", true }, "--console-url"},
		{"a socket without a name", func(c *config.Config) { c.ConsoleAddr = "unix:/run/console.sock" }, "--console-url"},
		{"a URL with a path", func(c *config.Config) { c.ConsoleAddr, c.ConsoleURL = "127.0.0.1:8081", "https://example.com/console" }, "without a path"},
		{"a URL of an address", func(c *config.Config) { c.ConsoleAddr, c.ConsoleURL = "127.0.0.1:8081", "https://192.0.2.1" }, "need a name"},
		{"a URL without TLS", func(c *config.Config) { c.ConsoleAddr, c.ConsoleURL = "127.0.0.1:8081", "http://console.example.com" }, "https"},
		{"half of a provider", func(c *config.Config) {
			c.ConsoleAddr, c.ConsoleOIDCIssuer = "127.0.0.1:8081", "https://id.example.com"
		},
			"--console-oidc-client-id, --console-oidc-client-secret, --console-oidc-roles"},
		{"a provider", func(c *config.Config) { withProvider(c, "ops=admin", "cn=ops,dc=example=viewer") }, ""},
		{"an unknown role", func(c *config.Config) { withProvider(c, "ops=owner") }, "viewer, support or admin"},
		{"no role", func(c *config.Config) { withProvider(c, "ops") }, "GROUP=ROLE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := config.Default()
			c.Addr = "127.0.0.1:0"
			tc.set(&c)
			err := c.Check()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Check = %v; want %q", err, tc.want)
			}
		})
	}
}

func withProvider(c *config.Config, roles ...string) {
	c.ConsoleAddr, c.ConsoleOIDCIssuer, c.ConsoleOIDCClientID, c.ConsoleOIDCClientSecret = "127.0.0.1:8081", "https://id.example.com", "countersign", "/etc/secret"
	c.ConsoleOIDCRoles = roles
}

func TestConsoleOrigin(t *testing.T) {
	for _, tc := range []struct {
		c          config.Config
		addr, want string
	}{
		{config.Config{}, "127.0.0.1:8081", "http://localhost:8081"},
		{config.Config{TLSCert: "x"}, "[::1]:8081", "https://localhost:8081"},
		{config.Config{ConsoleURL: "https://Console.example.com:8443/"}, ":8081", "https://console.example.com:8443"},
	} {
		if got, err := tc.c.ConsoleOrigin(tc.addr); err != nil || got != tc.want {
			t.Errorf("ConsoleOrigin(%s) = %s, %v; want %s", tc.addr, got, err, tc.want)
		}
	}
}
