package postgres

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

var nodeRows = newTable("nodes", 1, rows.Node)

var (
	selectNodes = `SELECT ` + nodeRows.list("n") + ` FROM nodes n ORDER BY n.seen_at DESC LIMIT $1`
	putNode     = nodeRows.insert + ` ON CONFLICT (id) DO UPDATE SET name = excluded.name, address = excluded.address, version = excluded.version,` +
		` key_id = excluded.key_id, keyset = excluded.keyset, started_at = excluded.started_at, seen_at = excluded.seen_at`
)

const (
	deleteNode = `DELETE FROM nodes WHERE id = $1`
	sweepNodes = `DELETE FROM nodes WHERE id IN (SELECT id FROM nodes WHERE seen_at < $1 ORDER BY seen_at LIMIT $2)`
)

// PutNode stores the row of a node; see nodes.Store.
func (s *Store) PutNode(ctx context.Context, n nodes.Node) error {
	_, err := s.exec(ctx, putNode, nodeRows.values(&n)...)
	return domainError(err)
}

// DeleteNode removes the row of a node; see nodes.Store.
func (s *Store) DeleteNode(ctx context.Context, id string) error {
	_, err := s.exec(ctx, deleteNode, id)
	return domainError(err)
}

// Nodes lists nodes; see nodes.Store.
func (s *Store) Nodes(ctx context.Context, limit int) ([]nodes.Node, error) {
	return collect(ctx, s, nodeRows.collected, selectNodes, limit)
}

// SweepNodes removes old rows of nodes; see nodes.Store.
func (s *Store) SweepNodes(ctx context.Context, before time.Time, limit int) error {
	_, err := s.exec(ctx, sweepNodes, before, limit)
	return domainError(err)
}
