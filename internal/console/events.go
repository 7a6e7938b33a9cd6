package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/eventexport"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// An eventsView is the view of the events of an environment.
type eventsView struct {
	Filter  eventFilter
	Types   []typeGroup
	Rows    []eventRow // newest first
	Stream  string     // the path of the live events; "" on older pages
	First   string     // the path of the newest page; "" on that page
	Next    string     // the path of the next older page; "" on the last one
	Partial bool       // the search has ended before the page was full
	Back    time.Time  // how far a partial search has looked
	Exports []exportLink
}

// An eventFilter has the fields of the form, as entered.
type eventFilter struct {
	Type, User, ID, Caller string
}

// A typeGroup is a group of types of event in the form.
type typeGroup struct {
	Name  string
	Types []typeChoice
}

type typeChoice struct{ Type, Words string }

// An exportLink leads to a download.
type exportLink struct{ Format, Path string }

// eventPage is the number of events on a page.
const eventPage = 50

// readFilter reads the filter of a request, and the query that it means.
func readFilter(r *request) (f eventFilter, q events.Query, err error) {
	f = eventFilter{Type: r.text("type"), User: r.text("user"), ID: r.text("id"), Caller: r.text("caller")}
	q = events.Query{Environment: r.env.ID, User: f.User, Caller: f.Caller}
	if f.Type != "" {
		if q.Types = typesOf(f.Type); q.Types == nil {
			return f, q, fault("There is no type of event " + shortened(f.Type) + ".")
		}
	}
	switch {
	case f.ID == "":
	case strings.HasPrefix(f.ID, "auth_factor_"):
		q.Factor, err = mfa.ParseFactorID(f.ID)
	case strings.HasPrefix(f.ID, "auth_challenge_"):
		q.Challenge, err = mfa.ParseChallengeID(f.ID)
	default:
		err = fault("The id is that of a factor, auth_factor_…, or of a challenge, auth_challenge_….")
	}
	if err == nil && f.Caller != "" && !strings.HasPrefix(f.Caller, "key_") && !strings.HasPrefix(f.Caller, "operator:") {
		err = fault("The caller is the id of an API key, key_…, or operator: and a name.")
	}
	return f, q, err
}

// typesOf returns the type of event with a name, or all types of a group, such as "message.".
func typesOf(name string) []mfa.EventType {
	if typ, ok := eventwire.ParseType(name); ok {
		return []mfa.EventType{typ}
	}
	var types []mfa.EventType
	for _, t := range mfa.EventTypes {
		if strings.HasSuffix(name, ".") && strings.HasPrefix(string(t), name) {
			types = append(types, t)
		}
	}
	return types
}

// typeGroups returns all types of event for the form.
func typeGroups() []typeGroup {
	var groups []typeGroup
	for _, t := range mfa.EventTypes {
		name, _, _ := strings.Cut(string(t), ".")
		if len(groups) == 0 || groups[len(groups)-1].Name != name {
			groups = append(groups, typeGroup{Name: name})
		}
		g := &groups[len(groups)-1]
		g.Types = append(g.Types, typeChoice{string(t), sentenceStart(eventexport.Words(t))})
	}
	return mergeGroups(groups)
}

// mergeGroups joins groups of the same name.
func mergeGroups(groups []typeGroup) (merged []typeGroup) {
	at := map[string]int{}
	for _, g := range groups {
		if i, ok := at[g.Name]; ok {
			merged[i].Types = append(merged[i].Types, g.Types...)
			continue
		}
		at[g.Name] = len(merged)
		merged = append(merged, g)
	}
	return merged
}

// values returns the filter as the parameters of a link.
func (f eventFilter) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"type": f.Type, "user": f.User, "id": f.ID, "caller": f.Caller} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// link returns a path with the filter and further parameters.
func (f eventFilter) link(path string, further ...string) string {
	v := f.values()
	for i := 0; i < len(further); i += 2 {
		v.Set(further[i], further[i+1])
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// listEvents serves GET /console/e/{env}/events.
func (c *Console) listEvents(w http.ResponseWriter, r *request) error {
	f, q, err := readFilter(r)
	v := eventsView{Filter: f, Types: typeGroups()}
	before := r.text("before")
	if err == nil && before != "" {
		q.After, err = events.ParseCursor(before)
	}
	if err != nil {
		return c.showAgain(w, r, "Events", "events.html", v, err)
	}
	q.Newest, q.Limit, q.Search = true, eventPage, events.BriefSearch
	page, err := c.parts.Events.List(r.Context(), q)
	if err != nil {
		return err
	}
	v.Rows = rowsOf(r.env, page.Events)
	here := in(r.env, "events")
	if page.More {
		if v.Partial = len(page.Events) < eventPage; v.Partial {
			v.Back = mfa.TimeOf(page.Last)
		}
		v.Next = f.link(here, "before", page.Last.String())
	}
	if before != "" {
		v.First = f.link(here)
	} else {
		v.Stream = f.link(in(r.env, "events", "stream"), "after", c.livePosition(page.Events).String())
	}
	for _, format := range eventexport.Formats {
		v.Exports = append(v.Exports, exportLink{string(format), f.link(in(r.env, "events", "export"), "format", string(format))})
	}
	return c.showPage(w, r, "Events", "events.html", v)
}
