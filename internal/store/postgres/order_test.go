package postgres_test

import (
	"fmt"
	"log/slog"
	"net/url"
	"testing"
	"time"

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
