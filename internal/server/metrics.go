package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/countersign-mfa/countersign/internal/metrics"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A queuer makes writes wait for one another.
type queuer interface {
	Waiting() int
}

// watchStore shows the state of a store, and every type of event.
func watchStore(m *metrics.Metrics, store any) {
	if q, ok := store.(queuer); ok {
		m.Queue(q.Waiting)
	}
	for _, typ := range mfa.EventTypes {
		m.Events(string(typ))
	}
}

// isReady reports whether the server is ready, for a scrape.
func (s *Server) isReady() bool {
	ctx, cancel := context.WithTimeout(context.Background(), readyWait)
	defer cancel()
	return s.ready(ctx) == nil
}

// readyWait is less than the time that Prometheus waits for a scrape, 10 s.
const readyWait = 3 * time.Second

// certificateEnd returns when the TLS certificate in use ends, the earliest by ACME. It looks at the files first, as a
// handshake does: without connections, a renewed certificate is not seen otherwise.
func (s *Server) certificateEnd() (end time.Time) {
	if s.acme != nil {
		for _, c := range s.acme.States() {
			if !c.NotAfter.IsZero() && (end.IsZero() || c.NotAfter.Before(end)) {
				end = c.NotAfter
			}
		}
		return end
	}
	current, err := s.certs.get(nil)
	if err != nil {
		return time.Time{}
	}
	return current.Leaf.NotAfter
}

// listenMetrics takes the address that metrics are served at.
func (s *Server) listenMetrics() (net.Listener, error) {
	ln, err := s.listen(s.cfg.MetricsAddr)
	if err != nil {
		return nil, fmt.Errorf("--metrics-addr: %w", err)
	}
	s.metricsAddr = ln.Addr()
	s.log.Info("serving metrics", "addr", ln.Addr().String())
	return ln, nil
}

// serveMetrics answers scrapes until ctx ends.
func (s *Server) serveMetrics(ctx context.Context, ln net.Listener) {
	h := &http.Server{
		Handler:           s.metrics.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() { h.Close() })() // a scrape may be cut short
	if err := h.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("metrics are not served any more", "error", err)
	}
}
