package httpapi

import "net/http"

type health struct {
	Status string `json:"status"`
}

// healthz serves GET /healthz: the process is alive.
func (a *API) healthz(w http.ResponseWriter, _ *request) error {
	return respond(w, http.StatusOK, health{"ok"})
}

// readyz serves GET /readyz: requests can be served now.
func (a *API) readyz(w http.ResponseWriter, r *request) error {
	if a.opts.Ready != nil {
		if err := a.opts.Ready(r.Context()); err != nil {
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
