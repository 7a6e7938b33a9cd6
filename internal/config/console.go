package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// checkConsole reports the faults of the settings of the console that need no other package.
func (c Config) checkConsole() error {
	if c.ConsoleAddr == "" {
		for _, s := range []struct{ name, value string }{{"console-url", c.ConsoleURL}, {"console-oidc-issuer", c.ConsoleOIDCIssuer}} {
			if s.value != "" {
				return fmt.Errorf("--%s has no effect without --console-addr", s.name)
			}
		}
		return nil
	}
	if err := checkAddr(c.ConsoleAddr); err != nil {
		return fmt.Errorf("--console-addr %w", err)
	}
	for _, other := range []struct{ name, value string }{{"addr", c.Addr}, {"metrics-addr", c.MetricsAddr}} {
		if c.ConsoleAddr == other.value && !strings.HasSuffix(c.ConsoleAddr, ":0") {
			return fmt.Errorf("--console-addr is %s, as --%s is; the console needs an address of its own", c.ConsoleAddr, other.name)
		}
	}
	if !c.HasTLS() && !c.PlainHTTP && !IsLocal(c.ConsoleAddr) {
		return fmt.Errorf("--console-addr %s can be reached from other machines, and browsers use passkeys only over TLS; "+
			"give --domain, or --tls-cert and --tls-key, or --plain-http if a proxy in front terminates TLS, or --console-addr 127.0.0.1:8081", c.ConsoleAddr)
	}
	if _, err := c.ConsoleOrigin(c.ConsoleAddr); err != nil {
		return err
	}
	return c.checkOIDC()
}

func (c Config) checkOIDC() error {
	var missing []string
	given := 0
	for _, s := range []struct {
		name string
		set  bool
	}{
		{"--console-oidc-issuer", c.ConsoleOIDCIssuer != ""}, {"--console-oidc-client-id", c.ConsoleOIDCClientID != ""},
		{"--console-oidc-client-secret", c.ConsoleOIDCClientSecret != ""}, {"--console-oidc-roles", len(c.ConsoleOIDCRoles) > 0},
	} {
		if s.set {
			given++
		} else {
			missing = append(missing, s.name)
		}
	}
	if given > 0 && len(missing) > 0 {
		return fmt.Errorf("sign-in through an identity provider also needs %s", strings.Join(missing, ", "))
	}
	_, err := c.OIDCRoles()
	return err
}

// OIDCRoles reads ConsoleOIDCRoles as pairs of a group and a role.
func (c Config) OIDCRoles() (pairs [][2]string, err error) {
	for _, text := range c.ConsoleOIDCRoles {
		i := strings.LastIndex(text, "=") // the name of a group may contain one
		if i < 1 {
			return nil, fmt.Errorf("--console-oidc-roles: %q is not of the form GROUP=ROLE", text)
		}
		group, role := text[:i], text[i+1:]
		if role != "viewer" && role != "support" && role != "admin" {
			return nil, fmt.Errorf("--console-oidc-roles: %q is not a role; use viewer, support or admin", role)
		}
		pairs = append(pairs, [2]string{group, role})
	}
	return pairs, nil
}

// ConsoleOrigin returns the origin of the console in a browser: ConsoleURL, or else that of an
// address at which it listens on this machine.
func (c Config) ConsoleOrigin(addr string) (string, error) {
	if c.ConsoleURL == "" {
		_, port, err := net.SplitHostPort(addr)
		if _, isSocket := UnixSocket(addr); err != nil || isSocket || !IsLocal(addr) {
			return "", errors.New("--console-url is missing: the address of the console in a browser, such as https://console.example.com, where passkeys are used")
		}
		scheme := "http"
		if c.HasTLS() {
			scheme = "https"
		}
		return scheme + "://localhost:" + port, nil
	}
	u, err := url.Parse(c.ConsoleURL)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("--console-url: %q is not the address of a host, such as https://console.example.com, without a path", c.ConsoleURL)
	}
	host := u.Hostname()
	isLocalhost := host == "localhost" || strings.HasSuffix(host, ".localhost")
	switch {
	case net.ParseIP(host) != nil:
		return "", fmt.Errorf("--console-url: passkeys need a name, not the address %s; use a name of this machine, or localhost", host)
	case u.Scheme != "https" && !(u.Scheme == "http" && isLocalhost):
		return "", fmt.Errorf("--console-url: %q does not begin with https, so browsers would not use passkeys there", c.ConsoleURL)
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}
