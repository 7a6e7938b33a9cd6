package rows

import "github.com/countersign-mfa/countersign/internal/nodes"

// Node describes a node.
func Node(c Columns, n *nodes.Node) {
	c.Column("id", &n.ID)
	c.Column("name", &n.Name)
	c.Column("address", &n.Address)
	c.Column("version", &n.Version)
	c.Column("key_id", &n.Key)
	c.Column("keyset", &n.Keyset)
	c.Column("started_at", &n.StartedAt)
	c.Column("seen_at", &n.SeenAt)
}
