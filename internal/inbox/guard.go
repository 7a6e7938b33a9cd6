package inbox

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// The inbox has no password: it shows codes to every client that reaches its address.
// These are meant to be the people and programs of one machine or network. But the scripts
// of a website that one of these people visits run in a browser that also reaches the
// address. The functions in this file refuse such scripts.

// answersTo reports whether the inbox answers requests with this host.
//
// The website evil.example can point its name at 127.0.0.1 after a browser has loaded its
// page (DNS rebinding). For the browser, the inbox is then part of evil.example, and the
// scripts of evil.example may read it. But the browser still sends evil.example as the host. An
// address or localhost cannot point to another machine, and a name from the options
// belongs to the operator of this server.
func (in *Inbox) answersTo(host string) bool {
	u, err := url.Parse("//" + host)
	if err != nil || u.Host != host { // host contains a path, a user name or an invalid port
		return false
	}
	name := canonicalHost(u.Hostname())
	_, err = netip.ParseAddr(name)
	return err == nil || name == "localhost" || in.hosts[name]
}

// canonicalHost returns the same spelling for equivalent host names.
func canonicalHost(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// isForeign reports whether another website made this request for its own use. Without
// CORS its scripts cannot read the answer, but they could embed it, measure its time or
// load it into their process. A link to the page is fine: then only the user sees the
// page.
//
// Browsers send these headers, and scripts cannot change them. Other programs do not send
// them. Browsers do not send them either if the address is neither https nor the same
// machine: then the headers of protect are the only protection.
func isForeign(r *http.Request) bool {
	fetch := func(what string) string { return r.Header.Get("Sec-Fetch-" + what) }
	visit := fetch("Mode") == "navigate" && fetch("Dest") == "document"
	return fetch("Site") == "cross-site" && !visit
}

// protect sets the headers of every answer, including refusals.
func protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer") // the URL may contain a phone number
	h.Set("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}
