package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

// TestEveryUpdateOfLaneIsAnswered has several writers find the same row locked at the same
// time. None may replace the lane that another has just made.
func TestEveryUpdateOfLaneIsAnswered(t *testing.T) {
	t.Parallel()
	const updates = 3
	for start := time.Now(); time.Since(start) < 2*time.Second; {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if n := postgres.RaceToLane(ctx, updates); n != updates {
			t.Errorf("%d of %d Updates were answered", n, updates)
		}
		cancel()
		if t.Failed() {
			return
		}
	}
}
