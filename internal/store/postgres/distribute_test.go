package postgres_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
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
		return "n", "t", 1
	}
	local := func(string) (string, string, int) { return "", "", 0 }
	if yes, err := place(local); yes || err != nil {
		t.Errorf("local tables: %v, %v", yes, err)
	}
	if yes, err := place(whole); !yes || err != nil {
		t.Errorf("distributed tables: %v, %v", yes, err)
	}
	for _, odd := range tables {
		for name, change := range map[string]func(string) (string, string, int){
			"local":                       local,
			"apart":                       func(string) (string, string, int) { return "h", "s", 8 },
			"not distributed, only known": func(string) (string, string, int) { return "n", "s", 0 },
		} {
			_, err := place(func(table string) (string, string, int) {
				if table == odd {
					return change(table)
				}
				return whole(table)
			})
			if mixed, ok := errors.AsType[*postgres.MixedError](err); !ok || len(mixed.Tables) == 0 {
				t.Errorf("%s is %s: %v; want a MixedError", odd, name, err)
			}
		}
		_, err := place(func(table string) (string, string, int) {
			if table == odd {
				return whole(table)
			}
			return local(table)
		})
		if _, ok := errors.AsType[*postgres.MixedError](err); !ok {
			t.Errorf("only %s is distributed: %v; want a MixedError", odd, err)
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

// catalog gives a database the catalog and the functions of Citus. The functions only
// record that a table is distributed, and fail for the table refused. Each function
// checks that all tables are locked.
func catalog(t *testing.T, url, refused string) *pgx.Conn {
	t.Helper()
	conn := connect(t, url)
	exec(t, conn, `CREATE TABLE pg_dist_partition (logicalrelid regclass, partmethod "char", repmodel "char", colocationid integer)`)
	exec(t, conn, `CREATE FUNCTION place(t text, method "char", model "char", colocation integer) RETURNS void LANGUAGE plpgsql AS $$
		DECLARE locked integer;
		BEGIN
			SELECT count(DISTINCT relation) INTO locked FROM pg_locks JOIN pg_class c ON c.oid = relation
			WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pid = pg_backend_pid() AND mode = 'AccessExclusiveLock';
			IF locked < 11 THEN RAISE EXCEPTION 'only % tables are locked', locked; END IF;
			IF t = '`+refused+`' THEN RAISE EXCEPTION 'refused'; END IF;
			INSERT INTO pg_dist_partition VALUES (t::regclass, method, model, colocation);
		END $$`)
	exec(t, conn, `CREATE FUNCTION create_distributed_table(t text, by text, colocate_with text) RETURNS void LANGUAGE sql AS
		$$ SELECT place(t, 'h', 's', CASE WHEN colocate_with IN ('default', 'factors') THEN 7 ELSE 8 END) $$`)
	exec(t, conn, `CREATE FUNCTION create_reference_table(t text) RETURNS void LANGUAGE sql AS $$ SELECT place(t, 'n', 't', 1) $$`)
	return conn
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
	for _, refused := range []string{"environments", "factors", "tallies"} {
		url := migrated(t)
		conn := catalog(t, url, refused)
		if err := postgres.Distribute(t.Context(), url); err == nil || !strings.Contains(err.Error(), refused) {
			t.Errorf("Distribute = %v; want an error that names %s", err, refused)
		}
		if n := count(conn); n != 0 {
			t.Errorf("%d tables are distributed; want 0", n)
		}
	}
	url := migrated(t)
	conn := catalog(t, url, "")
	s := openAt(t, url, postgres.Options{})
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err)
	}
	for range 2 { // the second run finds nothing to do
		if err := postgres.Distribute(t.Context(), url); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(conn); n != len(postgres.Tables()) {
		t.Errorf("%d tables are distributed; want %d", n, len(postgres.Tables()))
	}
	if err := s.Ping(t.Context()); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("Ping of a store that was opened before = %v; want %v", err, mfa.ErrUnavailable)
	}
	for _, local := range postgres.Tables() {
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

// TestDistributeUnderLoad distributes the tables of a Citus cluster while nodes race for
// codes: each code is accepted once.
func TestDistributeUnderLoad(t *testing.T) {
	url := os.Getenv("COUNTERSIGN_TEST_CITUS")
	if url == "" {
		t.Skip("set COUNTERSIGN_TEST_CITUS to the URL of an empty database of a Citus cluster")
	}
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	nodes := []*postgres.Store{openAt(t, url, postgres.Options{}), openAt(t, url, postgres.Options{})}
	stop, done := context.WithCancel(t.Context())
	defer done()
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for stop.Err() == nil {
				f := storetest.NewFactor(storetest.NewUser())
				c := storetest.NewChallenge(f)
				err := nodes[0].Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, storetest.Writing(mfa.InsertFactor{Factor: f}, mfa.InsertChallenge{Challenge: c}))
				if err != nil {
					continue
				}
				var winners sync.Map
				var race sync.WaitGroup
				for i := range 8 {
					race.Go(func() {
						taken := errors.New("taken")
						err := nodes[i%2].Update(t.Context(), readChallenge(c.ID), func(tx *mfa.Tx) error {
							if tx.Challenge == nil || !tx.Challenge.VerifiedAt.IsZero() {
								return taken
							}
							tx.Challenge.VerifiedAt = tx.Challenge.CreatedAt
							tx.Writes = []mfa.Write{tx.Challenge.Update()}
							return nil
						})
						if err == nil {
							winners.Store(i, true)
						}
					})
				}
				race.Wait()
				n := 0
				winners.Range(func(any, any) bool { n++; return true })
				if n > 1 {
					t.Errorf("%d winners for one challenge", n)
				}
			}
		})
	}
	if err := postgres.Distribute(t.Context(), url); err != nil {
		t.Error(err)
	}
	done()
	work.Wait()
	s := openAt(t, url, postgres.Options{})
	holds(t, s, storeFactor(t, s))
}
