package explorer

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/countersign-mfa/countersign/internal/web"
)

//go:embed page.html page.css page.js
var files embed.FS

// html/template escapes each value for its context in the page.
var pageTemplate = template.Must(template.Must(web.PageParts.Clone()).ParseFS(files, "page.*"))

// Options say what the page shows.
type Options struct {
	OpenAPI []byte        // the text of openapi.yaml
	Key     func() string // the API key; shown only to programs on the same machine
	Version string
}

// New returns the page, an http.Handler for the path /dev/explorer. It reads the file at the
// first request.
func New(opts Options) *web.Page {
	groups := sync.OnceValues(func() ([]group, error) { return read(opts.OpenAPI) })
	return web.NewPage(func(r *http.Request, nonce string) ([]byte, error) {
		data := page{Version: opts.Version, Nonce: nonce, URL: web.Origin(r)}
		var err error
		if data.Groups, err = groups(); err != nil {
			return nil, err
		}
		if web.IsLocal(r) {
			data.Secret = opts.Key()
		}
		var b bytes.Buffer
		err = pageTemplate.ExecuteTemplate(&b, "page.html", data)
		return b.Bytes(), err
	})
}

// page is the data of page.html.
type page struct {
	Version string
	Nonce   string
	URL     string // of the server, without a slash at its end
	Secret  string // the API key; "" if it is not shown
	Groups  []group
}

// Curl returns a command with the examples of the document. The page shows it until the script
// shows the one with the values of the form.
func (o operation) Curl(origin string) string {
	path, query := o.Path, url.Values{}
	for _, p := range o.Parameters {
		switch {
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(p.Example))
		case p.In == "query" && p.Required:
			query.Set(p.Name, p.Example)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	lines := []string{"curl"}
	if o.Method != http.MethodGet {
		lines[0] += " -X " + o.Method
	}
	lines[0] += " " + quote(origin+path)
	switch o.Key {
	case "api":
		lines = append(lines, `-H "Authorization: Bearer $COUNTERSIGN_API_KEY"`)
	case "operator":
		lines = append(lines, `-H "Authorization: Bearer $COUNTERSIGN_OPERATOR_KEY"`)
	}
	if len(o.Bodies) > 0 {
		lines = append(lines, "-H 'Content-Type: application/json'", "-d "+quote(o.Bodies[0].JSON))
	}
	return strings.Join(lines, " \\\n  ")
}

// quote returns s as a word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
