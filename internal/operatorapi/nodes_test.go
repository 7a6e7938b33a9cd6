package operatorapi_test

import (
	"net/http"
	"testing"

	"github.com/countersign-mfa/countersign/internal/nodes"
)

func TestNodesAreListed(t *testing.T) {
	w := newFixture(t)
	status := func() any {
		t.Helper()
		list := w.do("GET", "/nodes", "").is(http.StatusOK).at("data").([]any)
		if len(list) != 1 {
			t.Fatalf("nodes = %v; want one", list)
		}
		n := list[0].(map[string]any)
		if n["name"] != "web-1" || n["address"] != ":8080" || n["version"] != "1.2.3" || n["key_id"] != "5f0d9c21" || n["keyset_fingerprint"] != "aaaa" {
			t.Errorf("the node is %v", n)
		}
		return n["status"]
	}
	if got := status(); got != "serving" {
		t.Errorf("the node is %v", got)
	}
	if w.clock.Advance(nodes.LostAfter + 1e6); status() != "lost" {
		t.Error("a node without a word is not lost")
	}
}
