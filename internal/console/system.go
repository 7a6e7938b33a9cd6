package console

import (
	"net/http"
	"time"

	"github.com/countersign-mfa/countersign/internal/nodes"
)

// A Section is a part of the page about the server.
type Section struct {
	Name  string
	Facts []Fact
}

// A Fact is a line of the page about the server.
type Fact struct {
	Name  string
	Value string
	At    time.Time // a time that belongs to the value; or the zero time
	Tone  string    // "good", "warn" or "bad" for a state; otherwise ""
}

// A systemView is the view of the page about the server.
type systemView struct {
	Sections []Section
	Nodes    []nodeRow
	Mixed    bool // living nodes have different keysets
}

// A nodeRow is a node in the table.
type nodeRow struct {
	nodes.Node
	Status stateView
	IsThis bool // it answers this request
}

// system serves GET /console/system.
func (c *Console) system(w http.ResponseWriter, r *request) error {
	v := systemView{Sections: c.parts.System(r.Context())}
	all, this, err := c.parts.Nodes(r.Context())
	if err != nil {
		return err
	}
	keyset := ""
	for _, n := range all {
		row := nodeRow{Node: n, Status: stateView{"serving", "good"}, IsThis: n.ID == this}
		switch {
		case n.IsLost(c.opts.Now()):
			row.Status = stateView{"lost", "bad"}
		case keyset == "":
			keyset = n.Keyset
		default:
			v.Mixed = v.Mixed || n.Keyset != keyset
		}
		v.Nodes = append(v.Nodes, row)
	}
	return c.showPage(w, r, "System", "system.html", v)
}
