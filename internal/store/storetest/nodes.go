package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/nodes"
)

// RunNodes tests every promise of nodes.Store. open returns an empty store.
func RunNodes(t *testing.T, open func(*testing.T) nodes.Store) {
	check := func(promise string, test func(*testing.T, nodes.Store)) {
		t.Run(promise, func(t *testing.T) { test(t, open(t)) })
	}
	check("every field of a node comes back", nodeComesBack)
	check("a put node replaces the stored one", nodeIsReplaced)
	check("nodes are listed up to a limit, those seen last first", nodesAreListed)
	check("old nodes are swept up to a limit", oldNodesAreSwept)
}

func newNode(id string, seen time.Time) nodes.Node {
	return nodes.Node{ID: id, Name: "web-1", StartedAt: morning, SeenAt: seen}
}

func putNodes(t *testing.T, s nodes.Store, all ...nodes.Node) {
	t.Helper()
	for _, n := range all {
		if err := s.PutNode(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
}

func wantNodes(t *testing.T, s nodes.Store, limit int, want ...nodes.Node) {
	t.Helper()
	got, err := s.Nodes(t.Context(), limit)
	if err != nil {
		t.Fatal(err)
	}
	sameList(t, got, want)
}

func nodeComesBack(t *testing.T, s nodes.Store) {
	full := nodes.Node{
		ID: "node_1", Name: "wéb-1", Address: "[::1]:8080", Version: "1.2.3", Key: "0a1b2c3d", Keyset: "ffee", StartedAt: morning, SeenAt: atLast,
	}
	putNodes(t, s, full)
	wantNodes(t, s, 10, full)
}

func nodeIsReplaced(t *testing.T, s nodes.Store) {
	n := newNode("node_1", morning)
	putNodes(t, s, n)
	n.Key, n.SeenAt = "0a1b2c3d", morning.Add(time.Minute)
	putNodes(t, s, n)
	wantNodes(t, s, 10, n)
}

func nodesAreListed(t *testing.T, s nodes.Store) {
	wantNodes(t, s, 10)
	a, b, c := newNode("node_a", morning), newNode("node_b", morning.Add(2*time.Minute)), newNode("node_c", morning.Add(time.Minute))
	putNodes(t, s, a, b, c)
	wantNodes(t, s, 10, b, c, a)
	wantNodes(t, s, 2, b, c)
	if err := errors.Join(s.DeleteNode(t.Context(), "node_c"), s.DeleteNode(t.Context(), "node_x")); err != nil {
		t.Fatal(err)
	}
	wantNodes(t, s, 10, b, a)
}

func oldNodesAreSwept(t *testing.T, s nodes.Store) {
	a, b, c := newNode("node_a", morning), newNode("node_b", morning.Add(time.Minute)), newNode("node_c", morning.Add(2*time.Minute))
	putNodes(t, s, c, b, a)
	if err := s.SweepNodes(t.Context(), c.SeenAt, 1); err != nil {
		t.Fatal(err)
	}
	wantNodes(t, s, 10, c, b)
	if err := s.SweepNodes(t.Context(), c.SeenAt, 10); err != nil {
		t.Fatal(err)
	}
	wantNodes(t, s, 10, c)
}
