package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

// TestEveryUpdateOfLaneIsAnswered makes several writers find the same row locked at the
// same time. A writer must not replace the lane that another writer has just made.
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
