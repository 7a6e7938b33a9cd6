package httpapi

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/web"
)

type health struct {
	Status string `json:"status"`
}

// healthz serves GET /healthz. It succeeds as long as the process runs.
func (a *API) healthz(w http.ResponseWriter, _ *web.Request) error {
	return web.Respond(w, http.StatusOK, health{"ok"})
}

// A sharedCheck runs one check at a time. Callers that arrive during a check get its
// result: probes need no API key, and must not send many queries to the store at once.
// The zero value is ready to use.
type sharedCheck struct {
	mu      sync.Mutex
	running *checkResult // or nil
}

type checkResult struct {
	done chan struct{} // closed after err is set
	err  error
}

// checkTimeout bounds the time of one check.
const checkTimeout = 5 * time.Second

// do runs check, or waits for the result of the check that is running.
func (s *sharedCheck) do(ctx context.Context, check func(context.Context) error) error {
	s.mu.Lock()
	if running := s.running; running != nil {
		s.mu.Unlock()
		select {
		case <-running.done:
			return running.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	own := &checkResult{done: make(chan struct{}), err: errors.New("the check panicked")}
	s.running = own
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running = nil
		s.mu.Unlock()
		close(own.done)
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	own.err = check(ctx)
	return own.err
}

// readyz serves GET /readyz. It succeeds if the API can serve requests now.
func (a *API) readyz(w http.ResponseWriter, r *web.Request) error {
	if a.opts.Ready != nil {
		if err := a.ready.do(r.Context(), a.opts.Ready); err != nil {
			a.opts.Logger.Warn("not ready", "request", r.ID, "error", err)
			return web.Respond(w, http.StatusServiceUnavailable, health{"unavailable"})
		}
	}
	return web.Respond(w, http.StatusOK, health{"ok"})
}

// openapi serves GET /openapi.yaml.
func (a *API) openapi(w http.ResponseWriter, _ *web.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, err := w.Write(a.opts.OpenAPI)
	return err
}
