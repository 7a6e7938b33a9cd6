package pgtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// citusVariable names the URL of a database of a Citus cluster, for a superuser.
const citusVariable = "COUNTERSIGN_TEST_CITUS"

// A CitusDatabase is a new database on all machines of a Citus cluster.
type CitusDatabase struct {
	Coordinator string   // its URL on the coordinator
	Workers     []string // its URLs on the workers
}

var citusDatabases atomic.Int64

// OnCitus creates a database on all machines of the Citus cluster that the environment
// variable COUNTERSIGN_TEST_CITUS names, and removes it when the test ends. It skips the test
// if the variable is not set.
func OnCitus(t testing.TB) *CitusDatabase {
	t.Helper()
	given := os.Getenv(citusVariable)
	if given == "" {
		t.Skipf("set %s to the URL of a database of a Citus cluster, as a superuser", citusVariable)
	}
	name := fmt.Sprintf("countersign_test_%d_%d", os.Getpid(), citusDatabases.Add(1))
	at := func(host string, port int, database string) string {
		u, err := url.Parse(given)
		if err != nil {
			t.Fatalf("%s is not a URL", citusVariable)
		}
		u.Host, u.Path = net.JoinHostPort(host, strconv.Itoa(port)), "/"+database
		return u.String()
	}
	conn := citusConn(t, given)
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `SELECT groupid, nodename, nodeport FROM pg_dist_node WHERE noderole = 'primary' ORDER BY groupid`)
	if err != nil {
		t.Fatalf("%s: list the machines of the cluster: %v", citusVariable, err)
	}
	type machine struct {
		Group int
		Host  string
		Port  int
	}
	machines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[machine])
	if err != nil {
		t.Fatalf("%s: list the machines of the cluster: %v", citusVariable, err)
	}
	own := conn.Config()
	coordinator := machine{0, own.Host, int(own.Port)}
	if len(machines) > 0 && machines[0].Group == 0 {
		coordinator, machines = machines[0], machines[1:]
	}
	all := append([]machine{coordinator}, machines...)
	t.Cleanup(func() {
		for _, m := range all {
			dropCitus(t, at(m.Host, m.Port, "postgres"), at(m.Host, m.Port, name), name)
		}
	})
	db := &CitusDatabase{Coordinator: at(own.Host, int(own.Port), name)}
	for i, m := range all {
		citusExec(t, at(m.Host, m.Port, "postgres"), "CREATE DATABASE "+name)
		citusExec(t, at(m.Host, m.Port, name), "CREATE EXTENSION citus")
		if i > 0 {
			db.Workers = append(db.Workers, at(m.Host, m.Port, name))
		}
	}
	citusExec(t, db.Coordinator, "SELECT citus_set_coordinator_host($1, $2)", coordinator.Host, coordinator.Port)
	for _, m := range machines {
		citusExec(t, db.Coordinator, "SELECT citus_add_node($1, $2)", m.Host, m.Port)
	}
	return db
}

// dropCitus removes a database of one machine, also if it has prepared transactions.
func dropCitus(t testing.TB, maintenance, database, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	if conn, err := pgx.Connect(ctx, database); err == nil {
		rows, _ := conn.Query(ctx, `SELECT gid FROM pg_prepared_xacts WHERE database = current_database()`)
		prepared, _ := pgx.CollectRows(rows, pgx.RowTo[string]) // without an answer the DROP fails
		for _, gid := range prepared {
			conn.Exec(ctx, "ROLLBACK PREPARED '"+gid+"'")
		}
		conn.Close(ctx)
	}
	conn, err := pgx.Connect(ctx, maintenance)
	if err != nil {
		t.Errorf("drop a database of the Citus cluster: %v", err)
		return
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
		t.Errorf("drop a database of the Citus cluster: %v", err)
	}
}

func citusConn(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("%s: %v", citusVariable, err)
	}
	return conn
}

func citusExec(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	conn := citusConn(t, url)
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %s: %v", citusVariable, sql, err)
	}
}

// awaitServer waits until a server answers.
func awaitServer(url string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
