package postgres

import "context"

// selectRows adds up the estimates of the planner. It leaves out tables that were never analyzed.
const selectRows = `SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace`

// Rows returns about how many rows are stored, 0 if that is not known. It reads no table.
func (s *Store) Rows(ctx context.Context) (total int64, err error) {
	err = s.pool.QueryRow(ctx, selectRows).Scan(&total)
	return total, domainError(err)
}
