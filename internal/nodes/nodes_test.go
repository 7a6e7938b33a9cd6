package nodes_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/nodes"
)

// A memory is a Store that can fail.
type memory struct {
	rows  map[string]nodes.Node
	puts  int
	fails bool
}

func (m *memory) PutNode(_ context.Context, n nodes.Node) error {
	if m.fails {
		return errors.New("the store does not answer")
	}
	m.puts++
	m.rows[n.ID] = n
	return nil
}

func (m *memory) DeleteNode(ctx context.Context, id string) error {
	delete(m.rows, id)
	return ctx.Err()
}

func (m *memory) Nodes(context.Context, int) ([]nodes.Node, error) {
	return slices.Collect(maps.Values(m.rows)), nil
}

func (m *memory) SweepNodes(_ context.Context, before time.Time, _ int) error {
	maps.DeleteFunc(m.rows, func(_ string, n nodes.Node) bool { return n.SeenAt.Before(before) })
	return nil
}

func TestANodeIsListedWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{rows: map[string]nodes.Node{"node_dead": {SeenAt: time.Now().Add(-59 * time.Minute)}}}
		keyset := "old"
		h := nodes.NewHeartbeat(m, nodes.Node{Name: "web-1"}, nodes.Options{Keys: func() (string, string) { return "key", keyset }})
		ctx, cancel := context.WithCancel(t.Context())
		go h.Run(ctx)
		synctest.Wait()
		if n := m.rows[h.ID()]; n.Name != "web-1" || n.Keyset != "old" || n.IsLost(time.Now()) || len(m.rows) != 2 {
			t.Errorf("after the start: %+v", m.rows)
		}
		keyset = "new"
		h.Beat(ctx)
		if m.rows[h.ID()].Keyset != "new" {
			t.Error("Beat does not store the keyset of this moment")
		}
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if n := m.rows[h.ID()]; n.IsLost(time.Now()) || len(m.rows) != 1 || m.puts > 13 {
			t.Errorf("after ten minutes and %d writes: %+v", m.puts, m.rows)
		}
		m.fails = true
		time.Sleep(nodes.LostAfter + time.Minute)
		if n := m.rows[h.ID()]; !n.IsLost(time.Now()) {
			t.Errorf("without a store: %+v", n)
		}
		m.fails = false
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := m.rows[h.ID()]; n.IsLost(time.Now()) {
			t.Errorf("with the store again: %+v", n)
		}
		cancel()
		synctest.Wait()
		if len(m.rows) != 0 {
			t.Errorf("after the end: %+v", m.rows)
		}
	})
}
