package operatorapi

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/ratelimit"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/trace"
	"github.com/countersign-mfa/countersign/internal/wallclock"
	"github.com/countersign-mfa/countersign/internal/web"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// Prefix begins the path of every route.
const Prefix = "/operator/v1"

// Owns reports whether a request is for this API.
func Owns(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, Prefix+"/") }

// Parts are the services that an API calls.
type Parts struct {
	Keys     *access.Service // authenticates callers
	Operator *operator.Service
	Events   *events.Service
	Webhooks *webhook.Service
	SignIn   *signin.Service // the operators of the console
	Nodes    nodes.Store
}

// Options change how an API behaves; zero fields take their defaults.
type Options struct {
	RateLimit   int              // requests per minute and operator key; default 6,000
	MaxRequests int              // requests of one operator key in progress, and an eighth more of all keys; default 64
	Logger      *slog.Logger     // default slog.Default()
	Remote      web.Remote       // finds the addresses in the request log
	ConsoleURL  string           // of the console, for one-time links; "" without sign-in to a console
	Now         func() time.Time // default time.Now

	// Observe is web.Options.Observe.
	Observe func(pattern, method string, status int, took time.Duration)

	Tracer *trace.Tracer // as in web.Options
}

// An API serves the operator API. Make one with New.
type API struct {
	parts  Parts
	opts   Options
	mux    *web.Mux
	limit  *ratelimit.Limiter[access.KeyID]
	gate   *web.Gate[access.KeyID]
	routes web.Routes[access.Permission, handler]
}

// New returns the operator API of the services.
func New(parts Parts, opts Options) (*API, error) {
	if opts.RateLimit == 0 {
		opts.RateLimit = 6000
	}
	if opts.MaxRequests == 0 {
		opts.MaxRequests = 64
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	opts.Now = wallclock.Or(opts.Now)
	limit, err := ratelimit.New[access.KeyID](opts.RateLimit)
	if err != nil {
		return nil, err
	}
	shared := web.Options{Describe: describe, Logger: opts.Logger, Remote: opts.Remote, Now: opts.Now, Observe: opts.Observe, Tracer: opts.Tracer}
	a := &API{parts: parts, opts: opts, mux: web.NewMux(shared), limit: limit, gate: web.NewGate[access.KeyID](opts.MaxRequests, shared)}
	a.addRoutes()
	for _, route := range a.routes.All() {
		a.mux.Handle(route.Pattern, a.serve(route))
	}
	return a, nil
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// A request is one with an operator key.
type request struct {
	*web.Request
	key  access.Key
	body body // of a POST or PATCH

	reads bool // the route changes nothing: its answers are not recorded, because they may have personal data
}

// A result is an answer: v as JSON, or no body for a nil v.
type result struct {
	status int
	v      any
}

// A handler answers a request whose key has the permissions of the route.
type handler func(r *request) (result, error)

// serve returns the handler of a route: it authenticates, limits, and checks the permissions.
func (a *API) serve(route web.Route[access.Permission, handler]) web.Handler {
	reads := access.ScopesOf(access.ScopeOperatorRead).Need(route.Needs...) == nil
	return func(w http.ResponseWriter, wr *web.Request) error {
		key, err := a.authenticate(wr)
		if err != nil {
			return err
		}
		wr.Caller, wr.Environment = string(key.ID), key.Environment.Name
		if wait, ok := a.limit.Allow(key.ID, a.opts.Now()); !ok {
			return &web.RateError{Wait: wait}
		}
		if !key.IsOperator() {
			return errAPIKey
		}
		if err := key.Scopes.Need(route.Needs...); err != nil {
			return err
		}
		return a.gate.Serve(w, wr, key.ID, func(w http.ResponseWriter, wr *web.Request) error {
			return a.answer(w, &request{Request: wr, key: key, reads: reads}, route.Handler)
		})
	}
}

// authenticate returns the key of a request.
func (a *API) authenticate(r *web.Request) (access.Key, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return access.Key{}, access.ErrUnauthorized
	}
	return a.parts.Keys.Authenticate(r.Context(), strings.TrimSpace(token))
}

// by returns who acts, for the domain. The reason is the key of the body.
func (r *request) by() (operator.By, error) {
	by := operator.By{Key: string(r.key.ID), Request: r.ID, Reason: r.body.text("reason"), Only: r.key.Environment.ID, KeyExpires: r.key.ExpiresAt}
	if err := by.Check(); err != nil {
		return by, invalid("reason", "invalid", err.Error())
	}
	return by, r.body.err()
}

// environment returns the environment that the path names. To a key of one environment, the
// others do not exist.
func (a *API) environment(r *request) (mfa.Environment, error) {
	return a.environmentNamed(r, r.PathValue("environment"))
}

func (a *API) environmentNamed(r *request, name string) (mfa.Environment, error) {
	env, err := a.parts.Operator.Environment(r.Context(), name)
	if err == nil && !r.sees(env.ID) {
		err = access.ErrNotFound
	}
	if err != nil {
		return mfa.Environment{}, orNotFound(err, "Environment", name)
	}
	r.Environment = env.Name
	return env, nil
}

// sees reports whether the key of the request may know an environment.
func (r *request) sees(env mfa.EnvironmentID) bool {
	return r.key.Environment.ID == 0 || r.key.Environment.ID == env
}

// caller returns the caller of an action in an environment, for services other than
// operator.Service. by checks the reason.
func (r *request) caller(env mfa.Environment, reason string) mfa.Caller {
	return mfa.Caller{Environment: env, Key: string(r.key.ID), Request: r.ID, Reason: reason}
}
