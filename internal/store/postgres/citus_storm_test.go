package postgres_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// TestCitusEventsAreInOrder lets three nodes write events to a real cluster while workers and
// the coordinator are killed in the middle of commits and start again. Half of the rounds
// append events to several workers in one transaction, with a two-phase commit.
func TestCitusEventsAreInOrder(t *testing.T) {
	for name, group := range map[string]int{"one worker in a transaction": 0, "several workers in a transaction": 16} {
		t.Run(name, func(t *testing.T) {
			db := onCitus(t)
			coordinator := pgtest.Attach(t, db.Coordinator)
			var workers []*pgtest.Server
			for _, url := range db.Workers {
				workers = append(workers, pgtest.Attach(t, url))
			}
			opts := postgres.Options{Group: group, Logger: slog.New(slog.DiscardHandler)}
			var nodes []mfa.Store
			for range 3 {
				s := openAt(t, db.Coordinator, opts)
				s.Hurry(5*time.Second, 2*time.Second)
				nodes = append(nodes, s)
			}
			var reader events.Log = openAt(t, db.Coordinator, opts)
			const callers, rounds, kills = 6, 80, 8
			storetest.EventStorm{
				Nodes: nodes, Reader: reader, Callers: callers, Rounds: rounds,
				Trouble: func(done func() int) {
					for i := range kills {
						await(func() bool { return done() > i*len(nodes)*callers*rounds*2/3/kills })
						server := coordinator
						if i%2 == 0 {
							server = workers[i/2%len(workers)]
						}
						server.Kill()
						server.Boot(t)
					}
				},
			}.Run(t)
		})
	}
}
