package web

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"net/http"
)

//go:embed page.css
var pageStyle string

// PageStyle has the template "style", the style that pages of development share. A page adds
// its own templates to a clone.
var PageStyle = template.Must(template.New("").Parse(`{{define "style"}}` + pageStyle + `{{end}}`))

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
