package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/browser"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/ratelimit"
	"github.com/countersign-mfa/countersign/internal/trace"
	"github.com/countersign-mfa/countersign/internal/wallclock"
	"github.com/countersign-mfa/countersign/internal/web"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// An API serves the HTTP API. Make one with New.
type API struct {
	mfa     *mfa.Service
	access  *access.Service
	events  *events.Service
	opts    Options
	mux     *web.Mux
	limit   *ratelimit.Limiter[access.KeyID]
	gate    *web.Gate[mfa.EnvironmentID]
	needs   web.Routes[access.Permission, handler] // what each route needs
	streams *streams
	faults  *faults     // nil unless tests may ask for them
	ready   sharedCheck // for probes
}

// Options change how an API behaves; zero fields take their defaults.
type Options struct {
	RateLimit      int                             // requests per minute and API key; default 6,000
	MaxRequests    int                             // requests of one environment in progress, and an eighth more of all environments; default 4,096
	MaxStreams     int                             // streams of events of one environment, and an eighth more of all environments; default a quarter of MaxRequests
	StreamsPerKey  int                             // streams of events of one API key; default 64
	StreamBeat     time.Duration                   // the time between two heartbeats of a stream; default 15 seconds
	StreamWrite    time.Duration                   // in which a client must accept a part of a stream; default 10 seconds
	OmitTOTPExpiry bool                            // leave expires_at out of totp challenges, as WorkOS documents them
	OpenAPI        []byte                          // served at /openapi.yaml; not served if empty
	Ready          func(ctx context.Context) error // returns an error while requests cannot be served; nil: they always can
	Webhooks       *webhook.Service                // manages webhook endpoints; not served if nil
	Home           http.Handler                    // serves the page at /; not served if nil
	Explorer       http.Handler                    // serves /dev/explorer; not served if nil
	Inbox          http.Handler                    // serves /dev/inbox; not served if nil
	Clock          Clock                           // moved by /dev/clock; not served if nil
	Faults         bool                            // serve /dev/faults
	Reset          func(ctx context.Context) error // called by POST /dev/reset; not served if nil
	Callbacks      http.Handler                    // receives the reports of the SMS provider in the path value "provider"; not served if nil
	Logger         *slog.Logger                    // default slog.Default()
	Remote         web.Remote                      // finds the addresses in the request log
	Now            func() time.Time                // default time.Now

	// Observe is web.Options.Observe. It is not called for failures that test numbers
	// simulate.
	Observe func(pattern, method string, status int, took time.Duration)

	Tracer *trace.Tracer // as in web.Options
}

// New returns the API of the services.
func New(service *mfa.Service, keys *access.Service, log *events.Service, opts Options) (*API, error) {
	if opts.RateLimit == 0 {
		opts.RateLimit = 6000
	}
	if opts.MaxRequests == 0 {
		opts.MaxRequests = 4096
	}
	if opts.MaxStreams == 0 {
		opts.MaxStreams = max(1, opts.MaxRequests/4)
	}
	if opts.StreamsPerKey == 0 {
		opts.StreamsPerKey = 64
	}
	if opts.StreamBeat == 0 {
		opts.StreamBeat = 15 * time.Second
	}
	if opts.StreamWrite == 0 {
		opts.StreamWrite = 10 * time.Second
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
	a := &API{
		mfa: service, access: keys, events: log, opts: opts,
		mux:     web.NewMux(shared),
		limit:   limit,
		gate:    web.NewGate[mfa.EnvironmentID](opts.MaxRequests, shared),
		streams: newStreams(opts.MaxStreams, opts.StreamsPerKey),
	}
	if opts.Faults {
		a.faults = &faults{closing: a.streams.closing}
	}
	a.routes()
	return a, nil
}

// routes is the list of all routes. A request to one of route or unboundedRoute needs an
// API key with the given permissions; requests to the others do not.
func (a *API) routes() {
	a.route("POST /auth/factors/enroll", a.enroll, access.CallAPI)
	a.route("GET /auth/factors/{id}", a.factor, access.CallAPI)
	a.route("DELETE /auth/factors/{id}", a.deleteFactor, access.CallAPI)
	a.route("POST /auth/factors/{id}/challenge", a.challenge, access.CallAPI)
	a.route("POST /auth/challenges/{id}/verify", a.verify, access.CallAPI)

	// WorkOS does not have these.
	a.route("GET /auth/challenges/{id}", a.findChallenge, access.CallAPI)
	a.route("POST /auth/challenges/{id}/resend", a.resend, access.CallAPI)

	// Client libraries up to 2022 call these, and so does a deprecated method of later ones.
	a.route("POST /auth/factors/challenge", a.challengeByBody, access.CallAPI)
	a.route("POST /auth/factors/verify", a.verifyByBody, access.CallAPI)

	a.route("POST /dev/webauthn/answer", a.simulate, access.CallAPI) // not in WorkOS

	a.route("POST /user_management/users/{user}/auth_factors", a.enrollForUser, access.CallAPI)
	a.route("GET /user_management/users/{user}/auth_factors", a.factorsOfUser, access.CallAPI)

	// WorkOS does not have these.
	a.route("POST /user_management/users/{user}/recovery_codes", a.createRecovery, access.CallAPI)
	a.route("GET /user_management/users/{user}/recovery_codes", a.recovery, access.CallAPI)
	a.route("DELETE /user_management/users/{user}/recovery_codes", a.deleteRecovery, access.CallAPI)
	a.route("POST /user_management/users/{user}/verify", a.verifyUser, access.CallAPI)

	a.route("GET /events", a.listEvents, access.ReadEvents)
	a.unboundedRoute("GET /events/stream", a.streamEvents, access.ReadEvents) // not in WorkOS

	// An endpoint sends events, so its key must be allowed to read them.
	if a.opts.Webhooks != nil {
		a.route("GET /webhook_endpoints", a.endpoints, access.CallAPI, access.ReadEvents)
		a.route("POST /webhook_endpoints", a.createEndpoint, access.CallAPI, access.ReadEvents)
		a.route("PATCH /webhook_endpoints/{id}", a.updateEndpoint, access.CallAPI, access.ReadEvents)
		a.route("DELETE /webhook_endpoints/{id}", a.deleteEndpoint, access.CallAPI, access.ReadEvents)

		// WorkOS does not have these.
		a.route("POST /webhook_endpoints/{id}/rotate_secret", a.rotateSecret, access.CallAPI, access.ReadEvents)
		a.route("POST /webhook_endpoints/{id}/replay", a.replay, access.CallAPI, access.ReadEvents)
		a.route("GET /webhook_endpoints/{id}/attempts", a.attempts, access.CallAPI, access.ReadEvents)
	}

	a.mux.Handle("GET /.well-known/jwks.json", a.jwks) // not in WorkOS
	a.mux.Handle("GET /.well-known/webauthn", a.passkeyPages)
	a.mux.Handle("GET /healthz", a.healthz)
	a.mux.Handle("GET /readyz", a.readyz)
	if len(a.opts.OpenAPI) > 0 {
		a.mux.Handle("GET /openapi.yaml", a.openapi)
	}
	a.mux.Handle("GET /js/countersign.js", web.Wrap(http.HandlerFunc(browser.ServeModule)))
	if a.opts.Inbox != nil {
		a.mux.Handle("/dev/inbox", web.Wrap(a.opts.Inbox))
	}
	// docs/testing.md describes the routes of these, instead of openapi.yaml.
	a.developmentRoutes()
	if a.opts.Clock != nil {
		a.clockRoutes()
	}
	if a.faults != nil {
		a.faultRoutes()
	}
	if a.opts.Callbacks != nil {
		a.mux.Handle("GET /sms/receipts/{provider}", web.Wrap(a.opts.Callbacks))
		a.mux.Handle("POST /sms/receipts/{provider}", web.Wrap(a.opts.Callbacks))
	}
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Listener is the method of web.Mux.
func (a *API) Listener(ln net.Listener) net.Listener { return a.mux.Listener(ln) }

// A request is one with an API key.
type request struct {
	*web.Request
	key access.Key
}

// by returns the caller of a request for the domain.
func (r request) by() mfa.Caller {
	return mfa.Caller{Environment: r.key.Environment, Key: string(r.key.ID), Request: r.ID}
}

type handler func(w http.ResponseWriter, r request) error

// route adds a route for callers with an API key. A request without a valid key never
// takes a place among the requests in progress.
func (a *API) route(pattern string, h handler, needs access.Permission, further ...access.Permission) {
	if a.faults != nil {
		h = a.faults.around(pattern, h)
	}
	a.unboundedRoute(pattern, func(w http.ResponseWriter, r request) error {
		return a.gate.Serve(w, r.Request, r.key.Environment.ID, func(w http.ResponseWriter, _ *web.Request) error {
			return h(w, r)
		})
	}, needs, further...)
}

// unboundedRoute adds a route for callers with an API key whose requests take no place
// among the requests in progress. They can have no body.
func (a *API) unboundedRoute(pattern string, h handler, needs access.Permission, further ...access.Permission) {
	a.needs.Add(pattern, h, needs, further...)
	all := append([]access.Permission{needs}, further...)
	a.mux.Handle(pattern, func(w http.ResponseWriter, r *web.Request) error {
		key, err := a.authenticate(r)
		if err != nil {
			return err
		}
		r.Caller, r.Environment = string(key.ID), key.Environment.Name
		if wait, ok := a.limit.Allow(key.ID, a.opts.Now()); !ok {
			return &web.RateError{Wait: wait}
		}
		if key.IsOperator() {
			return errOperatorKey // it may belong to no environment
		}
		if err := key.Scopes.Need(all...); err != nil {
			return err
		}
		return h(w, request{r, key})
	})
}

// authenticate returns the API key of a request.
func (a *API) authenticate(r *web.Request) (access.Key, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return access.Key{}, access.ErrUnauthorized
	}
	return a.access.Authenticate(r.Context(), strings.TrimSpace(token))
}
