package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/pgtest"
)

// TestAFailoverLosesNothing kills the primary under load and promotes its
// synchronous standby. The nodes find the new primary without help.
func TestAFailoverLosesNothing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		losses int // requests without an answer before the promotion
	}{
		{"promoted at once", 0},
		{"promoted when all customers have felt it", 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			failOver(t, tc.losses)
		})
	}
}

func failOver(t *testing.T, losses int) {
	const customers = 12
	primary := pgtest.Start(t)
	primary.Exec(t, "CREATE DATABASE countersign")
	standby := primary.Standby(t, "standby")
	primary.Synchronize(t, "standby")
	store := fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/countersign?sslmode=disable&target_session_attrs=read-write",
		primary.Port, standby.Port)
	f := newFleet(t, store, 2, unlocking...)
	all := newCrowd(t, customers)
	all.moveTo(f.api)
	for _, c := range all {
		c.outages = true
	}

	load := all.work(t)
	load.awaitAnswers(500)
	usual, _ := load.longest()
	killed := time.Now()
	primary.Kill()
	load.awaitLosses(losses)
	f.awaitReadiness(http.StatusServiceUnavailable)
	asked := time.Now()
	standby.Promote(t)
	promoted := time.Now()
	f.awaitReadiness(http.StatusOK)
	t.Logf("the standby was promoted %v after the kill, within %v; both nodes were ready again %v later",
		asked.Sub(killed), promoted.Sub(asked), time.Since(promoted))
	load.awaitAnswers(500)
	gap, wait := load.longest()
	t.Logf("the time without service was %v, for one customer %v; before, nobody had an answer for %v", gap, wait, usual)
	load.end()

	for _, c := range all {
		c.outages = false
	}
	all.audit(t.Context())
	f.audit()
	for _, n := range f.nodes {
		if !n.isRunning() {
			t.Errorf("a node has ended:\n%s", n.log.tail())
		}
	}
	answers, lost, _ := load.look()
	t.Logf("%d answers came; %d requests had none, or 503", answers, lost)
}

// awaitReadiness waits until every node reports that it is ready, or that it is not.
func (f *fleet) awaitReadiness(status int) {
	f.t.Helper()
	for _, n := range f.nodes {
		api := n.apiAs("")
		poll(f.t, fmt.Sprintf("/readyz answers %d", status), func() bool {
			got, err := api.send(f.t.Context(), "GET", "/readyz", "", "")
			return err == nil && got.status == status
		})
	}
}
