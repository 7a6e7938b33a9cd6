package inbox

import (
	"bytes"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strings"
	"time"
)

// html/template escapes each value for the place where it stands, which matters
// here: whoever holds an API key writes the texts.
//
//go:embed page.html page.css page.js
var pageFiles embed.FS

var pageTemplate = template.Must(template.ParseFS(pageFiles, "page.*"))

// page is what page.html shows.
type page struct {
	Nonce    string
	API      string // the URL of the server, without a slash at its end
	To       string // the filter, as it was given
	Messages []bubble
	IsEmpty  bool   // there is no message at all, with any filter
	Blank    bubble // the form in which page.js makes more of them
}

// A bubble is a message as people read it.
type bubble struct {
	messageJSON
	Clock string // when it was sent, in UTC
	Ago   string // how long before the page was made
}

func (in *Inbox) servePage(w http.ResponseWriter, r *http.Request) {
	body, policy, err := in.renderPage(r)
	if err != nil {
		refuse(w, r, http.StatusInternalServerError, "internal error")
		return
	}
	w.Header().Set("Content-Security-Policy", policy)
	reply(w, r, http.StatusOK, "text/html; charset=utf-8", body)
}

// renderPage returns the page and the policy under which alone it works.
func (in *Inbox) renderPage(r *http.Request) (body []byte, policy string, err error) {
	now := in.opts.Now()
	p := page{API: apiURL(r), To: strings.TrimSpace(r.URL.Query().Get("to"))}
	if p.Nonce, err = newNonce(in.opts.Rand); err != nil {
		return nil, "", err
	}
	for _, m := range in.newest(containing(p.To)) {
		p.Messages = append(p.Messages, bubble{
			messageJSON: newMessageJSON(m),
			Clock:       m.At.UTC().Format("2 Jan 2006, 15:04:05 UTC"),
			Ago:         ago(now.Sub(m.At)),
		})
	}
	p.IsEmpty = len(p.Messages) == 0 && len(in.newest(anyNumber)) == 0
	var buf bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&buf, "page.html", p); err != nil {
		return nil, "", fmt.Errorf("render inbox: %w", err)
	}
	return buf.Bytes(), contentPolicy(p.Nonce), nil
}

// contentPolicy allows the style and the script that bear the nonce, the icon and
// the fetching of messages, and nothing else: no HTML made from text, for one.
func contentPolicy(nonce string) string {
	return "default-src 'none'; script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce + "'; " +
		"img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'"
}

func newNonce(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("make nonce: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// apiURL returns the URL under which r reached this server. Its host has passed
// answersTo, so that it holds nothing which a shell would take for a command.
func apiURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// ago says how long ago d is. page.js does the same.
func ago(d time.Duration) string {
	switch {
	case d < 5*time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return fmt.Sprintf("%d days ago", d/(24*time.Hour))
}
