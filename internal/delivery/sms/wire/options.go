package wire

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// CheckBaseURL returns base, or def if base is empty, without a slash at the end. It
// refuses a URL with a query, and every URL that CheckTarget refuses.
func CheckBaseURL(base, def string) (string, error) {
	switch {
	case base == "":
		return def, nil
	case strings.Contains(base, "?"):
		return "", fmt.Errorf("base_url must be like %s", def)
	}
	return strings.TrimSuffix(base, "/"), CheckTarget("base_url", base)
}

// CheckTarget returns an error that names the setting unless target is a URL to which
// credentials and codes may be posted: https, or http on this machine.
func CheckTarget(name, target string) error {
	u, err := url.Parse(target)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Contains(target, "#") {
		return fmt.Errorf("%s must be an https URL, without a user and a fragment", name)
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return fmt.Errorf("%s must be an https URL, or an http one on this machine", name)
	}
	return nil
}

// CheckCallbackURL refuses a URL that a service could not call, or might write in
// another form before it signs it. An empty URL is allowed: the service then sends no
// receipts.
func CheckCallbackURL(callback string) error {
	if callback == "" {
		return nil
	}
	u, err := url.Parse(callback)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path == "" || u.User != nil || strings.Contains(callback, "#") {
		return errors.New("callback_url must be like https://mfa.example.com/path, without a user and a fragment")
	}
	return nil
}

var (
	senderNumber = regexp.MustCompile(`^(\+[1-9][0-9]{6,14}|[0-9]{3,8})$`)
	senderName   = regexp.MustCompile(`^[A-Za-z0-9 ]{0,10}[A-Za-z][A-Za-z0-9 ]{0,10}$`)
)

// IsName reports whether s is a sender name: up to 11 letters, digits and spaces, at
// least one of them a letter.
func IsName(s string) bool { return len(s) <= 11 && senderName.MatchString(s) }

// IsSender reports whether s is a sender name, a number in E.164 or a short code.
func IsSender(s string) bool { return senderNumber.MatchString(s) || IsName(s) }
