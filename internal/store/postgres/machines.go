package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	// selectHeld returns a row if one of these buckets is on a machine that has a transaction
	// that may still commit an event before an epoch; see migration 11. The machine looks once,
	// not once for each row.
	selectHeld = `SELECT bucket FROM buckets WHERE event_held($1) AND bucket = ANY($2::smallint[]) LIMIT 1`
	// selectShards returns a text that changes when a shard moves to another machine.
	selectShards = `SELECT coalesce(string_agg(s.shardid || ' ' || p.groupid, ',' ORDER BY s.shardid, p.groupid), '')` +
		` FROM pg_dist_shard s JOIN pg_dist_placement p ON p.shardid = s.shardid WHERE s.logicalrelid = 'buckets'::regclass`
	selectMachines = `SELECT b.bucket::smallint, p.groupid, p.shardid FROM generate_series(0, 1023) AS b (bucket)` +
		` JOIN pg_dist_placement p ON p.shardid = get_shard_id_for_distribution_column('buckets', b.bucket::smallint) ORDER BY b.bucket`
)

// machines records which machine of a Citus cluster has the rows of each bucket.
type machines struct {
	shards  string             // the result of selectShards
	of      [mfa.Buckets]int32 // the number of the machine of each bucket
	buckets []int16            // one bucket of each machine
	byShard [][]int16          // the buckets of each shard
}

var errMoving = fmt.Errorf("%w: shards move between machines", mfa.ErrUnavailable)

// readMachines reads the machines from the catalog.
func readMachines(ctx context.Context, conn *pgx.Conn) (*machines, error) {
	m := &machines{}
	if err := conn.QueryRow(ctx, selectShards).Scan(&m.shards); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, selectMachines)
	if err != nil {
		return nil, err
	}
	var b int16
	var machine int32
	var shard int64
	var known []int32
	shards := make(map[int64]int) // positions in byShard
	_, err = pgx.ForEachRow(rows, []any{&b, &machine, &shard}, func() error {
		m.of[b] = machine
		i, ok := shards[shard]
		if !ok {
			i = len(m.byShard)
			shards[shard], m.byShard = i, append(m.byShard, nil)
		}
		m.byShard[i] = append(m.byShard[i], b)
		if !slices.Contains(known, machine) {
			known, m.buckets = append(known, machine), append(m.buckets, b)
		}
		return nil
	})
	return m, err
}

// isHeld reports whether a machine has a transaction that may still commit an event before
// an epoch, although the transaction on the coordinator has ended. It is only for distributed
// tables.
func (s *Store) isHeld(ctx context.Context, conn *pgx.Conn, epoch int64) (held bool, err error) {
	for range 3 {
		m := s.machines.Load()
		if m == nil {
			if m, err = readMachines(ctx, conn); err != nil {
				return false, err
			}
		}
		var b int16
		switch err := conn.QueryRow(ctx, selectHeld, epoch, m.buckets).Scan(&b); {
		case errors.Is(err, pgx.ErrNoRows):
		case err != nil:
			return false, err
		default:
			return true, nil
		}
		// If a shard has moved, a machine may not have been asked.
		var shards string
		if err := conn.QueryRow(ctx, selectShards).Scan(&shards); err != nil {
			return false, err
		}
		if shards == m.shards {
			s.machines.Store(m)
			return false, nil
		}
		s.machines.Store(nil)
	}
	return false, errMoving
}
