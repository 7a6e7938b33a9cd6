package cli_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/cli"
	"github.com/countersign-mfa/countersign/internal/pgtest"
)

// TestDistributeRepairs runs the command that is named by the error for a store in which
// only some tables are distributed. The command distributes the other tables.
func TestDistributeRepairs(t *testing.T) {
	url := pgtest.Shared(t).Database(t)
	run := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := cli.Run(t.Context(), append(args, "--store", url), io.Discard, &out); code != want {
			t.Fatalf("%v: exit code %d, %s; want %d", args, code, &out, want)
		}
		return out.String()
	}
	run(0, "migrate")
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	pgtest.Citus(t, conn)
	if _, err := conn.Exec(t.Context(), `INSERT INTO pg_dist_partition VALUES ('factors', 'h', 's', 7)`); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"migrate"}, {"environment", "list"}} {
		if text := run(1, args...); !strings.Contains(text, "run 'countersign migrate --distribute'") {
			t.Errorf("%v: %s; want what to do", args, text)
		}
	}
	run(0, "migrate", "--distribute")
	run(0, "migrate")
}
