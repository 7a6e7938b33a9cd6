package web

import (
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/trace"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Mux routes the requests of one face to its handlers. Make one with NewMux and add
// routes with Handle before it serves requests.
type Mux struct {
	opts  Options
	mux   *http.ServeMux
	fixed map[string]bool // the paths without parameters
}

// Options change how a Mux behaves; zero fields take their defaults.
type Options struct {
	// Describe returns the problem that the client gets for an error of a handler. The
	// default is Describe with Kinds.
	Describe func(error) Problem

	Logger *slog.Logger     // default slog.Default()
	Remote Remote           // finds the addresses in the request log
	Now    func() time.Time // default time.Now

	// Observe is called after each answer, except if the problem is Simulated. It must not
	// block. The pattern is that of the route, or "" if no route matches. The method is
	// "other" if it is not one that HTTP defines. Nil means that no function is called.
	Observe func(pattern, method string, status int, took time.Duration)

	Tracer *trace.Tracer // makes a span of each request, except of probes; nil: none
}

// A Handler answers a request. If it returns an error, the Mux sends the problem of that
// error, unless the handler has already sent a status.
type Handler func(w http.ResponseWriter, r *Request) error

// NewMux returns a Mux without routes.
func NewMux(opts Options) *Mux {
	if opts.Describe == nil {
		opts.Describe = func(err error) Problem { return Describe(err, Kinds()) }
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	opts.Now = wallclock.Or(opts.Now)
	m := &Mux{opts: opts, mux: http.NewServeMux(), fixed: map[string]bool{}}
	m.mux.HandleFunc(everything, func(w http.ResponseWriter, r *http.Request) { m.serve("", w, r, m.unknown) })
	return m
}

// everything is the pattern for requests that match no route.
const everything = "/"

// Handle adds a route. The pattern is one of http.ServeMux.
func (m *Mux) Handle(pattern string, h Handler) {
	hasParameters := strings.Contains(pattern, "{")
	if !hasParameters {
		m.fixed[pattern[strings.Index(pattern, "/"):]] = true
	}
	m.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		// http.ServeMux matches GET /auth/factors/enroll with GET /auth/factors/{id}. Here a
		// path without parameters has only the methods that its routes name.
		if hasParameters && m.fixed[r.URL.Path] {
			m.serve("", w, r, m.unknown)
			return
		}
		m.serve(pattern, w, r, h)
	})
}

// Wrap returns a Handler for an http.Handler that writes its own errors.
func Wrap(h http.Handler) Handler {
	return func(w http.ResponseWriter, r *Request) error {
		h.ServeHTTP(w, r.Request)
		return nil
	}
}

// ServeHTTP answers a request.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	withTLS(r)
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// A request that also has a Content-Length may be an attempt to smuggle another one
		// past a proxy, so its connection must be closed (RFC 9112, section 6.1). net/http has
		// already removed that header, so the connection of each request with a transfer
		// coding ends.
		w.Header().Set("Connection", "close")
	}
	if !isClean(r) {
		m.serve("", w, r, m.unknown) // http.ServeMux would redirect
		return
	}
	m.mux.ServeHTTP(w, r)
}

// isClean reports whether the path has no empty segments and no dot segments. An escaped
// slash does not separate segments.
func isClean(r *http.Request) bool {
	p := r.URL.Path
	if r.URL.RawPath != "" {
		p = r.URL.EscapedPath()
	}
	return strings.HasPrefix(p, "/") && (!strings.Contains(p, "//") && !strings.Contains(p, "/.") || path.Clean(p) == p)
}

// unknown answers a request that matches no route: with 405 if the path has routes for
// other methods, otherwise with 404.
func (m *Mux) unknown(w http.ResponseWriter, r *Request) error {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		probe := r.Request.Clone(r.Context())
		probe.Method = method
		if m.hasRoute(probe) {
			allowed = append(allowed, method)
		}
	}
	if allowed == nil {
		return ErrNoRoute
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return ErrMethod
}

// hasRoute reports whether a request matches a route.
func (m *Mux) hasRoute(r *http.Request) bool {
	_, pattern := m.mux.Handler(r)
	return pattern != everything && isClean(r) && !(strings.Contains(pattern, "{") && m.fixed[r.URL.Path])
}
