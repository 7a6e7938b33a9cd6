package httpapi

import (
	"net/http"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/web"
)

// developmentRoutes adds the page at /, the explorer and the reset, which only 'countersign dev' serves.
func (a *API) developmentRoutes() {
	if a.opts.Home != nil {
		a.mux.Handle("GET /{$}", web.Wrap(a.opts.Home))
	}
	if a.opts.Explorer != nil {
		a.mux.Handle("GET /dev/explorer", web.Wrap(a.opts.Explorer))
	}
	if a.opts.Reset != nil {
		a.unboundedRoute("POST /dev/reset", a.reset, access.CallAPI)
	}
}

// reset serves POST /dev/reset. It is not one of the requests in progress, which a reset
// waits for.
func (a *API) reset(w http.ResponseWriter, r request) error {
	if err := takesNothing(r); err != nil {
		return err
	}
	if err := a.opts.Reset(r.Context()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
