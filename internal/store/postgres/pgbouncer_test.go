package postgres_test

import (
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// unprepared makes a store describe its statements instead of preparing them. In
// transaction mode, PgBouncer before 1.21 passes prepared statements to server
// connections that do not have them.
const unprepared = "default_query_exec_mode=cache_describe"

// TestPgBouncer uses a store through a PgBouncer in transaction mode.
func TestPgBouncer(t *testing.T) {
	url := with(cluster.Pool(t, cluster.Database(t)), unprepared)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Run("store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) mfa.Store { return openEmpty(t, url, postgres.Options{}) })
	})
	t.Run("access", func(t *testing.T) {
		storetest.RunAccess(t, func(t *testing.T) access.Store { return openEmpty(t, url, postgres.Options{}) })
	})
	t.Run("two nodes", func(t *testing.T) {
		nodes := []*postgres.Store{openAt(t, url, postgres.Options{}), openAt(t, url, postgres.Options{})}
		f := storeFactor(t, nodes[0])
		var work sync.WaitGroup
		for i := range 16 {
			work.Go(func() {
				if _, err := insertChallenge(t.Context(), nodes[i%2], f); err != nil {
					t.Errorf("Update = %v", err)
				}
				if err := nodes[i%2].Ping(t.Context()); err != nil {
					t.Errorf("Ping = %v", err)
				}
			})
		}
		work.Wait()
	})
}
