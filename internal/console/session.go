package console

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/web"
)

// The cookies with secrets. A name that begins with __Host- cannot be set by another host or
// without TLS, so no other site can give a browser the session of another person. Browsers treat
// http://localhost as they treat TLS.
const (
	sessionCookie = "__Host-countersign_session"
	// ceremonyCookie belongs to a challenge that waits for the answer of a passkey.
	ceremonyCookie = "__Host-countersign_ceremony"
	// visitCookie belongs to a visit to the identity provider. The browser must send it when it
	// comes back from there, so it is the only one that is not strict.
	visitCookie = "__Host-countersign_visit"
)

// setSecret sets a cookie that lives as long as the browser is open.
func setSecret(w http.ResponseWriter, name string, value secret.String) {
	c := &http.Cookie{Name: name, Value: value.Reveal(), Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if name == visitCookie {
		c.SameSite = http.SameSiteLaxMode
	}
	http.SetCookie(w, c)
}

func dropSecret(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

// secretOf returns the value of a cookie, or the zero String.
func secretOf(r *http.Request, name string) secret.String {
	cookie, err := r.Cookie(name)
	if err != nil {
		return secret.String{}
	}
	return secret.NewString(cookie.Value)
}

// client describes the browser of a request.
func (c *Console) client(r *web.Request) signin.Client {
	remote := c.opts.Remote
	remote.Form = web.FullAddr
	return signin.Client{
		Network: network(remote.Of(r.Request)), Request: r.ID, Browser: r.UserAgent(),
		Session: secretOf(r.Request, sessionCookie),
	}
}

// network returns the part of an address whose attempts are counted together: one client has
// 64 bits of an IPv6 address to itself.
func network(text string) string {
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Is6() {
		return text
	}
	p, err := addr.Prefix(64)
	if err != nil {
		return text
	}
	return p.String()
}

// Identify returns the operator whose session a request has. Errors: ErrSignedOut.
func Identify(s *signin.Service) func(*http.Request) (Operator, error) {
	return func(r *http.Request) (Operator, error) {
		identify := s.Identify
		if isByItself(r) {
			identify = s.Look
		}
		found, err := identify(r.Context(), secretOf(r, sessionCookie))
		if errors.Is(err, signin.ErrSignedOut) {
			return Operator{}, ErrSignedOut
		}
		return Operator{Name: found.Operator.Name, Role: found.Operator.Role, FreshUntil: found.FreshUntil}, err
	}
}

// isByItself reports whether a page sent a request without its reader: for live events, or to
// refresh the overview. Such requests do not keep a session from ending.
func isByItself(r *http.Request) bool {
	return strings.HasSuffix(r.URL.Path, streamPath) || r.Header.Get("HX-Trigger") == "now" // its id in overview.html
}

// cameFrom returns the page of the console that a request came from, for a link back to it.
func cameFrom(r *http.Request) string {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return local(r.URL.RequestURI())
	}
	u, err := url.Parse(r.Referer())
	if err != nil || u.Host != r.Host {
		return root
	}
	return local(u.RequestURI())
}
