package inbox

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/web"
)

// html/template escapes each value for its context in the page. This is necessary,
// because any client with an API key can choose the texts.
//
//go:embed page.html page.css page.js
var pageFiles embed.FS

var pageTemplate = template.Must(template.Must(web.PageParts.Clone()).ParseFS(pageFiles, "page.*"))

// page is the data of page.html.
type page struct {
	Nonce    string
	API      string // the URL of the server, without a trailing slash
	To       string // the filter from the request
	Messages []bubble
	IsEmpty  bool   // the inbox has no message, with any filter
	Blank    bubble // the template from which page.js makes more bubbles
}

// A bubble is a message on the page.
type bubble struct {
	messageJSON
	Clock string // when it was sent, in UTC
	Ago   string // the time between the message and the page
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

// renderPage returns the page and its Content-Security-Policy. The page works only with
// this policy.
func (in *Inbox) renderPage(r *http.Request) (body []byte, policy string, err error) {
	now := in.opts.Now()
	p := page{API: web.Origin(r), To: strings.TrimSpace(r.URL.Query().Get("to"))}
	if p.Nonce, err = web.NewNonce(in.opts.Rand); err != nil {
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
	return buf.Bytes(), web.PagePolicy(p.Nonce), nil
}

// ago describes a time d before now. page.js has the same rule.
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
