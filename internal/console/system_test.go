package console_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/nodes"
)

func TestTheSystemPageShowsNodesAndDifferentKeysets(t *testing.T) {
	f := newFixture(t, console.Options{})
	put := func(id, name, keyset string, seen time.Time) {
		t.Helper()
		if err := f.store.PutNode(t.Context(), nodes.Node{ID: id, Name: name, Keyset: keyset, StartedAt: seen, SeenAt: seen}); err != nil {
			t.Fatal(err)
		}
	}
	now := f.clock.Now()
	put("node_this", "web-<1>", "aaaa", now)
	put("node_lost", "web-2", "bbbb", now.Add(-nodes.LostAfter-time.Second))
	page := f.page("/console/system")
	if !strings.Contains(page, "web-&lt;1&gt; <span class=\"quiet\">this node</span>") || strings.Count(page, ">lost<") != 1 || strings.Count(page, ">serving<") != 1 {
		t.Errorf("the page is %s", page)
	}
	if strings.Contains(page, "different keysets") {
		t.Error("the keyset of a lost node counts")
	}
	put("node_old", "web-3", "bbbb", now)
	if !strings.Contains(f.page("/console/system"), "different keysets") {
		t.Error("the page does not warn of an old keyset")
	}
}
