package server

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/countersign-mfa/countersign/internal/metrics"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/stats"
)

// newCounter returns the counter of the events of all environments.
func (s *Server) newCounter() (*stats.Counter, error) {
	failed := func() {}
	if s.metrics != nil {
		failed = func() { s.metrics.TaskFailed(metrics.TaskStatistics) }
	}
	counter, err := stats.NewCounter(timedStatistics{s.store.stats, s.clock}, s.store.events, stats.Options{
		Environments: s.environments,
		Failed:       failed,
		Retention:    s.cfg.StatsRetention,
		Logger:       s.log,
		Now:          s.now,
	})
	if err == nil && s.metrics != nil {
		s.metrics.Statistics(func() float64 { return counter.Lag().Seconds() })
	}
	return counter, err
}

// readPrices reads the list of prices in a file; "" means no prices.
func readPrices(file string) (p stats.Prices, err error) {
	if file == "" {
		return p, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return p, fmt.Errorf("--sms-prices: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if p, err = stats.ReadPrices(f); err != nil {
		return p, fmt.Errorf("--sms-prices: %s: %w", file, err)
	}
	return p, nil
}

// statistics answers questions about the statistics of this server's store.
func (s *Server) statistics() *stats.Reader {
	return stats.NewReader(s.store.stats, s.store.events, s.prices, s.now)
}

// timedStatistics is a stats.Store that refuses changes while the clock of the node is
// wrong: it would hold a lease for too long. See timedStore.
type timedStatistics struct {
	stats.Store
	clock *clock
}

// UpdateStatistics is stats.Store.UpdateStatistics.
func (s timedStatistics) UpdateStatistics(ctx context.Context, env mfa.EnvironmentID, keys []stats.Key, fn func(tx *stats.Tx) error) error {
	if err := s.clock.err(); err != nil {
		return err
	}
	return s.Store.UpdateStatistics(ctx, env, keys, fn)
}
