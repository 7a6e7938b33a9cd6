package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// TestPlacements checks catalogs of Citus in which only some tables are distributed.
func TestPlacements(t *testing.T) {
	tables := postgres.Tables()
	spread := postgres.SpreadTables()
	place := func(change func(table string) (method, model string, colocation int)) (bool, error) {
		return postgres.Distributed(tables, change)
	}
	whole := func(table string) (string, string, int) {
		if slices.Contains(spread, table) {
			return "h", "s", 7
		}
		return "", "", 0
	}
	local := func(string) (string, string, int) { return "", "", 0 }
	copied := func(string) (string, string, int) { return "n", "t", 1 }
	if yes, err := place(local); yes || err != nil {
		t.Errorf("local tables: %v, %v", yes, err)
	}
	if yes, err := place(whole); !yes || err != nil {
		t.Errorf("distributed tables: %v, %v", yes, err)
	}
	for _, odd := range tables {
		changes := map[string]func(string) (string, string, int){
			"apart": func(string) (string, string, int) { return "h", "s", 8 },
		}
		if slices.Contains(spread, odd) {
			changes["copied"], changes["local"] = copied, local
			changes["not distributed, only known"] = func(string) (string, string, int) { return "n", "s", 0 }
		}
		for name, change := range changes {
			for rest, others := range map[string]func(string) (string, string, int){"distributed": whole, "local": local} {
				if name == "local" && rest == "local" || name == "apart" && odd == spread[0] && rest == "local" {
					continue
				}
				_, err := place(func(table string) (string, string, int) {
					if table == odd {
						return change(table)
					}
					return others(table)
				})
				if mixed, ok := errors.AsType[*postgres.MixedError](err); !ok || len(mixed.Tables) == 0 {
					t.Errorf("%s is %s, the others are %s: %v; want a MixedError", odd, name, rest, err)
				}
			}
		}
	}
}

// TestEveryTableIsPlaced compares the lists of tables with the schema.
func TestEveryTableIsPlaced(t *testing.T) {
	conn := connect(t, migrated(t))
	rows, err := conn.Query(t.Context(), `SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_versions'`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Sorted(slices.Values(postgres.Tables())); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("the schema has %v; want %v", got, want)
	}
}

// TestDistributeIsWhole makes the distribution of each table fail: then no table is
// distributed. A store does not open a database in which only some tables are distributed.
func TestDistributeIsWhole(t *testing.T) {
	count := func(conn *pgx.Conn) (n int) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_dist_partition`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, refused := range []string{"factors", "tallies"} {
		url := migrated(t)
		conn := connect(t, url)
		pgtest.Citus(t, conn)
		exec(t, conn, `INSERT INTO refused VALUES ($1)`, refused)
		if err := postgres.Distribute(t.Context(), url); err == nil || !strings.Contains(err.Error(), refused) {
			t.Errorf("Distribute = %v; want an error that names %s", err, refused)
		}
		if n := count(conn); n != 0 {
			t.Errorf("%d tables are distributed; want 0", n)
		}
	}
	url := migrated(t)
	conn := connect(t, url)
	pgtest.Citus(t, conn)
	s := openAt(t, url, postgres.Options{})
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err)
	}
	for range 2 { // the second run finds nothing to do
		if err := postgres.Distribute(t.Context(), url); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(conn); n != len(postgres.SpreadTables()) {
		t.Errorf("%d tables are distributed; want %d", n, len(postgres.SpreadTables()))
	}
	if err := s.Ping(t.Context()); err != nil || !s.Single() {
		t.Errorf("Ping of a store that was opened before = %v, single = %v; want nil and one Update in each transaction", err, s.Single())
	}
	holds(t, s, storeFactor(t, s))
	for _, local := range postgres.SpreadTables() {
		exec(t, conn, `CREATE TABLE aside AS SELECT * FROM pg_dist_partition WHERE logicalrelid = $1::text::regclass`, local)
		exec(t, conn, `DELETE FROM pg_dist_partition WHERE logicalrelid = $1::text::regclass`, local)
		_, err := postgres.Open(t.Context(), url, postgres.Options{})
		if _, ok := errors.AsType[*postgres.MixedError](err); !ok {
			t.Errorf("Open with a local table %s = %v; want a MixedError", local, err)
		}
		exec(t, conn, `INSERT INTO pg_dist_partition SELECT * FROM aside`)
		exec(t, conn, `DROP TABLE aside`)
	}
}

// TestDistributeTheRest calls Distribute for a store in which only some tables are
// distributed. An upgrade that adds a table leaves such a store, and so did earlier
// programs that were killed: they distributed one table after another.
func TestDistributeTheRest(t *testing.T) {
	tables := postgres.Tables()
	url := migrated(t)
	conn := connect(t, url)
	pgtest.Citus(t, conn)
	for n := range tables {
		for name, before := range map[string][]string{
			"the first": tables[:n],
			"all but":   slices.Concat(tables[:n], tables[n+1:]),
		} {
			exec(t, conn, `BEGIN`)
			exec(t, conn, `LOCK TABLE `+strings.Join(tables, ", "))
			exec(t, conn, `DELETE FROM pg_dist_partition`)
			for _, table := range before {
				if slices.Contains(postgres.SpreadTables(), table) {
					exec(t, conn, `SELECT create_distributed_table($1, 'bucket', 'default')`, table)
				} else {
					exec(t, conn, `SELECT create_reference_table($1)`, table)
				}
			}
			exec(t, conn, `COMMIT`)
			if err := postgres.Distribute(t.Context(), url); err != nil {
				t.Errorf("%s %d (%s): %v", name, n, tables[n], err)
			}
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			if err != nil {
				t.Errorf("%s %d (%s): %v", name, n, tables[n], err)
				continue
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestDistributeUnderLoad distributes the tables of a Citus cluster while nodes race for
// codes: each code is accepted once.
func TestDistributeUnderLoad(t *testing.T) {
	url := pgtest.OnCitus(t).Coordinator
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	nodes := []*postgres.Store{openAt(t, url, postgres.Options{}), openAt(t, url, postgres.Options{})}
	stop, done := context.WithCancel(t.Context())
	defer done()
	won := make(chan bool)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for stop.Err() == nil {
				winners := raceForCode(t, nodes)
				if winners > 1 {
					t.Errorf("%d winners for one challenge", winners)
				}
				if winners == 1 {
					select {
					case won <- true:
					case <-stop.Done():
					}
				}
			}
		})
	}
	await := func(races int) {
		t.Helper()
		for range races {
			select {
			case <-won:
			case <-time.After(time.Minute):
				t.Fatal("no race was won for a minute")
			}
		}
	}
	await(50)
	distributed := make(chan error, 1)
	go func() { distributed <- postgres.Distribute(t.Context(), url) }()
	for pending := true; pending; {
		select {
		case err := <-distributed:
			if err != nil {
				t.Error(err)
			}
			pending = false
		case <-won:
		}
	}
	await(50) // on nodes that began with local tables
	done()
	work.Wait()
	s := openAt(t, url, postgres.Options{})
	for range 10 {
		if n := raceForCode(t, []*postgres.Store{s, openAt(t, url, postgres.Options{})}); n != 1 {
			t.Errorf("%d winners for one challenge on distributed tables; want 1", n)
		}
	}
	holds(t, s, storeFactor(t, s))
}

// raceForCode makes a challenge and has all nodes try to verify it at once. It returns
// how many succeeded.
func raceForCode(t *testing.T, nodes []*postgres.Store) int {
	f := storetest.NewFactor(storetest.NewUser())
	c := storetest.NewChallenge(f)
	err := nodes[0].Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, storetest.Writing(mfa.InsertFactor{Factor: f}, mfa.InsertChallenge{Challenge: c}))
	if err != nil {
		return 0
	}
	var winners atomic.Int64
	var race sync.WaitGroup
	for i := range 16 {
		race.Go(func() {
			err := nodes[i%len(nodes)].Update(t.Context(), readChallenge(c.ID), func(tx *mfa.Tx) error {
				if tx.Challenge == nil || !tx.Challenge.VerifiedAt.IsZero() {
					return mfa.ErrNotFound
				}
				tx.Challenge.VerifiedAt = tx.Challenge.CreatedAt
				tx.Writes = []mfa.Write{tx.Challenge.Update()}
				return nil
			})
			if err == nil {
				winners.Add(1)
			}
		})
	}
	race.Wait()
	return int(winners.Load())
}
