package smstext

import (
	"errors"
	"regexp"
	"strings"
)

// OriginBound returns text with a last line that binds the code to a website:
// "@host #code" (WICG, Origin-bound one-time codes delivered via SMS, section 3). A
// browser offers the code only on that website. An empty line precedes the last line,
// as in the examples of that document. CheckHost must accept host. The code must not
// contain a space; it may be Place.
func OriginBound(text, host, code string) string {
	line := "@" + host + " #" + code
	if text = strings.TrimRight(text, "\r\n"); text == "" {
		return line
	}
	return text + "\n\n" + line
}

const maxHost = 253 // characters of a name without its root (RFC 1035, section 2.3.4)

// hostPattern matches labels of letters, digits and hyphens. The last label is not a
// number, which excludes IPv4 addresses.
var hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckHost returns nil if a code can be bound to host. Otherwise its error describes a
// valid host. Browsers compare host with the host of a page character by character, so
// only the form that browsers show as an origin is valid.
func CheckHost(host string) error {
	if len(host) > maxHost || !hostPattern.MatchString(host) {
		return errors.New("must be a domain in lower case such as example.com, without scheme, port or path, and in its xn-- form if it has letters outside ASCII")
	}
	return nil
}
