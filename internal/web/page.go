package web

import (
	"crypto/rand"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"strconv"
)

//go:embed style.css copy.js icon.html
var pageFiles embed.FS

// PageParts has the templates that pages of development share: "style.css"; "copy.js", the
// part of a script that makes buttons copy; and "icon.html". A page adds its own templates to a clone.
var PageParts = template.Must(template.ParseFS(pageFiles, "*"))

// A Page is an http.Handler for a page of development. It answers GET and HEAD, only under an IP
// address or localhost, and not to scripts of other sites. It is safe for concurrent use.
type Page struct {
	hosts  Hosts
	render func(r *http.Request, nonce string) ([]byte, error)
}

// NewPage returns a Page. render returns the HTML, in which only the style and the script with
// the nonce have an effect.
func NewPage(render func(r *http.Request, nonce string) ([]byte, error)) *Page {
	return &Page{NewHosts(), render}
}

// ServeHTTP answers a request.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	Protect(w.Header())
	if !p.hosts.Answer(r.Host) || IsForeign(r) {
		http.Error(w, "The pages of 'countersign dev' answer only under an IP address or localhost, and not to other sites.", http.StatusForbidden)
		return
	}
	nonce, err := NewNonce(rand.Reader)
	var body []byte
	if err == nil {
		body, err = p.render(r, nonce)
	}
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", PagePolicy(nonce))
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		w.Write(body) // an error means that the client has gone
	}
}

// PagePolicy is the Content-Security-Policy of a page of development. It allows the style and
// the script with the nonce, an icon in the page, and requests to the server. It allows nothing else: scripts cannot, for example, make HTML from text.
func PagePolicy(nonce string) string {
	return "default-src 'none'; script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce + "'; " +
		"img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'"
}

// NewNonce returns a nonce for PagePolicy.
func NewNonce(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("make nonce: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// Origin returns the URL under which r reached this server. Hosts has accepted its
// host, so it contains no character with a meaning in a shell.
func Origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// IsLocal reports whether the client of r is a program on this machine. Behind a proxy on this machine, and on
// a unix socket, that is not known.
func IsLocal(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}
