package webhook

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

// A URLError is an ErrURL with its reason. It does not repeat the URL, which may contain a
// secret.
type URLError struct{ Reason string }

func (e *URLError) Error() string { return "endpoint_url " + e.Reason }

// Is reports that e is an ErrURL.
func (e *URLError) Is(target error) bool { return target == ErrURL }

const maxURL = 2048 // bytes

// checkURL returns a URL in its normal form, in which equal URLs have equal texts. Names are
// not resolved here: the Sender checks the address that it dials.
func checkURL(text string, allow Allow, plainHTTP bool) (string, error) {
	refuse := func(reason string) (string, error) { return "", &URLError{reason} }
	const tooLong = "must have at most 2048 bytes"
	if len(text) > maxURL {
		return refuse(tooLong)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return refuse("must not contain spaces or control characters")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Host == "" || u.Hostname() == "":
		return refuse("must be an absolute URL, such as https://example.com/webhooks")
	case strings.EqualFold(u.Scheme, "http") && !plainHTTP:
		return refuse("must begin with https://")
	case !strings.EqualFold(u.Scheme, "http") && !strings.EqualFold(u.Scheme, "https"):
		return refuse("must begin with https://")
	case u.User != nil:
		return refuse("must not contain a user name or a password")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return refuse("must not have a fragment")
	}
	port, err := checkPort(u.Port(), strings.HasSuffix(u.Host, ":"))
	if err != nil {
		return refuse("must have a port from 1 to 65535")
	}
	host := strings.ToLower(u.Hostname())
	if addr, err := netip.ParseAddr(host); err == nil {
		if !allow.Permits(addr) {
			return refuse("must not have an address that is not public, unless the operator allows it with the setting webhook_allow")
		}
	} else if strings.ContainsFunc(host, notInName) {
		return refuse("must have a host name of letters, digits, dots and hyphens (write an international name as xn--…) or an IP address")
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		port = ""
	}
	if u.Host = host; strings.Contains(host, ":") {
		u.Host = "[" + host + "]"
	}
	if port != "" {
		u.Host += ":" + port
	}
	normal := u.String()
	if len(normal) > maxURL { // it has three bytes for each byte that must be escaped
		return refuse(tooLong)
	}
	return normal, nil
}

func checkPort(text string, colon bool) (string, error) {
	if text == "" && !colon {
		return "", nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1<<16-1 {
		return "", errors.New("not a port")
	}
	return strconv.Itoa(n), nil
}

func notInName(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-_", r)
}
