package web

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"

	"github.com/countersign-mfa/countersign/internal/admission"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Gate bounds how many requests are in progress at once, so no tenant can keep the
// others from being served. A request takes a place among those in progress only after
// its body has arrived: a client that sends slowly does not hold one.
type Gate[K comparable] struct {
	limit             int
	arriving, working *admission.Shares[K]
	crowded           admission.Notice
	logger            *slog.Logger
	now               func() time.Time
}

// NewGate returns a Gate for at most limit requests of one tenant, and an eighth more of
// all tenants together. It uses Logger and Now of opts.
func NewGate[K comparable](limit int, opts Options) *Gate[K] {
	g := &Gate[K]{
		limit: limit, arriving: admission.NewShares[K](limit), working: admission.NewShares[K](limit),
		logger: cmp.Or(opts.Logger, slog.Default()), now: opts.Now,
	}
	g.now = wallclock.Or(g.now)
	return g
}

// Serve reads the body of a POST or PATCH request into r.Content and then calls h. It returns the
// error of ReadBody or h, or ErrCrowded if the tenant has too many requests.
func (g *Gate[K]) Serve(w http.ResponseWriter, r *Request, tenant K, h Handler) error {
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		if err := g.receive(w, r, tenant); err != nil {
			return err
		}
	}
	if !g.working.Enter(tenant) {
		return g.refuse(w, r, "requests are refused: too many at once")
	}
	defer g.working.Leave(tenant)
	return h(w, r)
}

func (g *Gate[K]) receive(w http.ResponseWriter, r *Request, tenant K) error {
	if !g.arriving.Enter(tenant) {
		return g.refuse(w, r, "requests are refused: too many bodies arrive at once")
	}
	defer g.arriving.Leave(tenant)
	return ReadBody(w, r)
}

// refuse refuses a request and logs message, at most once in ten seconds.
func (g *Gate[K]) refuse(w http.ResponseWriter, r *Request, message string) error {
	if g.crowded.Due(g.now()) {
		g.logger.Warn(message, "limit", g.limit)
	}
	if r.ProtoMajor == 1 {
		// A new connection costs the client more than waiting. Over HTTP/2 this header would
		// end the connection for all other requests on it, which may have other API keys.
		w.Header().Set("Connection", "close")
	}
	return ErrCrowded
}
