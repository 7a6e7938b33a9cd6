package e2e_test

import (
	"bufio"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
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
	store := storeIn(t, dir)
	var counted, logged map[string]int64
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		logged = recount(t, store)
		counted = statistics(t, store)
		if maps.Equal(counted, logged) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the statistics count\n%v\nbut the log has\n%v", counted, logged)
		}
	}
	if logged["challenge.created"] < rounds || logged["authentication.mfa_succeeded"] == 0 {
		t.Errorf("only %v happened", logged)
	}
	t.Logf("%d kills; the counts hold: %v", rounds, counted)
}

// statistics returns the number of events by type, as 'countersign stats' has them.
func statistics(t *testing.T, store string) map[string]int64 {
	t.Helper()
	var answer struct {
		Events map[string]int64 `json:"events"`
	}
	text := succeed(t, "stats", "--env", "sandbox", "--json", "--store", store)
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return answer.Events
}

// recount counts the events in the log by type.
func recount(t *testing.T, store string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	lines := bufio.NewScanner(strings.NewReader(succeed(t, "events", "list", "--env", "sandbox", "--limit", "0", "--json", "--store", store)))
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
