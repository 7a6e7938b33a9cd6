// Package nodes keeps a list of the nodes that serve a store. Each node says from time to time
// that it lives; rows of nodes that have ended without a word are removed after an hour.
package nodes

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Node is a process that serves a store.
type Node struct {
	ID        string // of the process, drawn at its start
	Name      string // of the machine
	Address   string // where it listens, as its setting has it
	Version   string // of the program
	Key       string // the id of the key that seals new values
	Keyset    string // a fingerprint of the ids and states of all keys: equal on nodes with the same keyset
	StartedAt time.Time
	SeenAt    time.Time // when it last said that it lives
}

// LostAfter is how long after its last word a node counts as lost.
const LostAfter = 3 * time.Minute

// IsLost reports whether the node has ended without a word, or does not reach the store.
func (n Node) IsLost(now time.Time) bool { return now.Sub(n.SeenAt) > LostAfter }

// A Store keeps the rows of nodes. storetest.RunNodes states its promises.
type Store interface {
	// PutNode stores the row of a node, in place of an earlier one with its id.
	PutNode(ctx context.Context, n Node) error
	// DeleteNode removes the row of a node, if it is there.
	DeleteNode(ctx context.Context, id string) error
	// Nodes lists up to limit nodes, those seen last first.
	Nodes(ctx context.Context, limit int) ([]Node, error)
	// SweepNodes removes up to limit nodes that were last seen before a time.
	SweepNodes(ctx context.Context, before time.Time, limit int) error
}

// Most is how many nodes a list has at most.
const Most = 100

const (
	every       = time.Minute
	forgetAfter = time.Hour
	sweepBatch  = 500
	patience    = 5 * time.Second // with the store
)

// A Heartbeat stores the row of this node from time to time.
type Heartbeat struct {
	store Store
	node  Node
	opts  Options
	mu    sync.Mutex // one row after another, so the newest keyset stays
}

// Options change how a Heartbeat works; zero fields take their defaults.
type Options struct {
	Keys   func() (key, keyset string) // Node.Key and Node.Keyset of this moment
	Every  time.Duration               // default a minute
	Now    func() time.Time            // default time.Now
	Logger *slog.Logger                // default slog.Default()
}

// NewHeartbeat returns the Heartbeat of a node that starts now. Its ID, StartedAt and keys are
// set here.
func NewHeartbeat(store Store, n Node, opts Options) *Heartbeat {
	opts.Now = wallclock.Or(opts.Now)
	if opts.Every <= 0 {
		opts.Every = every
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	n.ID = "node_" + rand.Text()
	n.StartedAt = opts.Now().UTC().Truncate(time.Millisecond)
	return &Heartbeat{store: store, node: n, opts: opts}
}

// ID returns the id of this node.
func (h *Heartbeat) ID() string { return h.node.ID }

// Run stores the row of the node until ctx ends, and then removes it. A store that does not
// answer only makes the row old.
func (h *Heartbeat) Run(ctx context.Context) {
	tick := time.NewTicker(h.opts.Every)
	defer tick.Stop()
	for ctx.Err() == nil {
		h.Beat(ctx)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := h.store.DeleteNode(ctx, h.node.ID); err != nil {
		h.opts.Logger.Debug("the row of this node is not removed", "error", err)
	}
}

// Beat stores the row of the node now, for example because the keyset has changed.
func (h *Heartbeat) Beat(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.beat(ctx); err != nil && ctx.Err() == nil {
		h.opts.Logger.Debug("the row of this node is not stored", "error", err)
	}
}

func (h *Heartbeat) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n := h.node
	n.SeenAt = h.opts.Now().UTC().Truncate(time.Millisecond)
	if h.opts.Keys != nil {
		n.Key, n.Keyset = h.opts.Keys()
	}
	if err := h.store.PutNode(ctx, n); err != nil {
		return err
	}
	return h.store.SweepNodes(ctx, n.SeenAt.Add(-forgetAfter), sweepBatch)
}
