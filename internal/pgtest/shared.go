package pgtest

import (
	"os"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// Chosen reports whether tests that start a server use PostgreSQL instead of
// SQLite.
func Chosen() bool { return os.Getenv("COUNTERSIGN_TEST_STORE") == "postgres" }

var shared struct {
	once    sync.Once
	cluster *Cluster
	err     error
}

// Shared is Start for the tests of a package that leave their cluster running: the
// first of them starts it. TestMain of the package calls RemoveShared at the end.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	shared.once.Do(func() { shared.cluster, shared.err = New() })
	if shared.err != nil {
		if !testenv.ToolsRequired() {
			t.Skipf("PostgreSQL is not there: %v", shared.err)
		}
		t.Fatal(shared.err)
	}
	return shared.cluster
}

// RemoveShared ends the cluster that Shared started, if it did.
func RemoveShared() {
	if shared.cluster != nil {
		shared.cluster.Remove()
	}
}
