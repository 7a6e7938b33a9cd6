package operatorapi

import (
	"slices"

	"github.com/countersign-mfa/countersign/internal/nodes"
)

// A nodeObject is a node on the wire.
type nodeObject struct {
	Object     string  `json:"object"`
	ID         string  `json:"id"`
	Name       string  `json:"name"`
	Address    string  `json:"address"`
	Version    string  `json:"version"`
	Status     string  `json:"status"`
	KeyID      string  `json:"key_id"`
	Keyset     string  `json:"keyset_fingerprint"`
	StartedAt  *string `json:"started_at"`
	LastSeenAt *string `json:"last_seen_at"`
}

// nodes serves GET /nodes.
func (a *API) nodes(r *request) (result, error) {
	if err := r.onAll(); err != nil {
		return result{}, err
	}
	q, err := readQuery(r)
	if err != nil {
		return result{}, err
	}
	all, err := a.parts.Nodes.Nodes(r.Context(), nodes.Most)
	if err != nil {
		return result{}, err
	}
	now := a.opts.Now()
	slices.SortFunc(all, func(x, y nodes.Node) int { return x.StartedAt.Compare(y.StartedAt) })
	p, err := page(q, all, func(n nodes.Node) string { return n.ID }, func(n nodes.Node) any {
		o := nodeObject{"node", n.ID, n.Name, n.Address, n.Version, "serving", n.Key, n.Keyset, instant(n.StartedAt), instant(n.SeenAt)}
		if n.IsLost(now) {
			o.Status = "lost"
		}
		return o
	})
	if err != nil {
		return result{}, err
	}
	return ok(p)
}
