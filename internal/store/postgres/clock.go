package postgres

import (
	"context"
	"time"
)

const selectClock = `SELECT clock_timestamp()`

// Clock returns the time of the database, which all nodes share.
func (s *Store) Clock(ctx context.Context) (now time.Time, err error) {
	err = s.pool.QueryRow(ctx, selectClock).Scan(&now)
	return now, domainError(err)
}
