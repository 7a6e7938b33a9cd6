// Package pgurl reads the URLs of PostgreSQL databases strictly. Drivers, and
// package net/url, each guess where the password of a malformed URL ends, and not
// in the same way: the rest of the password then shows up as a host, a port or a
// parameter, in errors and logs. A URL that Parse accepts can be read in only one
// way, and no error of this package quotes a URL.
package pgurl

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// A URL holds the parts of the URL of a database that may be shown.
type URL struct {
	User     string   // percent-encoded, as written
	Hosts    []string // with their ports, as written
	Database string   // percent-encoded, as written

	// AllowPlaintext says that a connection beyond this machine may do without TLS.
	AllowPlaintext bool
	// PasswordCommand prints the password of each new connection; "" if not set. Its
	// words are separated by spaces.
	PasswordCommand string

	before string      // the URL up to its parameters
	params [][2]string // percent-encoded values, as written
}

// Parameters of Countersign that the driver does not know.
const (
	allowPlaintext  = "allow_plaintext"
	passwordCommand = "password_command"
)

const form = "write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full, " +
	"with the special characters of the password percent-encoded: @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25"

func malformed(why string) error {
	return fmt.Errorf("the PostgreSQL URL is malformed: %s; %s", why, form)
}

// Is reports whether text begins as the URL of a PostgreSQL database does.
func Is(text string) bool {
	_, ok := afterScheme(text)
	return ok
}

func afterScheme(text string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(text, "postgres://"); ok {
		return rest, true
	}
	return strings.CutPrefix(text, "postgresql://")
}

var (
	hostForm      = regexp.MustCompile(`^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*|(%2[Ff][A-Za-z0-9._-]*)+)(:[0-9]{1,5})?$`)
	parameterForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)
)

// Parse reads a URL. Its errors name the fault and never quote the URL.
func Parse(text string) (*URL, error) {
	rest, ok := afterScheme(text)
	if !ok {
		return nil, malformed("it does not begin with postgres://")
	}
	switch {
	case strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return nil, malformed("it contains a space or a control character")
	case strings.Contains(rest, "#"):
		return nil, malformed("it contains #")
	case strings.Count(rest, "@") > 1:
		return nil, malformed("it contains more than one @")
	case strings.Count(rest, "?") > 1:
		return nil, malformed("it contains more than one ?")
	}
	if _, err := url.PathUnescape(rest); err != nil {
		return nil, malformed("it contains a % that does not begin a percent-encoded character")
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, database, _ := strings.Cut(rest, "/")
	if strings.Contains(query, "@") || strings.Contains(database, "@") {
		return nil, malformed("an @ stands behind the host")
	}
	if strings.Contains(database, "/") {
		return nil, malformed("the name of the database contains /")
	}
	before, _, _ := strings.Cut(text, "?")
	u := &URL{Database: database, before: before}
	hosts := authority
	if login, after, ok := strings.Cut(authority, "@"); ok {
		u.User, _, _ = strings.Cut(login, ":")
		hosts = after
	}
	u.Hosts = strings.Split(hosts, ",")
	for _, host := range u.Hosts {
		if !hostForm.MatchString(host) {
			return nil, malformed("a host is neither a name nor an address, or a port is not a number")
		}
	}
	return u, u.readQuery(query)
}

func (u *URL) readQuery(query string) error {
	if query == "" {
		return nil
	}
	for part := range strings.SplitSeq(query, "&") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || !parameterForm.MatchString(name) || strings.Contains(value, "=") {
			return malformed("a parameter is not of the form name=value")
		}
		u.params = append(u.params, [2]string{name, value})
	}
	for _, p := range u.params {
		switch p[0] {
		case allowPlaintext:
			u.AllowPlaintext = p[1] == "yes"
		case passwordCommand:
			u.PasswordCommand, _ = url.PathUnescape(p[1]) // Parse has tried it
			if strings.TrimSpace(u.PasswordCommand) == "" {
				return malformed(passwordCommand + " is empty")
			}
		}
		if all, ok := choices[p[0]]; ok && !slices.Contains(all, p[1]) {
			return fmt.Errorf("the PostgreSQL URL has an unknown value of %s; use one of %s", p[0], strings.Join(all, ", "))
		}
	}
	return nil
}

// choices are the parameters that have few values and no secret.
var choices = map[string][]string{
	allowPlaintext:            {"yes", "no"},
	"sslmode":                 {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
	"target_session_attrs":    {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"},
	"default_query_exec_mode": {"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"},
}

// String returns the URL without its password, and of its parameters only those
// that cannot hold a secret.
func (u *URL) String() string {
	var b strings.Builder
	b.WriteString("postgres://")
	if u.User != "" {
		b.WriteString(u.User + "@")
	}
	b.WriteString(strings.Join(u.Hosts, ",") + "/" + u.Database)
	separator := "?"
	for _, p := range u.params {
		if choices[p[0]] != nil {
			b.WriteString(separator + p[0] + "=" + p[1])
			separator = "&"
		}
	}
	return b.String()
}

// ForDriver returns the URL with its password and without the parameters that the
// driver does not know.
func (u *URL) ForDriver() string {
	var params []string
	for _, p := range u.params {
		if p[0] != allowPlaintext && p[0] != passwordCommand {
			params = append(params, p[0]+"="+p[1])
		}
	}
	if params == nil {
		return u.before
	}
	return u.before + "?" + strings.Join(params, "&")
}

// Name returns text without its password and other secrets, also if it is malformed.
func Name(text string) string {
	u, err := Parse(text)
	if err != nil {
		return "(a malformed PostgreSQL URL)"
	}
	return u.String()
}

// ErrRefused says that the driver refuses a well-formed URL. It has no detail,
// because the driver would quote the URL.
var ErrRefused = errors.New("a parameter of the PostgreSQL URL, or a variable PG… of the environment, has a value that is not possible: " +
	"look at ports, connect_timeout, sslrootcert, sslcert, sslkey, service, statement_cache_capacity and pool_…")
