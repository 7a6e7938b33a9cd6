package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// listEvents serves GET /events.
func (a *API) listEvents(w http.ResponseWriter, r request) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	q, err := eventQuery(query)
	if err != nil {
		return err
	}
	q.Environment = r.key.Environment.ID
	if err := a.checkCursor(r, q.After, "after"); err != nil {
		return err
	}
	page, err := a.events.List(r.Context(), q)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, appendEvents, &page)
}

const (
	defaultEvents = 10  // in a page, if the request has no limit
	maxEvents     = 100 // in a page
)

// eventQuery reads the parameters of a list of events. It ignores order and before:
// several libraries always send order=desc, and WorkOS ignores it too. Its error names
// every parameter that cannot be read.
func eventQuery(query url.Values) (q events.Query, err error) {
	p := eventParameters{query: query}
	q = p.filters()
	q.After = p.cursor("after", query.Get("after"))
	q.Until = p.time("range_end")
	if !q.Until.IsZero() && q.Until.Before(q.Since) {
		p.wrong("range_end", "before_start", "range_end must not be before range_start")
	}
	q.Limit = p.limit()
	if query.Get("organization_id") != "" {
		p.wrong("organization_id", "unsupported", "no event belongs to an organization; leave organization_id out")
	}
	return q, p.err()
}

// eventParameters reads parameters and collects the mistakes in them.
type eventParameters struct {
	query url.Values
	e     mfa.InvalidError
}

func (p *eventParameters) wrong(field, code, message string) {
	p.e.Fields = append(p.e.Fields, mfa.FieldError{Field: field, Code: code, Message: message})
}

func (p *eventParameters) err() error {
	if p.e.Fields != nil {
		return &p.e
	}
	return nil
}

// filters reads the parameters that select events. A list and a stream have them.
func (p *eventParameters) filters() events.Query {
	return events.Query{
		Types:     p.types(),
		Since:     p.time("range_start"),
		Factor:    parameterID(p, "factor_id", "a factor, auth_factor_…", mfa.ParseFactorID),
		Challenge: parameterID(p, "challenge_id", "a challenge, auth_challenge_…", mfa.ParseChallengeID),
		User:      p.query.Get("user_id"),
		Caller:    p.caller(),
	}
}

// caller reads the parameter that names who caused events.
func (p *eventParameters) caller() string {
	text := p.query.Get("caller")
	if text != "" && !strings.HasPrefix(text, "key_") && !strings.HasPrefix(text, "operator:") {
		p.wrong("caller", "invalid", "caller must be the id of an API key, key_…, or operator: and a name")
	}
	return text
}

// parameterID reads a parameter that is the id of the named thing.
func parameterID[ID any](p *eventParameters, name, of string, parse func(string) (ID, error)) (id ID) {
	text := p.query.Get(name)
	if text == "" {
		return id
	}
	id, err := parse(text)
	if err != nil {
		p.wrong(name, "invalid", name+" must be the id of "+of)
	}
	return id
}

// types reads the types of event. The client libraries encode a list in four ways:
// events=a,b; events=a&events=b; events[]=a&events[]=b; events[0]=a&events[1]=b.
func (p *eventParameters) types() (types []mfa.EventType) {
	for name, values := range p.query {
		if !isEventsParameter(name) {
			continue
		}
		for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			typ, ok := eventwire.ParseType(part)
			if !ok {
				p.wrong("events", "unknown_type", unknownType(part))
				return nil
			}
			types = append(types, typ)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

func unknownType(name string) string {
	return fmt.Sprintf("%q is not a type of event; docs/events.md lists the types", shortened(name))
}

func isEventsParameter(name string) bool {
	index, ok := strings.CutPrefix(name, "events")
	if !ok || index == "" {
		return ok
	}
	index, ok = strings.CutPrefix(index, "[")
	index, closed := strings.CutSuffix(index, "]")
	return ok && closed && strings.Trim(index, "0123456789") == ""
}

// eventTimes are the accepted forms of a time. RFC 3339 is the first one; the library for
// Kotlin leaves out the seconds if they are zero.
var eventTimes = []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00"}

// time reads a parameter that is a time. It returns the zero time if the parameter is
// empty.
func (p *eventParameters) time(name string) time.Time {
	text := p.query.Get(name)
	if text == "" {
		return time.Time{}
	}
	// In a query that was not escaped, + means a space.
	text = strings.ToUpper(strings.Replace(text, " ", "+", 1))
	for _, form := range eventTimes {
		if t, err := time.Parse(form, text); err == nil {
			return t
		}
	}
	p.wrong(name, "invalid", name+" must be a time such as 2026-03-27T12:00:00Z")
	return time.Time{}
}

func (p *eventParameters) limit() int {
	text := p.query.Get("limit")
	if text == "" {
		return defaultEvents
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxEvents || text[0] == '+' {
		p.wrong("limit", "out_of_range", fmt.Sprintf("limit must be from 1 to %d", maxEvents))
	}
	return n
}

// cursor reads the id of the last event that a reader has seen. It need not exist any
// more.
func (p *eventParameters) cursor(field, text string) mfa.EventID {
	if text == "" {
		return mfa.EventID{}
	}
	id, err := events.ParseCursor(text)
	if err != nil {
		p.e.Fields = append(p.e.Fields, invalidCursor(field))
	}
	return id
}

// checkCursor returns an error for the field if the environment never had an event at the
// position.
func (a *API) checkCursor(r request, after mfa.EventID, field string) error {
	err := a.events.Check(r.Context(), r.key.Environment.ID, after)
	if errors.Is(err, events.ErrCursor) {
		return &mfa.InvalidError{Fields: []mfa.FieldError{invalidCursor(field)}}
	}
	return err
}

func invalidCursor(field string) mfa.FieldError {
	return mfa.FieldError{Field: field, Code: "invalid_cursor", Message: field + " must be the id of an event of this environment"}
}

// appendEvents appends a page of events. The cursor after is null if nothing follows yet.
func appendEvents(b []byte, p *events.Page) []byte {
	b = append(b, `{"object":"list","data":[`...)
	for i, e := range p.Events {
		if i > 0 {
			b = append(b, ',')
		}
		b = eventwire.Append(b, e)
	}
	b = append(b, `],"list_metadata":{"before":null,"after":`...)
	after := ""
	if p.More {
		after = p.Last.String()
	}
	b = appendCursor(b, after)
	return append(b, `}}`...)
}
