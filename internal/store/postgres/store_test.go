package postgres_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

var cluster *pgtest.Cluster

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if cluster, err = pgtest.New(); err != nil {
			fmt.Println("PostgreSQL is not there:", err)
			if testenv.ToolsRequired() {
				return 1
			}
			return 0
		}
		defer cluster.Remove()
		return m.Run()
	}())
}

// open returns an empty store in a new database.
func open(t testing.TB, opts postgres.Options) *postgres.Store {
	t.Helper()
	return openAt(t, migrated(t), opts)
}

func migrated(t testing.TB) string {
	t.Helper()
	return cluster.Copy(t, postgres.Migrate)
}

func openAt(t testing.TB, url string, opts postgres.Options) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestUntypedParameters checks that Open refuses the modes that cannot send arrays of
// bytes.
func TestUntypedParameters(t *testing.T) {
	for _, mode := range []string{"exec", "simple_protocol"} {
		_, err := postgres.Open(t.Context(), with(cluster.Database(t), "default_query_exec_mode="+mode), postgres.Options{})
		if err == nil || !strings.Contains(err.Error(), "default_query_exec_mode="+mode) {
			t.Errorf("Open = %v; want an error that names %s", err, mode)
		}
	}
}

// TestNoErrorShowsThePassword opens malformed URLs, and URLs without a usable database.
func TestNoErrorShowsThePassword(t *testing.T) {
	for _, url := range []string{
		"postgres://app:Tr0ub@dor%s3cret@localhost/cs",
		"postgres://app:p@s3cret@localhost",
		"postgres://a:b#c?s3cret/x@localhost/cs",
		"postgres://app:s3cret@localhost:1/cs?sslmode=disable",
		"postgres://app:s3cret@localhost:99999/cs?sslmode=disable",
		"postgres://app:s3cret@localhost/cs?pool_max_conns=s3cret",
		"postgres://app:s3cret@localhost/cs?connect_timeout=s3cret",
		"postgres://localhost/cs?password=s3cret&statement_cache_capacity=s3cret",
	} {
		_, openErr := postgres.Open(t.Context(), url, postgres.Options{})
		for _, err := range []error{openErr, postgres.Migrate(t.Context(), url)} {
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: %v; want an error without the password", url, err)
			}
		}
	}
	_, err := postgres.Open(t.Context(), "postgres://localhost/cs?sslmode=require&sslrootcert=/no/such/file", postgres.Options{})
	if err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("Open = %v; want an error that names the file", err)
	}
}

func TestStore(t *testing.T) {
	url := migrated(t)
	for _, group := range []int{1, 64} {
		t.Run(fmt.Sprintf("groups of %d", group), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) mfa.Store { return openEmpty(t, url, postgres.Options{Group: group}) })
		})
	}
}

// TestStoreOnMachines runs the statements for distributed tables on one server.
func TestStoreOnMachines(t *testing.T) {
	url := migrated(t)
	pgtest.Citus(t, connect(t, url))
	if err := postgres.Distribute(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, func(t *testing.T) mfa.Store { return openEmpty(t, url, postgres.Options{}) })
}

// openEmpty removes all rows from a database of earlier tests and returns a store of it.
// A new database for each test would take longer than the test.
func openEmpty(t *testing.T, url string, opts postgres.Options) *postgres.Store {
	t.Helper()
	exec(t, connect(t, url), `TRUNCATE factors, challenges, users, phones, replays, events, messages, tallies, event_contexts, deleted_factors, erasures, environments, api_keys, meta, webhook_endpoints, webhook_deliveries, webhook_attempts, bypasses, operators, operator_passkeys, operator_tickets, nodes, statistics, statistics_positions RESTART IDENTITY`)
	return openAt(t, url, opts)
}

func TestSignIn(t *testing.T) {
	url := migrated(t)
	storetest.RunSignIn(t, func(t *testing.T) signin.Store { return openEmpty(t, url, postgres.Options{}) })
}

func TestWebhooks(t *testing.T) {
	url := migrated(t)
	storetest.RunWebhooks(t, func(t *testing.T) storetest.Webhooks {
		s := openEmpty(t, url, postgres.Options{})
		return storetest.Webhooks{Store: s, Queue: s, Log: s}
	})
}

func TestStatistics(t *testing.T) {
	url := migrated(t)
	storetest.RunStatistics(t, func(t *testing.T) storetest.StatisticsStore { return openEmpty(t, url, postgres.Options{}) })
}

func TestAccess(t *testing.T) {
	url := migrated(t)
	storetest.RunAccess(t, func(t *testing.T) access.Store { return openEmpty(t, url, postgres.Options{}) })
}

func TestMeta(t *testing.T) {
	url := migrated(t)
	storetest.RunMeta(t, func(t *testing.T) storetest.MetaStore { return openEmpty(t, url, postgres.Options{}) })
}

func TestNodes(t *testing.T) {
	url := migrated(t)
	storetest.RunNodes(t, func(t *testing.T) nodes.Store { return openEmpty(t, url, postgres.Options{}) })
}
