package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ErrNoCitus means that the database cannot distribute tables.
var ErrNoCitus = errors.New("the Citus extension is not installed in this database; CREATE EXTENSION citus, or leave the tables where they are")

const (
	hasCitus        = `SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')`
	isDistributed   = `SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass($1))`
	distributeTable = `SELECT create_distributed_table($1, 'bucket', colocate_with => $2)`
	referenceTable  = `SELECT create_reference_table($1)`
)

// Tables that are spread by bucket, all next to the first, and small ones that
// every machine has a copy of.
var (
	spreadTables = []string{"factors", "challenges", "users", "phones", "replays", "events", "messages", "tallies"}
	copiedTables = []string{"environments", "api_keys", "meta"}
)

// Distribute spreads the tables of the database at url over the machines of a
// Citus cluster. What is distributed already stays as it is. It returns ErrNoCitus
// where there is none.
func Distribute(ctx context.Context, url string) error {
	cfg, err := configure(url)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	if err := conn.QueryRow(ctx, hasCitus).Scan(&there); err != nil {
		return err
	}
	if !there {
		return ErrNoCitus
	}
	once := func(table, sql string, args ...any) error {
		var done bool
		if err := conn.QueryRow(ctx, isDistributed, table).Scan(&done); err != nil || done {
			return err
		}
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			return fmt.Errorf("distribute %s: %w", table, err)
		}
		return nil
	}
	for _, table := range copiedTables {
		if err := once(table, referenceTable, table); err != nil {
			return err
		}
	}
	for i, table := range spreadTables {
		next := spreadTables[0]
		if i == 0 {
			next = "default"
		}
		if err := once(table, distributeTable, table, next); err != nil {
			return err
		}
	}
	return nil
}

// distributed reports whether the tables are spread over machines.
func (s *Store) distributed(ctx context.Context) (yes bool, err error) {
	if err := s.pool.QueryRow(ctx, hasCitus).Scan(&yes); err != nil || !yes {
		return false, domainError(err)
	}
	err = s.pool.QueryRow(ctx, isDistributed, spreadTables[0]).Scan(&yes)
	return yes, domainError(err)
}
