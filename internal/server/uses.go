package server

import (
	"context"
	"time"
)

const (
	usesEvery  = time.Minute     // how often the last uses of keys are stored
	lastUsesIn = 5 * time.Second // in which they must be stored when the server ends
)

// storeUses stores when keys were last used, until ctx ends, and once more then.
func (s *Server) storeUses(ctx context.Context) {
	every := time.NewTicker(usesEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			if err := s.access.StoreUses(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("the last use of keys is not stored; the next try is in a minute", "error", err)
			}
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastUsesIn)
			defer cancel()
			if err := s.access.StoreUses(ctx); err != nil {
				s.log.Warn("the last use of keys is not stored", "error", err)
			}
			return
		}
	}
}
