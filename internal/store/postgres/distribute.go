package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ErrNoCitus means that the database cannot distribute tables.
var ErrNoCitus = errors.New("the Citus extension is not installed in this database; CREATE EXTENSION citus, or leave the tables where they are")

// A MixedError means that only some tables are distributed, or that the distributed tables
// are not colocated. Row locks do not work across such tables, so a code could be accepted
// more than once.
type MixedError struct{ Tables []string }

func (e *MixedError) Error() string {
	return fmt.Sprintf("these tables are not on the machines where they belong: %s; stop all nodes and run 'countersign migrate --distribute'", strings.Join(e.Tables, ", "))
}

const (
	hasCitus = `SELECT to_regclass('pg_dist_partition') IS NOT NULL`
	// selectPlacements needs Citus. For a table that is not distributed, all columns except
	// the name are zero. It keeps the order of the names.
	selectPlacements = `SELECT t.name, coalesce(p.partmethod::text, ''), coalesce(p.repmodel::text, ''), coalesce(p.colocationid, 0)` +
		` FROM unnest($1::text[]) WITH ORDINALITY AS t (name, position)` +
		` LEFT JOIN pg_dist_partition p ON p.logicalrelid = to_regclass(t.name) ORDER BY t.position`
	distributeTable    = `SELECT create_distributed_table($1, 'bucket', colocate_with => $2)`
	distributeFunction = `SELECT create_distributed_function($1)` // does nothing the second time
	// Citus refuses to distribute a table if the same transaction has already used several
	// connections for another table.
	distributeInOrder = `SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true), set_config('lock_timeout', '30s', true)`
)

// The spread tables are distributed by bucket and colocated with the first of them.
// The tables of the coordinator are small, and change without the workers.
var (
	spreadTables = []string{"factors", "challenges", "users", "phones", "replays", "events", "messages", "tallies", "event_contexts", "deleted_factors", "erasures",
		"webhook_endpoints", "webhook_deliveries", "webhook_attempts", "statistics", "statistics_positions",
		"buckets", "bypasses"}
	coordinatorTables = []string{"environments", "api_keys", "meta", "operators", "operator_passkeys", "operator_tickets", "nodes"}
)

// spreadFunctions run on the machines that store the rows.
var spreadFunctions = []string{"event_hold(uuid)", "event_held(bigint)"}

// allTables returns the tables of the coordinator and then the spread ones.
func allTables() []string { return slices.Concat(coordinatorTables, spreadTables) }

// A placement describes where a table is, with the values of pg_dist_partition.
type placement struct {
	table      string
	method     string // "h": by hash of a column; "n": by no column; empty: a local table
	model      string // "t": a reference table, if the method is "n"
	colocation int    // tables with the same number have their shards on the same machines
}

// isCopied reports whether every machine has a copy of the table.
func (p placement) isCopied() bool { return p.method == "n" && p.model == "t" }

// isLocal reports whether the table is on the coordinator only. The catalog also lists
// local tables, if they have a foreign key to a table that every machine has.
func (p placement) isLocal() bool { return p.method == "" || p.method == "n" && p.model == "s" }

// distributed reports whether the tables are spread over machines. It returns a
// MixedError if only some of them are, or if they are not colocated. Earlier programs copied
// the tables of the coordinator to every machine, which also works.
func distributed(placements []placement) (spread bool, err error) {
	first := slices.IndexFunc(placements, func(p placement) bool { return p.table == spreadTables[0] })
	if first < 0 {
		return false, fmt.Errorf("the table %s is missing", spreadTables[0])
	}
	var local, apart []string
	for _, p := range placements {
		switch spreads := slices.Contains(spreadTables, p.table); {
		case spreads && p.method == "h" && p.colocation == placements[first].colocation:
			spread = true
		case spreads && p.method == "":
			local = append(local, p.table)
		case spreads || !p.isLocal() && !p.isCopied():
			apart = append(apart, p.table)
		}
	}
	if len(apart) > 0 || spread && len(local) > 0 {
		return false, &MixedError{append(local, apart...)}
	}
	return spread, nil
}

// A querier is a connection, a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// readPlacements returns the placement of every table. Without Citus it returns no
// placements.
func readPlacements(ctx context.Context, db querier) ([]placement, error) {
	var citus bool
	if err := db.QueryRow(ctx, hasCitus).Scan(&citus); err != nil || !citus {
		return nil, err
	}
	rows, err := db.Query(ctx, selectPlacements, allTables())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p placement, err error) {
		err = row.Scan(&p.table, &p.method, &p.model, &p.colocation)
		return p, err
	})
}

// Distribute spreads the tables of the database at url over the machines of a
// Citus cluster. It locks all tables first and distributes them in one transaction, so
// a node never sees distributed and local tables mixed. Tables that are already
// distributed do not change. It returns ErrNoCitus for a database without Citus.
func Distribute(ctx context.Context, url string) error {
	cfg, err := configure(url)
	if err != nil {
		return err
	}
	conn, err := dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// The placements are read after the lock. READ COMMITTED makes earlier commits visible.
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		var citus bool
		if err := tx.QueryRow(ctx, hasCitus).Scan(&citus); err != nil {
			return err
		}
		if !citus {
			return ErrNoCitus
		}
		if _, err := tx.Exec(ctx, distributeInOrder); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, migrateLock, int64(migrateLockKey)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `LOCK TABLE `+strings.Join(allTables(), ", ")+` IN ACCESS EXCLUSIVE MODE`); err != nil {
			return fmt.Errorf("lock all tables: %w", err)
		}
		return distributeLocal(ctx, tx)
	})
}

// distributeLocal distributes the spread tables that are local, in their order: they are
// placed next to the first.
func distributeLocal(ctx context.Context, tx pgx.Tx) error {
	before, err := readPlacements(ctx, tx)
	if err != nil {
		return err
	}
	for _, p := range before {
		i := slices.Index(spreadTables, p.table)
		if i < 0 || !p.isLocal() {
			continue
		}
		next := spreadTables[0]
		if i == 0 {
			next = "default"
		}
		if _, err := tx.Exec(ctx, distributeTable, p.table, next); err != nil {
			return fmt.Errorf("distribute %s: %w", p.table, err)
		}
	}
	for _, f := range spreadFunctions {
		if _, err := tx.Exec(ctx, distributeFunction, f); err != nil {
			return fmt.Errorf("distribute the function %s: %w", f, err)
		}
	}
	after, err := readPlacements(ctx, tx)
	if err != nil {
		return err
	}
	_, err = distributed(after)
	return err
}

// distributed reports whether the tables are spread over machines; see the function
// distributed.
func (s *Store) distributed(ctx context.Context) (bool, error) {
	placements, err := readPlacements(ctx, s.pool)
	if err != nil || placements == nil {
		return false, domainError(err)
	}
	return distributed(placements)
}
