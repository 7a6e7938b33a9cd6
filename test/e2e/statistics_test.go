package e2e_test

import (
	"bufio"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/pgtest"
)

// TestStatisticsCountOnceAcrossKills kills the server repeatedly while it serves requests and
// counts their events. In the end the statistics equal a recount of the log.
func TestStatisticsCountOnceAcrossKills(t *testing.T) {
	t.Parallel()
	const rounds, customers = 5, 8
	dir := t.TempDir()
	all := newCrowd(t, customers)
	for range rounds {
		p := dev(t, dir, unlocking...)
		all.moveTo(p.api())
		all.liveUntil(t.Context(), 300+rand.IntN(300), p.kill)
	}
	dev(t, dir, unlocking...)
	logged := awaitRecount(t, storeIn(t, dir), "sandbox")
	if logged["challenge.created"] < rounds || logged["authentication.mfa_succeeded"] == 0 {
		t.Errorf("only %v happened", logged)
	}
	t.Logf("%d kills; the counts hold: %v", rounds, logged)
}

// TestTwoNodesCountEachEventOnce has two nodes over one database, kills each of them twice while
// the other one serves, and then compares the statistics with the log.
func TestTwoNodesCountEachEventOnce(t *testing.T) {
	t.Parallel()
	store := pgtest.Shared(t).Database(t)
	f := newFleet(t, store, 2, unlocking...)
	want := int64(0)
	more := func(n int) {
		fail(f.api, n)
		want += int64(n)
	}
	for round := range 4 {
		more(10)
		f.replace(round%2, func() { more(5) })
	}
	more(10)
	if logged := awaitRecount(t, store, "staging"); logged["authentication.mfa_failed"] < want {
		t.Errorf("the log has %v; want %d wrong codes", logged, want)
	}
}

// awaitRecount waits until the statistics equal a recount of the log, and returns the counts.
func awaitRecount(t *testing.T, store, env string) map[string]int64 {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) {
		logged := recount(t, store, env)
		counted := statistics(t, store, env)
		if maps.Equal(counted, logged) {
			return logged
		}
		if time.Now().After(deadline) {
			t.Fatalf("the statistics count\n%v\nbut the log has\n%v", counted, logged)
		}
	}
}

// statistics returns the number of events by type, as 'countersign stats' has them.
func statistics(t *testing.T, store, env string) map[string]int64 {
	t.Helper()
	var answer struct {
		Events map[string]int64 `json:"events"`
	}
	text := succeed(t, "stats", "--env", env, "--json", "--store", store)
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return answer.Events
}

// recount counts the events in the log by type.
func recount(t *testing.T, store, env string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	lines := bufio.NewScanner(strings.NewReader(succeed(t, "events", "list", "--env", env, "--limit", "0", "--json", "--store", store)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Event string `json:"event"`
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		all[e.Event]++
	}
	return all
}
