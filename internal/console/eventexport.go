package console

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/eventexport"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// exportPage is the number of events that an export reads at once.
const exportPage = 500

// exportEvents serves GET /console/e/{env}/events/export?format=csv: all kept events that
// match the filter, oldest first. If reading fails, the connection breaks, so a part of an
// export never looks complete.
func (c *Console) exportEvents(w http.ResponseWriter, r *request) error {
	_, q, err := readFilter(r)
	if err != nil {
		return err
	}
	format, err := eventexport.ParseFormat(r.text("format"))
	if err != nil {
		return fault(sentence(err.Error()))
	}
	q.Limit = exportPage
	page, err := c.parts.Events.List(r.Context(), q)
	if err != nil {
		return err
	}
	out := eventexport.Writer{Format: format, Version: c.opts.Version}
	name := strings.ReplaceAll(r.env.Name, " ", "-") + c.opts.Now().UTC().Format("-20060102-150405.") + string(format)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	if r.Method == http.MethodHead {
		return nil
	}
	control := http.NewResponseController(w)
	buf := out.Header()
	for {
		for i := range page.Events {
			buf = out.Append(buf, r.env.Name, &page.Events[i])
		}
		_ = control.SetWriteDeadline(wallclock.Deadline(time.Minute)) // fails only for writers without deadlines
		if _, err := w.Write(buf); err != nil || !page.More {
			return nil // the client has gone, or has all
		}
		buf = buf[:0]
		q.After = page.Last
		if page, err = c.parts.Events.List(r.Context(), q); err != nil {
			c.opts.Logger.Error("an export of events ends early", "request", r.ID, "error", err)
			panic(http.ErrAbortHandler)
		}
	}
}
