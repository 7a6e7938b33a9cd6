package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// TestEventsAreInOrder lets three nodes write events while connections are cut at each point
// of a transaction, and then kills the primary and promotes its synchronous standby.
func TestEventsAreInOrder(t *testing.T) {
	for _, group := range []int{1, 64} {
		t.Run(fmt.Sprintf("groups of %d", group), func(t *testing.T) {
			t.Parallel()
			primary := pgtest.Start(t)
			direct := primary.Database(t)
			if err := postgres.Migrate(t.Context(), direct); err != nil {
				t.Fatal(err)
			}
			standby := primary.Standby(t, "one")
			primary.Synchronize(t, "one")
			opts := postgres.Options{Group: group, Logger: slog.New(slog.DiscardHandler)}
			var nodes []mfa.Store
			var proxies []*proxy
			for range 3 {
				both, before, after := proxiedOnHosts(t, direct, standby)
				s := openAt(t, both, opts)
				t.Cleanup(after.close)
				t.Cleanup(before.close)
				s.Hurry(5*time.Second, 500*time.Millisecond)
				nodes, proxies = append(nodes, s), append(proxies, before)
			}
			reader := openAt(t, onHosts(t, direct, primary, standby), opts)
			const callers, rounds, cuts = 8, 40, 24
			storetest.EventStorm{
				Nodes: nodes, Reader: reader, Callers: callers, Rounds: rounds,
				Trouble: func(done func() int) {
					points := []point{readsArrived, readsAnswered, commitArrived, commitAnswered}
					for i := range cuts {
						await(func() bool { return done() > i*len(nodes)*callers*rounds*2/3/cuts })
						if p := proxies[i%len(proxies)]; i%8 == 7 {
							p.cutAll()
						} else {
							p.at(points[i%len(points)], cut)
						}
					}
					primary.Kill()
					standby.Promote(t)
				},
			}.Run(t)
		})
	}
}

// proxiedOnHosts returns the URL of a database on two servers, each behind a proxy.
func proxiedOnHosts(t *testing.T, direct string, standby *pgtest.Cluster) (both string, before, after *proxy) {
	t.Helper()
	var hosts string
	for i, server := range []string{direct, onHosts(t, direct, standby)} {
		through, p := proxied(t, server)
		u, err := url.Parse(through)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			hosts, before, both = u.Host, p, through
			continue
		}
		after = p
		u.Host = hosts + "," + u.Host
		both = with(u.String(), "target_session_attrs=read-write")
	}
	return both, before, after
}

// TestAReaderWithoutNewEventsWritesNothing reads where nothing follows. A move of the epoch
// would be a write of the database.
func TestAReaderWithoutNewEventsWritesNothing(t *testing.T) {
	db := migrated(t)
	s := openAt(t, db, postgres.Options{})
	f := storetest.NewFactor(storetest.NewUser())
	e := mfa.AppendEvent{Event: storetest.NewEvent(f)}
	if err := s.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, storetest.Writing(e)); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	epoch := func() (n int64) {
		if err := conn.QueryRow(t.Context(), "SELECT last_value FROM event_epochs").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	q := events.Query{Environment: e.Environment, Limit: 10}
	before := epoch()
	page, err := s.ReadEvents(t.Context(), q)
	if err != nil || len(page.Events) != 1 {
		t.Fatalf("read %d events, %v; want 1", len(page.Events), err)
	}
	after := epoch()
	if after <= before {
		t.Errorf("the epoch is %d after a read of an event; want more than %d", after, before)
	}
	for _, q := range []events.Query{
		{Environment: q.Environment, After: page.Last, Limit: 10}, {Environment: q.Environment + 1, Limit: 10},
		{Environment: q.Environment, Since: time.Now().AddDate(1, 0, 0), Limit: 10},
	} {
		if page, err := s.ReadEvents(t.Context(), q); err != nil || len(page.Events) != 0 || page.More || page.Last != q.After {
			t.Errorf("read %+v, %v; want nothing", page, err)
		}
	}
	if n := epoch(); n != after {
		t.Errorf("reads without events moved the epoch from %d to %d", after, n)
	}
}
