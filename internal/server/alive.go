package server

import (
	"context"
	"fmt"
	"net/http"
)

// Alive returns an error if the server does not answer GET /healthz. The request is made
// inside of the process and needs no store, so neither many connections nor a database
// that is down is a fault: a restart would cure neither.
func (s *Server) Alive(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/healthz", nil)
	if err != nil {
		return err
	}
	r.RemoteAddr = "127.0.0.1:0"
	w := statusOnly{header: make(http.Header)}
	s.ServeHTTP(&w, r)
	if w.status != http.StatusOK {
		return fmt.Errorf("the server answered GET /healthz with status %d", w.status)
	}
	return nil
}

// statusOnly is a response without a reader.
type statusOnly struct {
	header http.Header
	status int
}

func (w *statusOnly) Header() http.Header { return w.header }

func (w *statusOnly) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *statusOnly) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(b), nil
}
