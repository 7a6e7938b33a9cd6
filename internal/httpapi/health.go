package httpapi

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

type health struct {
	Status string `json:"status"`
}

// healthz serves GET /healthz: the process is alive.
func (a *API) healthz(w http.ResponseWriter, _ *request) error {
	return respond(w, http.StatusOK, health{"ok"})
}

// A sharedCheck runs one check at a time. Callers that arrive during a check get its
// result, so probes, which need no API key, ask the store one question at a time.
// The zero value is ready to use.
type sharedCheck struct {
	mu      sync.Mutex
	running *checkResult // or nil
}

type checkResult struct {
	done chan struct{} // closed once err is set
	err  error
}

// checkTimeout is for one check.
const checkTimeout = 5 * time.Second

// do runs check, or waits for the result of the one that is running.
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

// readyz serves GET /readyz: requests can be served now.
func (a *API) readyz(w http.ResponseWriter, r *request) error {
	if a.opts.Ready != nil {
		if err := a.ready.do(r.Context(), a.opts.Ready); err != nil {
			a.opts.Logger.Warn("not ready", "request", r.id, "error", err)
			return respond(w, http.StatusServiceUnavailable, health{"unavailable"})
		}
	}
	return respond(w, http.StatusOK, health{"ok"})
}

// openapi serves GET /openapi.yaml.
func (a *API) openapi(w http.ResponseWriter, _ *request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, err := w.Write(a.opts.OpenAPI)
	return err
}
