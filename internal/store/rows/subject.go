package rows

import (
	"slices"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// SubjectPage returns the page that q asks for. found has the first q.Limit+1 events of each
// factor of the subject. end is the position of the newest readable event of the environment;
// it is not used if q reads the newest events first.
func SubjectPage(found []mfa.Event, q *events.SubjectQuery, end mfa.EventID) (page events.RawPage) {
	slices.SortFunc(found, func(a, b mfa.Event) int {
		if q.Newest {
			return b.ID.Compare(a.ID)
		}
		return a.ID.Compare(b.ID)
	})
	if !q.Newest {
		page.Last = end
		found = slices.DeleteFunc(found, func(e mfa.Event) bool { return e.ID.Compare(end) > 0 })
	}
	if page.More = len(found) > q.Limit; page.More {
		found = found[:q.Limit]
	}
	for _, e := range found {
		page.Events = append(page.Events, events.RawEvent{Event: e})
	}
	if n := len(found); n > 0 && (page.More || q.Newest) {
		page.Last = found[n-1].ID
	}
	return page
}
