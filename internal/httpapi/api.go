// Package httpapi is the HTTP face: it decodes requests, authenticates their
// callers, asks the domain and encodes its answers. It holds no rules.
package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/admission"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/ratelimit"
)

// maxBody is the most bytes of a request body.
const maxBody = 64 << 10

// An API serves the HTTP API. Make one with New.
type API struct {
	mfa    *mfa.Service
	access *access.Service
	limit  *ratelimit.Limiter[access.KeyID]
	opts   Options
	mux    *http.ServeMux
	fixed  map[string]bool // the paths without parameters
	ready  sharedCheck     // for probes

	// The requests of callers with a key, by environment: those whose body is still
	// arriving, and those that are being answered.
	arriving, atWork *admission.Shares[mfa.EnvironmentID]
	crowded          admission.Notice // that there are too many
}

// Options change how an API behaves; zero fields take their defaults.
type Options struct {
	RateLimit      int                             // requests per minute and API key; default 6,000
	MaxRequests    int                             // requests of one environment at once, and of all an eighth more; default 4,096
	OmitTOTPExpiry bool                            // leave expires_at out of totp challenges, as it is documented
	OpenAPI        []byte                          // served at /openapi.yaml; not served if empty
	Ready          func(ctx context.Context) error // says whether requests can be served; nil: always
	Inbox          http.Handler                    // serves /dev/inbox; nil: there is none
	Callbacks      http.Handler                    // takes in what SMS providers report, by the path value "provider"; nil: nobody reports
	Logger         *slog.Logger                    // default slog.Default()
	Now            func() time.Time                // default time.Now

	// Observe is called after every answer but the simulated failures of test numbers,
	// and must not wait. The pattern is that
	// of the route, "" if there is none; a method that is not known is "other". Nil:
	// nobody is told.
	Observe func(pattern, method string, status int, took time.Duration)
}

// New returns the API of the two services.
func New(service *mfa.Service, keys *access.Service, opts Options) (*API, error) {
	if opts.RateLimit == 0 {
		opts.RateLimit = 6000
	}
	if opts.MaxRequests == 0 {
		opts.MaxRequests = 4096
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	limit, err := ratelimit.New[access.KeyID](opts.RateLimit)
	if err != nil {
		return nil, err
	}
	a := &API{
		mfa: service, access: keys, limit: limit, opts: opts, mux: http.NewServeMux(), fixed: map[string]bool{},
		arriving: admission.NewShares[mfa.EnvironmentID](opts.MaxRequests),
		atWork:   admission.NewShares[mfa.EnvironmentID](opts.MaxRequests),
	}
	a.routes()
	a.mux.HandleFunc(everything, func(w http.ResponseWriter, r *http.Request) {
		a.serve("", w, r, a.unknown)
	})
	return a, nil
}

// everything is the pattern of what no route is for.
const everything = "/"

// routes is the list of all that is served.
func (a *API) routes() {
	a.route("POST /auth/factors/enroll", a.enroll)
	a.route("GET /auth/factors/{id}", a.factor)
	a.route("DELETE /auth/factors/{id}", a.deleteFactor)
	a.route("POST /auth/factors/{id}/challenge", a.challenge)
	a.route("POST /auth/challenges/{id}/verify", a.verify)

	// Ours.
	a.route("GET /auth/challenges/{id}", a.findChallenge)
	a.route("POST /auth/challenges/{id}/resend", a.resend)

	// Client libraries up to 2022 call these, and a deprecated method of later ones.
	a.route("POST /auth/factors/challenge", a.challengeByBody)
	a.route("POST /auth/factors/verify", a.verifyByBody)

	a.route("POST /user_management/users/{user}/auth_factors", a.enrollForUser)
	a.route("GET /user_management/users/{user}/auth_factors", a.factorsOfUser)

	a.open("GET /healthz", a.healthz)
	a.open("GET /readyz", a.readyz)
	if len(a.opts.OpenAPI) > 0 {
		a.open("GET /openapi.yaml", a.openapi)
	}
	if a.opts.Inbox != nil {
		a.open("/dev/inbox", served(a.opts.Inbox))
	}
	if a.opts.Callbacks != nil {
		a.open("GET /sms/receipts/{provider}", served(a.opts.Callbacks))
		a.open("POST /sms/receipts/{provider}", served(a.opts.Callbacks))
	}
}

// A request is an HTTP request with what the wrapper has found out about it.
type request struct {
	*http.Request
	id   string     // of this request, for logs and the reply
	key  access.Key // of the caller; zero on open routes
	body []byte     // of a POST

	short [64]byte // room for the body of most
}

// An exchange is all that is kept of one request while it is answered, in one piece.
type exchange struct {
	request
	recorder
	idHeader [1]string
}

type handler func(w http.ResponseWriter, r *request) error

// served makes a handler of one that answers for itself.
func served(h http.Handler) handler {
	return func(w http.ResponseWriter, r *request) error {
		h.ServeHTTP(w, r.Request)
		return nil
	}
}

// route serves requests of callers with an API key. A request takes a place among
// those at work only after its body has arrived. So a client that sends slowly holds
// none, and no client without a key holds any.
func (a *API) route(pattern string, h handler) {
	a.open(pattern, func(w http.ResponseWriter, r *request) (err error) {
		if r.key, err = a.authenticate(r); err != nil {
			return err
		}
		if wait, ok := a.limit.Allow(r.key.ID, a.opts.Now()); !ok {
			return &rateError{wait}
		}
		if r.Method == http.MethodPost {
			if err := a.receive(w, r); err != nil {
				return err
			}
		}
		env := r.key.Environment.ID
		if !a.atWork.Enter(env) {
			return a.refuse(w, r, "requests are refused: too many at once")
		}
		defer a.atWork.Leave(env)
		return h(w, r)
	})
}

// receive reads the body of a request.
func (a *API) receive(w http.ResponseWriter, r *request) (err error) {
	env := r.key.Environment.ID
	if !a.arriving.Enter(env) {
		return a.refuse(w, r, "requests are refused: too many bodies arrive at once")
	}
	defer a.arriving.Leave(env)
	r.body, err = readBody(w, r.Request, r.short[:])
	return err
}

// refuse turns away a request of an environment that has too many.
func (a *API) refuse(w http.ResponseWriter, r *request, notice string) error {
	if a.crowded.Due(a.opts.Now()) {
		a.opts.Logger.Warn(notice, "limit", a.opts.MaxRequests)
	}
	if r.ProtoMajor == 1 {
		// Another try costs the client more than waiting. Over HTTP/2 this would end the
		// connection for all other requests on it, which may be those of other keys.
		w.Header().Set("Connection", "close")
	}
	return errCrowded
}

// open serves what anybody may ask for. Around every handler it names the
// request, answers errors and panics, and logs.
func (a *API) open(pattern string, h handler) {
	if path := pattern[strings.Index(pattern, "/"):]; !strings.Contains(path, "{") {
		a.fixed[path] = true
	}
	open := strings.Contains(pattern, "{")
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		// To the mux GET /auth/factors/enroll asks for a factor; here a fixed path has
		// only the methods of its own routes.
		if open && a.fixed[r.URL.Path] {
			a.serve("", w, r, a.unknown)
			return
		}
		a.serve(pattern, w, r, h)
	})
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	withTLS(r)
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// A request that has a Content-Length too may be an attempt to smuggle another one
		// past a proxy, and its connection must be closed (RFC 9112, section 6.1). net/http
		// has removed that header by now, so the connection of every such request ends.
		w.Header().Set("Connection", "close")
	}
	if !clean(r) {
		a.serve("", w, r, a.unknown) // the mux would redirect
		return
	}
	a.mux.ServeHTTP(w, r)
}

// routed reports whether there is a route for a request.
func (a *API) routed(r *http.Request) bool {
	_, pattern := a.mux.Handler(r)
	return pattern != everything && clean(r) && !(strings.Contains(pattern, "{") && a.fixed[r.URL.Path])
}

// clean reports whether the path has no empty or dot segments. An escaped slash
// makes no segment.
func clean(r *http.Request) bool {
	p := r.URL.Path
	if r.URL.RawPath != "" {
		p = r.URL.EscapedPath()
	}
	return strings.HasPrefix(p, "/") && (!strings.Contains(p, "//") && !strings.Contains(p, "/.") || path.Clean(p) == p)
}

func (a *API) serve(pattern string, w http.ResponseWriter, r *http.Request, h handler) {
	start := a.opts.Now()
	x := &exchange{request: request{Request: r}, recorder: recorder{ResponseWriter: w}}
	req, rec := &x.request, &x.recorder
	req.id = newRequestID()
	// Lower case: one client library looks for exactly this key.
	x.idHeader[0] = req.id
	rec.Header()["x-request-id"] = x.idHeader[:]
	err := guarded(h, rec, req)
	if err != nil {
		a.fail(rec, req, err)
	}
	level := slog.LevelInfo
	if req.key.ID == "" && rec.status < http.StatusBadRequest {
		level = slog.LevelDebug // probes, and the inbox looking for news
	}
	logged := a.opts.Logger.Enabled(r.Context(), level)
	if !logged && a.opts.Observe == nil {
		return
	}
	method, took := knownMethod(r.Method), a.opts.Now().Sub(start)
	if a.opts.Observe != nil && !rec.simulated {
		a.opts.Observe(pattern, method, rec.status, took)
	}
	if !logged {
		return
	}
	// The pattern, not the path: what callers put there is theirs.
	a.opts.Logger.LogAttrs(r.Context(), level, "request",
		slog.String("request", req.id),
		slog.String("route", pattern),
		slog.String("method", method),
		slog.Int("status", rec.status),
		slog.Float64("took_ms", float64(took.Microseconds())/1000),
		slog.String("key", string(req.key.ID)),
	)
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions:
		return m
	}
	return "other"
}

// authenticate returns the key that the request bears.
func (a *API) authenticate(r *request) (access.Key, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return access.Key{}, access.ErrUnauthorized
	}
	return a.access.Authenticate(r.Context(), strings.TrimSpace(token))
}

// readBody reads a body, into room if it fits.
func readBody(w http.ResponseWriter, r *http.Request, room []byte) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, errTooLarge
	}
	if r.ContentLength >= 0 && r.ContentLength <= int64(len(room)) {
		body := room[:r.ContentLength]
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, unread(err)
		}
		return body, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, unread(err)
	}
	return body, nil
}

// unread tells a body that came too slowly from one that ended too early.
func unread(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errLate
	}
	return &bodyError{errors.New("cut short")}
}

// unknown answers what no route is for.
func (a *API) unknown(w http.ResponseWriter, r *request) error {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
		probe := r.Request.Clone(r.Context())
		probe.Method = m
		if a.routed(probe) {
			allowed = append(allowed, m)
		}
	}
	if allowed == nil {
		return errNoRoute
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return errMethod
}
