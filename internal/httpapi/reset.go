package httpapi

import "net/http"

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
