package nodes_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/nodes"
)

// A memory is a Store that can fail.
type memory struct {
	mu    sync.Mutex
	rows  map[string]nodes.Node
	puts  int
	fails bool
}

// list returns a copy of the rows, and how often a row was stored.
func (m *memory) list() (map[string]nodes.Node, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.rows), m.puts
}

func (m *memory) fail(fails bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails = fails
}

func (m *memory) PutNode(_ context.Context, n nodes.Node) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails {
		return errors.New("the store does not answer")
	}
	m.puts++
	m.rows[n.ID] = n
	return nil
}

func (m *memory) DeleteNode(ctx context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rows, id)
	return ctx.Err()
}

func (m *memory) Nodes(context.Context, int) ([]nodes.Node, error) {
	rows, _ := m.list()
	return slices.Collect(maps.Values(rows)), nil
}

func (m *memory) SweepNodes(_ context.Context, before time.Time, _ int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.rows, func(_ string, n nodes.Node) bool { return n.SeenAt.Before(before) })
	return nil
}

func TestANodeIsListedWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{rows: map[string]nodes.Node{"node_dead": {SeenAt: time.Now().Add(-59 * time.Minute)}}}
		var keyset atomic.Pointer[string]
		keyset.Store(new("old"))
		h := nodes.NewHeartbeat(m, nodes.Node{Name: "web-1"}, nodes.Options{Keys: func() (string, string) { return "key", *keyset.Load() }})
		ctx, cancel := context.WithCancel(t.Context())
		go h.Run(ctx)
		synctest.Wait()
		rows, _ := m.list()
		if n := rows[h.ID()]; n.Name != "web-1" || n.Keyset != "old" || n.IsLost(time.Now()) || len(rows) != 2 {
			t.Errorf("after the start: %+v", rows)
		}
		keyset.Store(new("new"))
		h.Beat(ctx)
		if rows, _ = m.list(); rows[h.ID()].Keyset != "new" {
			t.Error("Beat does not store the keyset of this moment")
		}
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		rows, puts := m.list()
		if n := rows[h.ID()]; n.IsLost(time.Now()) || len(rows) != 1 || puts > 13 {
			t.Errorf("after ten minutes and %d writes: %+v", puts, rows)
		}
		m.fail(true)
		time.Sleep(nodes.LostAfter + time.Minute)
		if rows, _ = m.list(); !rows[h.ID()].IsLost(time.Now()) {
			t.Errorf("without a store: %+v", rows)
		}
		m.fail(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if rows, _ = m.list(); rows[h.ID()].IsLost(time.Now()) {
			t.Errorf("with the store again: %+v", rows)
		}
		cancel()
		synctest.Wait()
		if rows, _ = m.list(); len(rows) != 0 {
			t.Errorf("after the end: %+v", rows)
		}
	})
}
