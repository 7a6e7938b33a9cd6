package inbox

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// The inbox has no password: it shows codes to everyone who reaches its address.
// That is meant for the people and programs of one machine or network. It is not
// meant for a web site that one of them happens to visit, whose scripts run in a
// browser that reaches the address too. The functions here keep those out.

// answersTo reports whether the inbox may be reached under the host of a request.
//
// A site at evil.example may point its name at 127.0.0.1 once its page is loaded
// (DNS rebinding). To the browser the inbox then belongs to evil.example, whose
// scripts may read it. But the browser still names evil.example as the host. An
// address or localhost cannot be pointed elsewhere, and a name from the options
// belongs to whoever runs this server.
func (in *Inbox) answersTo(host string) bool {
	u, err := url.Parse("//" + host)
	if err != nil || u.Host != host { // a path, a user name or a bad port
		return false
	}
	name := canonicalHost(u.Hostname())
	_, err = netip.ParseAddr(name)
	return err == nil || name == "localhost" || in.hosts[name]
}

// canonicalHost gives one spelling to host names that mean the same.
func canonicalHost(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// isForeign reports whether a request was made by another site, for itself. Its
// scripts could not read the answer without CORS, but they could embed it, time it
// or pull it into their process. To follow a link to the page is fine: then
// nobody but the user sees it.
//
// Browsers send these headers, and scripts cannot change them. Other programs
// send none (and to an address that is neither https nor the same machine,
// browsers do not either: there the headers of protect must do).
func isForeign(r *http.Request) bool {
	fetch := func(what string) string { return r.Header.Get("Sec-Fetch-" + what) }
	visit := fetch("Mode") == "navigate" && fetch("Dest") == "document"
	return fetch("Site") == "cross-site" && !visit
}

// protect sets what every answer carries, refusals too.
func protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer") // an address may have a phone number in it
	h.Set("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}
