package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A KeysetStatus describes the keyset of a store and how far a rotation has come.
type KeysetStatus struct {
	Source string      `json:"source"` // where the keyset comes from
	Keys   []KeyStatus `json:"keys"`
	Rows   KeyRows     `json:"rows"`
	// Resealed is whether the servers have sealed all rows under the primary key. Recorded
	// answers and challenges are not sealed again: they expire.
	Resealed bool          `json:"resealed"`
	Steps    []KeysetEvent `json:"steps"` // the last recorded steps of rotations, oldest first
	Nodes    []NodeKeyset  `json:"nodes"` // that serve the store now
	Next     string        `json:"next"`  // what to do next
}

// A KeyStatus is a key of a keyset.
type KeyStatus struct {
	ID    string `json:"id"`
	Use   string `json:"use"`   // seal, mac, sign or index
	State string `json:"state"` // waiting, primary or old
	Rows  *int   `json:"rows"`  // counted rows with a value under the key; nil for signing keys and the index key
}

// KeyRows says which rows were counted.
type KeyRows struct {
	Counted    int            `json:"counted"`
	All        bool           `json:"all"`          // whether these are all rows of the store
	NeedOldKey int            `json:"need_old_key"` // counted rows that could not be read without an old key
	ByKind     map[string]int `json:"need_old_key_by_kind"`
}

// A KeysetEvent is a recorded step of a rotation.
type KeysetEvent struct {
	Step string    `json:"step"` // add, promote or retire
	At   time.Time `json:"at"`
	By   string    `json:"by"`
}

// A NodeKeyset says which keyset a node has.
type NodeKeyset struct {
	Name    string    `json:"name"`
	Address string    `json:"address"`
	Key     string    `json:"key"`     // the id of the key that seals new values
	Current bool      `json:"current"` // it has the keyset that was read, in the same state
	SeenAt  time.Time `json:"seen_at"`
}

// nodeKeysets returns the keysets of the nodes that are not lost.
func nodeKeysets(ctx context.Context, store nodes.Store, keys *secret.Keyset, now time.Time) ([]NodeKeyset, error) {
	all, err := store.Nodes(ctx, nodes.Most)
	if err != nil {
		return nil, fmt.Errorf("read the nodes: %w", err)
	}
	_, current := describeKeyset(keys)
	found := []NodeKeyset{}
	for _, n := range all {
		if !n.IsLost(now) {
			found = append(found, NodeKeyset{n.Name, n.Address, n.Key, n.Keyset == current, n.SeenAt})
		}
	}
	return found, nil
}

// keySample is how many rows of each kind are counted unless all are.
const keySample = 20_000

// shownSteps is how many steps of rotations a KeysetStatus has.
const shownSteps = 6

// StatusOfKeyset reads the keyset that cfg names and the rows of its store, which servers may
// be using: of each kind all rows, or the first 20,000. It calls progress from time to time
// with the kind and the number of rows counted so far.
func StatusOfKeyset(ctx context.Context, cfg config.Config, all bool, progress func(kind string, rows int)) (status KeysetStatus, err error) {
	store, err := openInUse(ctx, cfg.Store)
	if err != nil {
		return status, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	keys, err := keysetInUse(ctx, cfg, store.transfer)
	if err != nil {
		return status, err
	}
	source, err := KeysetSource(cfg)
	if err != nil {
		return status, err
	}
	proof, err := store.transfer.Meta(ctx, metaKeyset)
	if err != nil {
		return status, err
	}
	status = KeysetStatus{Source: keysetName(source), Resealed: proof == nil || !keys.Stale(proof)}
	by, err := status.count(ctx, store.transfer, keys, all, progress)
	if err != nil {
		return status, err
	}
	for _, key := range keys.Keys() {
		k := KeyStatus{ID: key.ID, Use: key.Use, State: key.State}
		if key.Use == secret.UseSeal || key.Use == secret.UseMAC {
			n := by[key.ID]
			k.Rows = &n
		}
		status.Keys = append(status.Keys, k)
	}
	if status.Steps, err = rotationSteps(ctx, store.events); err != nil {
		return status, err
	}
	if status.Nodes, err = nodeKeysets(ctx, store.nodes, keys, wallclock.Or(nil)()); err != nil {
		return status, err
	}
	status.Next = status.next(receiptsUntil(keys, status.Steps, time.Time{}), wallclock.Or(nil)())
	return status, nil
}

// count counts rows, and returns their number by the id of the key.
func (s *KeysetStatus) count(ctx context.Context, store transfer.Store, keys *secret.Keyset, all bool, progress func(string, int)) (map[string]int, error) {
	most := keySample
	if all {
		most = 0
	}
	by := make(map[string]int)
	s.Rows = KeyRows{All: true, ByKind: make(map[string]int)}
	now := wallclock.Or(nil)()
	for _, kind := range transfer.Kinds {
		uses, err := usesOf(ctx, store, kind, keys, now, most, func(rows int) { progress(string(kind), s.Rows.Counted+rows) })
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", kind, err)
		}
		s.Rows.Counted += uses.rows
		s.Rows.NeedOldKey += uses.old
		s.Rows.All = s.Rows.All && !uses.more
		if uses.old > 0 {
			s.Rows.ByKind[string(kind)] = uses.old
		}
		for id, n := range uses.by {
			by[id] += n
		}
	}
	return by, nil
}

// next says what the next step of a rotation is. receipts is when the last receipt of an old key expires.
func (s *KeysetStatus) next(receipts, now time.Time) string {
	states := make(map[string]bool)
	for _, k := range s.Keys {
		states[k.State] = true
	}
	stale := slices.IndexFunc(s.Nodes, func(n NodeKeyset) bool { return !n.Current })
	switch {
	case stale >= 0:
		return fmt.Sprintf("give the keyset to every node and send SIGHUP: %s at %s has another one", s.Nodes[stale].Name, s.Nodes[stale].Address)
	case states[secret.KeyWaiting]:
		return "give the keyset to every node and send SIGHUP, then run 'countersign keyset promote'"
	case !states[secret.KeyOld]:
		return "nothing; 'countersign keyset add' begins a rotation"
	case !s.Resealed:
		return "give the keyset to every node and send SIGHUP; they seal old rows again, within about 10 minutes"
	case s.Rows.NeedOldKey > 0:
		return "wait for recorded answers to expire, up to a day, then run 'countersign keyset retire'"
	case now.Before(receipts):
		return fmt.Sprintf("wait until %s, when the last receipt of the old key has expired, then run 'countersign keyset retire'", receipts.UTC().Format(time.RFC3339))
	case !s.Rows.All:
		return "run 'countersign keyset retire', which reads all rows first and refuses if one needs an old key"
	}
	return "run 'countersign keyset retire'"
}

// rotationSteps returns the last recorded steps of rotations.
func rotationSteps(ctx context.Context, log events.Log) (steps []KeysetEvent, err error) {
	service := events.NewService(log, events.Options{Keys: func() *secret.Keyset { return nil }})
	query := events.Query{Types: []mfa.EventType{mfa.KeysetRotated}}
	for {
		page, err := service.List(ctx, query)
		if err != nil {
			return nil, fmt.Errorf("read the events: %w", err)
		}
		for _, e := range page.Events {
			steps = append(steps, KeysetEvent{Step: e.Reason, At: e.At, By: e.Caller})
		}
		if !page.More {
			return steps[max(0, len(steps)-shownSteps):], nil
		}
		query.After = page.Last
	}
}
