package postgres_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

// fill stores tens of thousands of rows of each kind, spread over all buckets.
var fill = []string{
	`INSERT INTO factors (bucket, id, environment, type, user_id, last_step, failures, created_at, updated_at, phone)
		SELECT n % 1024, md5('f' || n)::uuid, 1, 'totp', 'user' || n / 2, 0, 0, now(), now(), sha256(n::text::bytea) FROM generate_series(1, 40000) n`,
	`INSERT INTO challenges (bucket, id, factor, attempts, created_at, updated_at, expires_at, created_key)
		SELECT n % 1024, md5('c' || n)::uuid, md5('f' || n)::uuid, 0, now(), now(), now(), n FROM generate_series(1, 40000) n`,
	`INSERT INTO users (bucket, environment, id, failures) SELECT n % 1024, 1, 'user' || n / 2, 1 FROM generate_series(1, 40000) n`,
	`INSERT INTO phones (bucket, key, sends, expires_at)
		SELECT n % 1024, sha256(n::text::bytea), '', now() + n * interval '1s' FROM generate_series(1, 40000) n`,
	`INSERT INTO tallies (bucket, environment, name, counts, expires_at)
		SELECT n % 1024, n % 1024, 'name' || n, '', now() + n * interval '1s' FROM generate_series(1, 40000) n`,
	`INSERT INTO messages (bucket, key, number, expires_at)
		SELECT n % 1024, sha256(n::text::bytea), 0, now() + n * interval '1s' FROM generate_series(1, 40000) n`,
	`INSERT INTO replays (bucket, key, fingerprint, expires_at)
		SELECT n % 1024, sha256(n::text::bytea), '', now() + n * interval '1s' FROM generate_series(1, 40000) n`,
	`INSERT INTO bypasses (bucket, key, code_mac, guesses, created_at, expires_at)
		SELECT n % 1024, sha256(n::text::bytea), '', 0, now(), now() + n * interval '1s' FROM generate_series(1, 40000) n`,
	`INSERT INTO events (bucket, id, environment, type, factor, challenge)
		SELECT n % 1024, md5('e' || n)::uuid, 1, 'challenge.created', md5('f' || n / 8)::uuid, md5('c' || n / 2)::uuid FROM generate_series(1, 40000) n`,
	`INSERT INTO event_contexts (bucket, id, person, sealed) SELECT n % 1024, md5('e' || n)::uuid, sha256(n::text::bytea), '' FROM generate_series(1, 40000) n`,
	`INSERT INTO deleted_factors (bucket, id, person, sealed, expires_at)
		SELECT n % 1024, md5('d' || n)::uuid, sha256(n::text::bytea), '', now() + n * interval '1s' FROM generate_series(1, 40000) n`,
	`INSERT INTO erasures (bucket, person, due_at) SELECT n % 1024, sha256(n::text::bytea), now() + n * interval '1s' FROM generate_series(1, 40000) n`,
	`INSERT INTO statistics (bucket, environment, series, start, counts)
		SELECT n % 1024, n % 1024, 'events', now() + n * interval '1h', '' FROM generate_series(1, 40000) n`,
	`INSERT INTO statistics_positions (bucket, environment) SELECT n % 1024, n FROM generate_series(1, 40000) n`,
	`ANALYZE`,
}

var (
	scans      = regexp.MustCompile(`(Seq|Bitmap Heap|Index|Index Only|Sample|CTE|Function) Scan`)
	conditions = regexp.MustCompile(`Index Cond: .*`)
)

// TestRequestsSearch asks PostgreSQL for the plan of each prepared statement of a
// request or of the sweep: it must use only indexes, with the bucket in each condition.
func TestRequestsSearch(t *testing.T) {
	conn := connect(t, migrated(t))
	for _, sql := range fill {
		exec(t, conn, sql)
	}
	for name, sql := range postgres.RequestStatements() {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(sql, "bucket = $") {
				t.Errorf("no bucket in %s", sql)
			}
			searchesByBucket(t, conn, sql)
		})
	}
	for name, sql := range postgres.SweepStatements() {
		t.Run(name, func(t *testing.T) { searchesByBucket(t, conn, sql) })
	}
	for name, sql := range postgres.PagingStatements() {
		t.Run(name, func(t *testing.T) {
			if plan := explain(t, conn, sql, "force_generic_plan"); strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Sort") {
				t.Errorf("%s\n%s", sql, plan)
			}
		})
	}
	t.Run("selectHoldings", func(t *testing.T) { // reads one bucket, and may sort it
		plan := explain(t, conn, postgres.HoldingsStatement(), "force_generic_plan")
		if strings.Contains(plan, "Seq Scan") || !strings.Contains(plan, "Index Cond: (bucket = ") {
			t.Errorf("%s\n%s", postgres.HoldingsStatement(), plan)
		}
	})
	for _, sql := range postgres.Inserts() {
		if !strings.Contains(sql, "(bucket, ") || !strings.Contains(sql, "VALUES ($1, ") {
			t.Errorf("no bucket in %s", sql)
		}
	}
}

// TestSubjectsSearch asks for the plans of the statements that find the events of a factor, a
// challenge or a user. Each must look for a key: no plan reads all events of an environment,
// or of a bucket.
func TestSubjectsSearch(t *testing.T) {
	conn := connect(t, migrated(t))
	for _, sql := range fill {
		exec(t, conn, sql)
	}
	key := regexp.MustCompile(`\b(challenge|factor|person|user_id|id) = `)
	for name, sql := range postgres.SubjectStatements() {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(sql, "bucket = $1") {
				t.Errorf("no bucket in %s", sql)
			}
			for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
				plan := explain(t, conn, sql, mode)
				found := conditions.FindAllString(plan, -1)
				if len(found) == 0 || strings.Contains(plan, "Seq Scan") {
					t.Errorf("%s: no search\n%s\n%s", mode, sql, plan)
				}
				for _, condition := range found {
					if !key.MatchString(condition) {
						t.Errorf("%s: %s\n%s\n%s", mode, condition, sql, plan)
					}
				}
			}
		})
	}
}

// TestGroupsSearch does the same for the statements of a group, also with a plan that
// PostgreSQL made and cached while the tables had few rows.
func TestGroupsSearch(t *testing.T) {
	conn := connect(t, migrated(t))
	first, statements := postgres.GroupStatements()
	for _, filled := range []bool{false, true} {
		if filled {
			for _, sql := range fill {
				exec(t, conn, sql)
			}
		}
		for name, sql := range statements {
			t.Run(fmt.Sprintf("%s/filled=%v", name, filled), func(t *testing.T) {
				exec(t, conn, "BEGIN")
				defer exec(t, conn, "ROLLBACK")
				if strings.HasPrefix(sql, "UPDATE") {
					exec(t, conn, first)
				}
				for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
					plan := explain(t, conn, sql, mode)
					found := conditions.FindAllString(plan, -1)
					searches := 0
					for _, scan := range scans.FindAllString(plan, -1) {
						switch {
						case strings.HasPrefix(scan, "Index"):
							searches++
						case !strings.HasPrefix(scan, "Function"):
							t.Errorf("%s: %s\n%s", mode, scan, plan)
						}
					}
					if searches == 0 || searches != len(found) || strings.Contains(plan, "Hash Join") || strings.Contains(plan, "Merge Join") {
						t.Errorf("%s: %d conditions of %d searches\n%s", mode, len(found), searches, plan)
					}
					for _, condition := range found {
						if !strings.Contains(condition, "bucket = ") || !strings.Contains(condition, "id = ") && !strings.Contains(condition, "key = ") {
							t.Errorf("%s: %s\n%s", mode, condition, plan)
						}
					}
				}
			})
		}
	}
}

// searchesByBucket checks that a statement uses only index searches with the bucket,
// both in the plan for known parameters and in the generic plan.
func searchesByBucket(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		plan := explain(t, conn, sql, mode)
		found := conditions.FindAllString(plan, -1)
		for _, scan := range scans.FindAllString(plan, -1) {
			if !strings.HasPrefix(scan, "Index") {
				t.Errorf("%s: %s\n%s\n%s", mode, scan, sql, plan)
			}
		}
		if len(found) == 0 {
			t.Errorf("%s: no search\n%s\n%s", mode, sql, plan)
		}
		for _, condition := range found {
			if !strings.Contains(condition, "bucket = ") {
				t.Errorf("%s: %s\n%s\n%s", mode, condition, sql, plan)
			}
		}
	}
}

// explain returns the plan of a prepared statement, with an arbitrary argument of the
// right type for each parameter.
func explain(t *testing.T, conn *pgx.Conn, sql, mode string) string {
	t.Helper()
	exec(t, conn, "SET plan_cache_mode = "+mode)
	exec(t, conn, "PREPARE explained AS "+sql)
	defer exec(t, conn, "DEALLOCATE explained")
	var types []string
	err := conn.QueryRow(t.Context(), `SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'explained'`).Scan(&types)
	if err != nil {
		t.Fatal(err)
	}
	args := make([]string, len(types))
	for i, typ := range types {
		element, isArray := strings.CutSuffix(typ, "[]")
		value := map[string]string{
			"smallint": "7", "integer": "7", "bigint": "7", "text": "user7", "bytea": "seven",
			"uuid":                     "77777777-7777-7777-7777-777777777777",
			"timestamp with time zone": "2026-03-29 08:30:00Z",
		}[element]
		if isArray {
			value = `{"` + value + `"}`
		}
		args[i] = fmt.Sprintf("'%s'::%s", value, typ)
	}
	rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE explained ("+strings.Join(args, ", ")+")", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("explain %s: %v", sql, err)
	}
	return strings.Join(lines, "\n")
}
