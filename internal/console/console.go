package console

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/trace"
	"github.com/countersign-mfa/countersign/internal/wallclock"
	"github.com/countersign-mfa/countersign/internal/web"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// A Console serves the pages under /console. Make one with New.
type Console struct {
	parts  Parts
	opts   Options
	mux    *web.Mux
	pages  *pages
	origin *http.CrossOriginProtection

	streams   chan struct{} // has an element for each open stream
	closing   chan struct{} // closed when all streams must end
	closeOnce sync.Once
}

// Parts are the services whose data the pages show and change. All are required.
type Parts struct {
	Operator *operator.Service
	Events   *events.Service
	Webhooks *webhook.Service

	// System returns what the page about the server shows.
	System func(context.Context) []Section
	// Nodes lists the nodes of the store, those seen last first, and the id of the one that answers.
	Nodes func(context.Context) (all []nodes.Node, this string, err error)
	// SignIn signs operators in and manages them. Nil means that the console has no such pages.
	SignIn *signin.Service
	// Provider is the identity provider, or nil.
	Provider Provider

	// Identify returns the operator who sent a request. Its error is ErrSignedOut if no
	// operator is signed in. Development is an Identify for a server without sign-in.
	Identify func(r *http.Request) (Operator, error)
}

// Options change how a Console works; zero fields take their defaults.
type Options struct {
	// AnyHost answers under every host name. Otherwise the console answers only under an IP
	// address and localhost: without sign-in, that keeps the scripts of other websites out.
	AnyHost bool

	Version string // of the program
	URL     string // the origin of the console, such as "https://console.example.com", for one-time links

	StreamBeat time.Duration    // the time between two heartbeats of a live page; default 15 seconds
	Logger     *slog.Logger     // default slog.Default()
	Remote     web.Remote       // finds the addresses in the request log
	Now        func() time.Time // default time.Now

	// Observe is web.Options.Observe.
	Observe func(pattern, method string, status int, took time.Duration)

	Tracer *trace.Tracer // as in web.Options
}

// New returns the console over the services.
func New(parts Parts, opts Options) (*Console, error) {
	opts.StreamBeat = cmp.Or(opts.StreamBeat, 15*time.Second)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	opts.Now = wallclock.Or(opts.Now)
	c := &Console{parts: parts, opts: opts, origin: http.NewCrossOriginProtection(), streams: make(chan struct{}, maxStreams), closing: make(chan struct{})}
	if opts.URL != "" { // a proxy may send another Host
		if err := c.origin.AddTrustedOrigin(opts.URL); err != nil {
			return nil, err
		}
	}
	c.mux = web.NewMux(web.Options{Describe: describe, Logger: opts.Logger, Remote: opts.Remote, Now: opts.Now, Observe: opts.Observe, Tracer: opts.Tracer})
	var err error
	if c.pages, err = loadPages(opts.Now); err != nil {
		return nil, err
	}
	for _, route := range c.list() {
		c.mux.Handle(route.Pattern, c.serve(route))
	}
	return c, nil
}

// ServeHTTP answers a request for a page, an action or a static file.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	switch {
	case !c.opts.AnyHost && !web.Hosts(nil).Answer(r.Host):
		refuse(w, "The console answers only under an IP address or localhost.")
	case web.IsForeign(r):
		refuse(w, "The console does not answer to other sites.")
	case c.origin.Check(r) != nil:
		refuse(w, "This form was sent by another site. Open the console and send it from there.")
	default:
		c.mux.ServeHTTP(w, r)
	}
}

// refuse answers a request that must not reach any page.
func refuse(w http.ResponseWriter, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusForbidden)
	w.Write([]byte(why + "\n")) // an error means that the client has gone
}

// EndStreams ends all live updates and refuses new ones. A server calls it when it shuts
// down, because http.Server.Shutdown would wait for them.
func (c *Console) EndStreams() { c.closeOnce.Do(func() { close(c.closing) }) }

// protect sets the headers of every answer. Pages have scripts and styles only from files of
// the server itself. Trusted Types keep scripts from making HTML of text: console.js has the
// one policy, for the fragments that htmx adds to a page.
func protect(h http.Header) {
	web.Protect(h)
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "+
		"require-trusted-types-for 'script'; trusted-types default")
	h.Set("Referrer-Policy", "same-origin") // a refused form leads back to its page
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=()")
}
