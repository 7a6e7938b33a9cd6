package postgres_test

import (
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

func TestInspectChangesNothing(t *testing.T) {
	url := cluster.Database(t)
	conn := connect(t, url)
	tables := func() (n int) {
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	state, err := postgres.Inspect(t.Context(), url, "name")
	if err != nil || state.Exists || tables() != 0 {
		t.Fatalf("of an empty database: %+v, %v; it has %d tables", state, err, tables())
	}
	if now, err := state.Clock(t.Context()); err != nil || time.Since(now).Abs() > time.Minute {
		t.Errorf("Clock = %v, %v", now, err)
	}
	if err := state.Close(); err != nil {
		t.Error(err)
	}

	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, url, postgres.Options{})
	if err := s.PutMeta(t.Context(), "name", []byte("value")); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, `INSERT INTO schema_versions (version, name) VALUES ($1, 'of tomorrow')`, postgres.Known()+1)
	exec(t, conn, `ALTER DATABASE `+conn.Config().Database+` SET default_transaction_read_only = on`)
	before := tables()
	state, err = postgres.Inspect(t.Context(), url, "name", "missing")
	if err != nil || !state.Exists || !state.ReadOnly || state.Version != postgres.Known()+1 || state.Known != postgres.Known() {
		t.Errorf("Inspect = %+v, %v", state, err)
	}
	if len(state.Meta) != 1 || string(state.Meta["name"]) != "value" || tables() != before {
		t.Errorf("meta values %q; %d tables, before %d", state.Meta, tables(), before)
	}
	if err := state.Close(); err != nil {
		t.Error(err)
	}
}

func TestInspectReportsADatabaseThatDoesNotAnswer(t *testing.T) {
	state, err := postgres.Inspect(t.Context(), "postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	if err == nil {
		t.Error("Inspect succeeded")
	}
	if err := state.Close(); err != nil {
		t.Error(err)
	}
}

func TestRowsIsTheEstimateOfTheDatabase(t *testing.T) {
	url := cluster.Copy(t, postgres.Migrate)
	s := openAt(t, url, postgres.Options{})
	for i := range 40 {
		if err := s.PutMeta(t.Context(), string(rune('a'+i)), []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, connect(t, url), `ANALYZE`)
	if n, err := s.Rows(t.Context()); err != nil || n < 1000 || n > 3000 {
		t.Errorf("Rows = %d, %v; want 40 and the rows of an empty store, one for each bucket", n, err)
	}
}
