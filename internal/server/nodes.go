package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// newHeartbeat returns the heartbeat of this node.
func (s *Server) newHeartbeat() *nodes.Heartbeat {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return nodes.NewHeartbeat(s.store.nodes, nodes.Node{Name: name, Address: s.cfg.Addr, Version: s.version}, nodes.Options{
		Keys:   func() (string, string) { return describeKeyset(s.mfa.Load().Keys()) },
		Now:    s.now,
		Logger: s.log,
	})
}

// describeKeyset returns the id of the key that seals new values, and a fingerprint of the ids and
// states of all keys. Both say nothing about the keys.
func describeKeyset(keys *secret.Keyset) (key, fingerprint string) {
	h := sha256.New()
	for _, k := range keys.Keys() {
		if key == "" && k.Use == secret.UseSeal && k.State == secret.KeyPrimary {
			key = k.ID
		}
		fmt.Fprintln(h, k.ID, k.Use, k.State)
	}
	return key, hex.EncodeToString(h.Sum(nil)[:8])
}

// nodes lists the nodes that serve the store, and says which one is this.
func (s *Server) nodes(ctx context.Context) ([]nodes.Node, string, error) {
	all, err := s.store.nodes.Nodes(ctx, nodes.Most)
	return all, s.heartbeat.ID(), err
}
