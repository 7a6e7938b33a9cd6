package server_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/server"
)

// TestOneKeysetWins starts three nodes with different keysets on an empty database at
// once, three times.
func TestOneKeysetWins(t *testing.T) {
	for round := range 3 {
		store := pgtest.Shared(t).Database(t)
		var errs [3]error
		start := make(chan struct{})
		var nodes sync.WaitGroup
		for i := range errs {
			cfg := postgresConfig(t) // with a keyset of its own
			cfg.Store = store
			nodes.Go(func() {
				<-start
				var s *server.Server
				if s, errs[i] = server.New(t.Context(), cfg, parts(t)); errs[i] == nil {
					s.Close()
				}
			})
		}
		close(start)
		nodes.Wait()
		served := 0
		for _, err := range errs {
			switch {
			case err == nil:
				served++
			case !strings.Contains(err.Error(), "this keyset is not the one"):
				t.Errorf("New = %v; want an error that the keyset is another one", err)
			}
		}
		if served != 1 {
			t.Errorf("round %d: %d nodes served; want 1", round, served)
		}
	}
}
