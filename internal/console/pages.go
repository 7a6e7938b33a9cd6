package console

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/eventexport"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

//go:embed *.html
var templates embed.FS

// shared are the templates that every page may use.
var shared = []string{"layout.html", "parts.html", "charts.html"}

// pages are the parsed templates, by the name of the file.
type pages struct {
	files map[string]*template.Template
}

// loadPages parses all templates. html/template escapes each value for its context: user
// ids, names and user agents come from clients, and every one of them may be hostile.
func loadPages(now func() time.Time) (*pages, error) {
	layout, err := template.New("").Funcs(functions(now)).ParseFS(templates, shared...)
	if err != nil {
		return nil, err
	}
	p := &pages{files: map[string]*template.Template{}}
	names, err := fs.Glob(templates, "*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		clone, err := layout.Clone()
		if err != nil {
			return nil, err
		}
		if p.files[name], err = clone.ParseFS(templates, name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// A page is the data of layout.html.
type page struct {
	Title        string
	Operator     Operator // Name is "" if no operator is signed in
	IsFresh      bool
	Env          mfa.Environment // zero on pages of no environment
	Environments []mfa.Environment
	Nav          []navGroup
	Theme        string // "light", "dark" or "" for that of the system
	Here         string // the path of this page with its query, for forms that return to it
	Notice       string // the result of the last action
	Problem      string // why the form was refused
	View         any    // of the page
	HasSignIn    bool   // operators sign in and out
	role         access.Role
}

// May reports whether the operator has the permission of that name.
func (p *page) May(name string) bool {
	for permission := range access.Permissions {
		if permission.String() == name {
			return p.role.Allows(permission)
		}
	}
	panic("console: no permission " + name)
}

// page returns the data that all pages have.
func (c *Console) page(r *request, title string) (*page, error) {
	p := c.barePage(r, title)
	if r.operator.Name == "" {
		return p, nil
	}
	var err error
	if p.Environments, err = c.parts.Operator.Environments(r.Context()); err != nil {
		return nil, err
	}
	nav := p.Env
	if nav.Name == "" && len(p.Environments) > 0 {
		nav = chosenEnvironment(r, p.Environments)
	}
	p.Nav = navigation(r, nav, c.parts.SignIn != nil)
	return p, nil
}

// barePage is page without what the store has.
func (c *Console) barePage(r *request, title string) *page {
	return &page{
		Title: title, Operator: r.operator, IsFresh: r.isFresh, Env: r.env, Theme: themeOf(r),
		Here: r.URL.RequestURI(), Notice: notices[r.URL.Query().Get("done")], role: r.operator.Role,
		HasSignIn: c.parts.SignIn != nil,
	}
}

// show sends a page with its view.
func (c *Console) show(w http.ResponseWriter, r *request, status int, name string, p *page, view any) error {
	p.View = view
	return c.send(w, r, status, name, "layout.html", p)
}

// showPage is show for a page that has been found.
func (c *Console) showPage(w http.ResponseWriter, r *request, title, name string, view any) error {
	p, err := c.page(r, title)
	if err != nil {
		return err
	}
	return c.show(w, r, http.StatusOK, name, p, view)
}

// showAgain shows the page of a form with the mistake in it. Any other error it returns.
func (c *Console) showAgain(w http.ResponseWriter, r *request, title, name string, view any, mistake error) error {
	if !isMistake(mistake) {
		return mistake
	}
	p, err := c.page(r, title)
	if err != nil {
		return err
	}
	described := describe(mistake)
	p.Problem = described.Message
	return c.show(w, r, described.Status, name, p, view)
}

// send executes one template of a page file.
func (c *Console) send(w http.ResponseWriter, r *request, status int, name, start string, data any) error {
	var buf bytes.Buffer
	if err := c.pages.files[name].ExecuteTemplate(&buf, start, data); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(buf.Bytes()) // an error means that the client has gone
	}
	return nil
}

// functions are the functions of the templates.
func functions(now func() time.Time) template.FuncMap {
	return template.FuncMap{
		"static":  staticPath,
		"in":      func(env mfa.Environment, parts ...string) string { return in(env, parts...) },
		"iso":     func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") },
		"clock":   func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 UTC") },
		"ago":     func(t time.Time) string { return relative(now().Sub(t)) },
		"words":   func(t mfa.EventType) string { return sentenceStart(eventexport.Words(t)) },
		"masked":  masked,
		"number":  number,
		"short":   shortened,
		"join":    strings.Join,
		"base64":  base64.RawURLEncoding.EncodeToString,
		"browser": browserOf,
		"count":   counted,
		"dict":    dict,
		"inc":     func(i int) int { return i + 1 },
	}
}

// relative describes a time d before now, or after it if d is negative. console.js has the
// same rule.
func relative(d time.Duration) string {
	if d < 0 {
		d = -d
		switch {
		case d < time.Minute:
			return fmt.Sprintf("in %d s", (d+time.Second-1)/time.Second)
		case d < time.Hour:
			return fmt.Sprintf("in %d min", d/time.Minute)
		case d < 48*time.Hour:
			return fmt.Sprintf("in %d h", d/time.Hour)
		}
		return fmt.Sprintf("in %d days", d/(24*time.Hour))
	}
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

// masked returns the last digits of a phone number, and "" for the zero Phone.
func masked(p delivery.Phone) string {
	if p.E164() == "" {
		return ""
	}
	return p.String()
}

// number writes a count with commas between thousands.
func number(n any) string {
	text := fmt.Sprint(n)
	digits := strings.TrimPrefix(text, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if strings.HasPrefix(text, "-") {
		return "-" + digits
	}
	return digits
}

// shortened cuts a long text in the middle, for places where the whole text is also shown.
func shortened(text string) string {
	runes := []rune(text)
	if len(runes) <= 28 {
		return text
	}
	return string(runes[:16]) + "…" + string(runes[len(runes)-6:])
}

// dict makes a map of its arguments, for templates with several parameters.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict with %d arguments", len(pairs))
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict with the key %v", pairs[i])
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}
