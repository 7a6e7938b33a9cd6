package console

import (
	"net/http"
	"time"
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
type systemView struct{ Sections []Section }

// system serves GET /console/system.
func (c *Console) system(w http.ResponseWriter, r *request) error {
	return c.showPage(w, r, "System", "system.html", systemView{c.parts.System(r.Context())})
}
