package server

import (
	"context"
	"math"
	"time"
)

// dailyEvery is how often the metric of the daily limits on messages is computed.
const dailyEvery = time.Minute

// watchDailyMessages keeps the used share of the daily limits on messages, the largest of all
// environments, until ctx ends.
func (s *Server) watchDailyMessages(ctx context.Context) {
	every := time.NewTicker(dailyEvery)
	defer every.Stop()
	for {
		if used, err := s.dailyMessagesUsed(ctx); err == nil {
			s.messagesUsed.Store(math.Float64bits(used))
		} else if ctx.Err() == nil {
			s.log.Warn("the used share of the daily messages is unknown; the next try is in a minute", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

func (s *Server) dailyMessagesUsed(ctx context.Context) (used float64, err error) {
	all, err := s.store.access.Environments(ctx)
	if err != nil {
		return 0, err
	}
	for _, env := range all {
		if !env.Production {
			continue // its messages are not counted
		}
		share, err := s.mfa.Load().DailyMessagesUsed(ctx, env)
		if err != nil {
			return 0, err
		}
		used = max(used, share)
	}
	return used, nil
}
