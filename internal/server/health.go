package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
)

const healthWait = 5 * time.Second

// Health returns an error if no server on this machine that has the address and the
// certificate of cfg answers that it is ready.
func Health(ctx context.Context, cfg config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	network, target := "tcp", cfg.Addr
	if path, ok := config.UnixSocket(cfg.Addr); ok {
		network, target = "unix", path
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme(cfg.HasTLS())+"://localhost/readyz", nil)
	if err != nil {
		return err
	}
	transport := localTransport(network, target)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", cfg.Addr, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // the status is the error
		return fmt.Errorf("%s is not ready: it answered %s: %s", cfg.Addr, resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
