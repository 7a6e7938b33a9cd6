package sms

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// verdicts say what the error codes of one service mean here.
type verdicts map[string]meaning

type meaning struct {
	kind   Kind // or unserved
	reason string
}

// unserved means that the account, or its sender, does not serve numbers like this
// one: their country is switched off, or wants the sender registered. In an Error it
// is Unavailable and Healthy.
const unserved Kind = "unserved"

// judge tells e what the service's own code says. A code that is not listed is
// shown, and changes nothing else.
func (v verdicts) judge(e *Error, code string) *Error {
	if !codePattern.MatchString(code) {
		return e
	}
	e.Code = code
	if known, ok := v[code]; ok {
		known.tell(e)
	}
	return e
}

func (m meaning) tell(e *Error) {
	e.Kind, e.Reason, e.Healthy = m.kind, m.reason, m.kind == unserved
	if e.Healthy {
		e.Kind = Unavailable
	}
}

// What a service sends is shown to operators and stored only in these shapes. A code
// is too short to be a one-time code.
var (
	codePattern = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
	idPattern   = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)
)

// unreadable is the error of an answer that says accepted, but not under which id.
func unreadable(status int) *Error {
	return &Error{Kind: Uncertain, Reason: fmt.Sprintf("answered with status %d, but without an id", status)}
}

// newPost makes a request. Its error leaves out what NewRequest says, which quotes
// the URL.
func newPost(url, contentType, body string) (*http.Request, error) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, &Error{Kind: Unavailable, Reason: "no request can be made"}
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// validity is d in whole units, within what a service takes. It rounds down: a
// message that comes late is of no use.
func validity(d, unit, least, most time.Duration) int64 {
	return int64(min(max(d, least), most) / unit)
}

// checkBaseURL returns base, or def if it is empty, without a slash at the end.
func checkBaseURL(base, def string) (string, error) {
	switch {
	case base == "":
		return def, nil
	case strings.Contains(base, "?"):
		return "", fmt.Errorf("base_url must be like %s", def)
	}
	return strings.TrimSuffix(base, "/"), checkTarget("base_url", base)
}

// checkTarget refuses the value of a setting unless it is a URL to which credentials
// and codes may be posted: they go in the clear only on this machine.
func checkTarget(name, target string) error {
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

// checkCallbackURL refuses what a service could not call, or might write in another
// way before it signs it. An empty one is right: the service then reports nothing.
func checkCallbackURL(callback string) error {
	if callback == "" {
		return nil
	}
	u, err := url.Parse(callback)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path == "" || u.User != nil || strings.Contains(callback, "#") {
		return errors.New("callback_url must be like https://mfa.example.com/path, without a user and a fragment")
	}
	return nil
}
