package sqlite

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

var nodeRows = newTable("nodes", rows.Node, "id")

var selectNodes = `SELECT ` + nodeRows.columns + ` FROM nodes ORDER BY seen_at DESC LIMIT ?`

const (
	deleteNode = `DELETE FROM nodes WHERE id = ?`
	sweepNodes = `DELETE FROM nodes WHERE id IN (SELECT id FROM nodes WHERE seen_at < ? ORDER BY seen_at LIMIT ?)`
)

// PutNode stores the row of a node; see nodes.Store.
func (s *Store) PutNode(ctx context.Context, n nodes.Node) error {
	return s.change(ctx, func(c *conn) error { return domainError(nodeRows.bind(c.prepare(nodeRows.put), &n).one()) })
}

// DeleteNode removes the row of a node; see nodes.Store.
func (s *Store) DeleteNode(ctx context.Context, id string) error {
	return s.change(ctx, func(c *conn) error {
		_, err := c.prepare(deleteNode).text(id).exec()
		return domainError(err)
	})
}

// Nodes lists nodes; see nodes.Store.
func (s *Store) Nodes(ctx context.Context, limit int) (found []nodes.Node, err error) {
	err = s.read(ctx, func(c *conn) error {
		return nodeRows.list(c.prepare(selectNodes).int(int64(limit)), &found)
	})
	return found, err
}

// SweepNodes removes old rows of nodes; see nodes.Store.
func (s *Store) SweepNodes(ctx context.Context, before time.Time, limit int) error {
	return s.change(ctx, func(c *conn) error {
		_, err := c.prepare(sweepNodes).time(before).int(int64(limit)).exec()
		return domainError(err)
	})
}
