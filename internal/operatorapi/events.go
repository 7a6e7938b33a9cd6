package operatorapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// listEvents serves GET /environments/{environment}/events: oldest first, like GET /events of
// the API.
func (a *API) listEvents(r *request) (result, error) {
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	q, err := readQuery(r)
	if err != nil {
		return result{}, err
	}
	query := events.Query{
		Environment: env.ID, Types: eventTypes(q), Since: q.time("range_start"), Until: q.time("range_end"),
		Factor:    queryID(q, "factor_id", "a factor, auth_factor_…", mfa.ParseFactorID),
		Challenge: queryID(q, "challenge_id", "a challenge, auth_challenge_…", mfa.ParseChallengeID),
		User:      q.text("user_id"), Caller: q.text("caller"), Limit: q.limit(), Search: events.BriefSearch,
	}
	if c := query.Caller; c != "" && !strings.HasPrefix(c, "key_") && !strings.HasPrefix(c, "operator:") {
		q.fail("caller", "invalid", "caller must be the id of a key, key_…, or operator: and a name")
	}
	if !query.Until.IsZero() && query.Until.Before(query.Since) {
		q.fail("range_end", "before_start", "range_end must not be before range_start")
	}
	if text := q.text("after"); text != "" {
		if query.After, err = events.ParseCursor(text); err != nil {
			err = events.ErrCursor
		} else {
			err = a.parts.Events.Check(r.Context(), env.ID, query.After)
		}
		switch {
		case errors.Is(err, events.ErrCursor):
			q.fail("after", "invalid_cursor", "after must be the id of an event of this environment")
		case err != nil:
			return result{}, err
		}
	}
	if err := q.err(); err != nil {
		return result{}, err
	}
	p, err := a.parts.Events.List(r.Context(), query)
	if err != nil {
		return result{}, err
	}
	var data []any
	for _, e := range p.Events {
		data = append(data, json.RawMessage(eventwire.Append(nil, e)))
	}
	after := ""
	if p.More {
		after = p.Last.String()
	}
	return ok(newList(data, "", after))
}

// eventTypes reads the types of event, separated by commas or as repeated parameters.
func eventTypes(q query) (types []mfa.EventType) {
	q.read["events"] = true
	for part := range strings.SplitSeq(strings.Join(q.values["events"], ","), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		typ, ok := eventwire.ParseType(part)
		if !ok {
			q.fail("events", "unknown_type", fmt.Sprintf("%q is not a type of event; docs/events.md lists the types", shortened(part)))
			return nil
		}
		types = append(types, typ)
	}
	slices.Sort(types)
	return slices.Compact(types)
}
