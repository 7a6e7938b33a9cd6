package web

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Some faces have no password in development: they show their pages to every client that
// reaches their address. These are meant to be the people and programs of one machine or
// network. But the scripts of a website that one of these people visits run in a browser
// that also reaches the address. The functions in this file refuse such scripts.

// Hosts are the names under which a face answers, in addition to IP addresses and
// localhost. The zero value has no further names.
type Hosts map[string]bool

// NewHosts returns the Hosts with the given names, without ports.
func NewHosts(names ...string) Hosts {
	h := make(Hosts)
	for _, name := range names {
		h[canonicalHost(name)] = true
	}
	return h
}

// Answer reports whether a face answers requests with this host.
//
// The website evil.example can point its name at 127.0.0.1 after a browser has loaded its
// page (DNS rebinding). For the browser, the face is then part of evil.example, and the
// scripts of evil.example may read it. But the browser still sends evil.example as the host. An
// address or localhost cannot point to another machine, and a name from the options
// belongs to the operator of this server.
func (h Hosts) Answer(host string) bool {
	u, err := url.Parse("//" + host)
	if err != nil || u.Host != host { // host contains a path, a user name or an invalid port
		return false
	}
	name := canonicalHost(u.Hostname())
	_, err = netip.ParseAddr(name)
	return err == nil || name == "localhost" || h[name]
}

// HostName returns the name of a host as a request gives it, without its port, or "" if it is
// not a host. Equivalent names have the same spelling.
func HostName(host string) string {
	u, err := url.Parse("//" + host)
	if err != nil || u.Host != host {
		return ""
	}
	return canonicalHost(u.Hostname())
}

// canonicalHost returns the same spelling for equivalent host names.
func canonicalHost(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// IsForeign reports whether another website made this request for its own use. Without
// CORS its scripts cannot read the answer, but they could embed it, measure its time or
// load it into their process. A link to the page is fine: then only the user sees the
// page.
//
// Browsers send these headers, and scripts cannot change them. Other programs do not send
// them. Browsers do not send them either if the address is neither https nor the same
// machine: then the headers of Protect are the only protection.
func IsForeign(r *http.Request) bool {
	fetch := func(what string) string { return r.Header.Get("Sec-Fetch-" + what) }
	visit := fetch("Mode") == "navigate" && fetch("Dest") == "document"
	return fetch("Site") == "cross-site" && !visit
}

// Protect sets the headers of every answer, including refusals. A face sets another
// Content-Security-Policy for its pages.
func Protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer") // a URL may contain personal data
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}
