package wording

import (
	"errors"
	"regexp"
	"strings"
)

// OriginBound returns text with a last line that binds the code to a site:
// "@host #code" (WICG, Origin-bound one-time codes delivered via SMS, section 3). A
// browser offers the code only there. An empty line comes before it, as in the
// examples of that document. CheckHost must accept host; code has no space and may
// be Place.
func OriginBound(text, host, code string) string {
	line := "@" + host + " #" + code
	if text = strings.TrimRight(text, "\r\n"); text == "" {
		return line
	}
	return text + "\n\n" + line
}

const maxHost = 253 // characters of a name (RFC 1035, section 2.3.4, without its root)

// hostPattern is labels of letters, digits and hyphens; the last is not a number,
// as it is in an IPv4 address.
var hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckHost returns an error that says what a host must be unless a code can be
// bound to host. Browsers compare it as it is written with that of a page, so only
// the form that they show as an origin will do.
func CheckHost(host string) error {
	if len(host) > maxHost || !hostPattern.MatchString(host) {
		return errors.New("must be a domain in lower case such as example.com, without scheme, port or path, and in its xn-- form if it has other letters")
	}
	return nil
}
