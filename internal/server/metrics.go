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
