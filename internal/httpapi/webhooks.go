package httpapi

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// createEndpoint serves POST /webhook_endpoints.
func (a *API) createEndpoint(w http.ResponseWriter, r request) error {
	var p webhook.Params
	if err := decode(r.Content, text("endpoint_url", &p.URL), texts("events", &p.Events)); err != nil {
		return err
	}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		h := sha256.New()
		for _, part := range []string{string(r.key.ID), key, string(r.Content)} {
			h.Write(strconv.AppendInt(nil, int64(len(part)), 10))
			h.Write([]byte{':'})
			h.Write([]byte(part))
		}
		h.Sum(p.Creation[:0])
	}
	d, err := a.opts.Webhooks.Create(r.Context(), r.by(), p)
	if err != nil {
		return err
	}
	if d.Replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	return reply(w, http.StatusCreated, appendEndpoint, &d)
}

// endpoints serves GET /webhook_endpoints.
func (a *API) endpoints(w http.ResponseWriter, r request) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	p, err := listParams(query)
	if err != nil {
		return err
	}
	page, err := a.opts.Webhooks.Page(r.Context(), r.key.Environment.ID, webhook.ListParams{
		Limit: p.Limit, Ascending: p.Ascending, After: p.After, Before: p.Before,
	})
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, appendEndpoints, &page)
}

// updateEndpoint serves PATCH /webhook_endpoints/{id}.
func (a *API) updateEndpoint(w http.ResponseWriter, r request) error {
	id, err := webhook.ParseEndpointID(r.PathValue("id"))
	if err != nil {
		return err
	}
	var c webhook.Change
	var url, status string
	if err := decode(r.Content, text("endpoint_url", &url), text("status", &status), texts("events", &c.Events)); err != nil {
		return err
	}
	if url != "" {
		c.URL = &url
	}
	if status != "" {
		c.Status = (*webhook.Status)(&status)
	}
	d, err := a.opts.Webhooks.Update(r.Context(), r.by(), id, c)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, appendEndpoint, &d)
}

// deleteEndpoint serves DELETE /webhook_endpoints/{id}.
func (a *API) deleteEndpoint(w http.ResponseWriter, r request) error {
	id, err := webhook.ParseEndpointID(r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := a.opts.Webhooks.Delete(r.Context(), r.by(), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// rotateSecret serves POST /webhook_endpoints/{id}/rotate_secret.
func (a *API) rotateSecret(w http.ResponseWriter, r request) error {
	id, err := webhook.ParseEndpointID(r.PathValue("id"))
	if err != nil {
		return err
	}
	overlap := webhook.DefaultOverlap
	if err := decodeOnly(r.Content, seconds("overlap_seconds", &overlap)); err != nil {
		return err
	}
	d, err := a.opts.Webhooks.RotateSecret(r.Context(), r.by(), id, overlap)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, appendEndpoint, &d)
}

// replay serves POST /webhook_endpoints/{id}/replay.
func (a *API) replay(w http.ResponseWriter, r request) error {
	id, err := webhook.ParseEndpointID(r.PathValue("id"))
	if err != nil {
		return err
	}
	var events webhook.Range
	if err := decodeOnly(r.Content, instant("from", &events.From), instant("to", &events.To), boolean("only_failed", &events.OnlyFailed)); err != nil {
		return err
	}
	if events, err = a.opts.Webhooks.StartReplay(r.Context(), r.by(), id, events); err != nil {
		return err
	}
	return reply(w, http.StatusAccepted, func(b []byte, events *webhook.Range) []byte { return appendReplay(b, id, events) }, &events)
}

// attempts serves GET /webhook_endpoints/{id}/attempts.
func (a *API) attempts(w http.ResponseWriter, r request) error {
	id, err := webhook.ParseEndpointID(r.PathValue("id"))
	if err != nil {
		return err
	}
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	var e mfa.InvalidError
	limit := 10
	if value := query.Get("limit"); value != "" {
		if limit, err = strconv.Atoi(value); err != nil || limit < 1 || limit > 100 {
			e.Fields = append(e.Fields, mfa.FieldError{Field: "limit", Code: "out_of_range", Message: "limit must be from 1 to 100"})
		}
	}
	var after webhook.AttemptID
	if value := query.Get("after"); value != "" {
		if after, err = webhook.ParseAttemptCursor(id, value); err != nil {
			e.Fields = append(e.Fields, mfa.FieldError{Field: "after", Code: "invalid_cursor", Message: "after must be the id of an attempt of this endpoint"})
		}
	}
	if e.Fields != nil {
		return &e
	}
	page, err := a.opts.Webhooks.Attempts(r.Context(), r.key.Environment.ID, id, after, limit)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, appendAttempts, &page)
}

// texts is a field for a list of strings. null counts as an absent key.
func texts(name string, to *[]string) field {
	return field{name: name, want: "a list of strings", read: func(value []byte) bool {
		*to = nil
		if string(value) == "null" {
			return true
		}
		var list []*string
		if json.Unmarshal(value, &list) != nil {
			return false
		}
		all := make([]string, len(list))
		for i, text := range list {
			if text == nil {
				return false
			}
			all[i] = *text
		}
		*to = all
		return true
	}}
}

// seconds is a field for a whole number of seconds. null counts as an absent key.
func seconds(name string, to *time.Duration) field {
	return field{name: name, want: "a whole number", read: func(value []byte) bool {
		if string(value) == "null" {
			return true
		}
		n, err := strconv.ParseInt(string(value), 10, 32)
		*to = time.Duration(n) * time.Second
		return err == nil
	}}
}

// boolean is a field for true or false. null counts as false.
func boolean(name string, to *bool) field {
	return field{name: name, want: "true or false", read: func(value []byte) bool {
		*to = string(value) == "true"
		return *to || string(value) == "null" || string(value) == "false"
	}}
}

// instant is a field for a time in the form of RFC 3339. null and "" count as an absent key.
func instant(name string, to *time.Time) field {
	return field{name: name, want: "a time", example: ", such as 2026-03-27T12:00:00Z", read: func(value []byte) bool {
		text, ok := unquote(value)
		if string(value) == "null" || ok && text == "" {
			return true
		}
		at, err := time.Parse(time.RFC3339Nano, text)
		*to = at.UTC()
		return err == nil
	}}
}

// appendEndpoint appends an endpoint. WorkOS has the keys up to updated_at.
func appendEndpoint(b []byte, d *webhook.Details) []byte {
	b = append(b, `{"object":"webhook_endpoint","id":"`...)
	b = append(b, d.ID.String()...)
	b = append(b, `","endpoint_url":`...)
	b = appendString(b, d.URL)
	b = append(b, `,"secret":`...)
	b = appendString(b, d.Current.Reveal())
	b = append(b, `,"status":`...)
	b = appendString(b, string(d.Status))
	b = append(b, `,"events":[`...)
	for i, typ := range d.Events {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, string(typ))
	}
	b = append(b, `],"created_at":`...)
	b = appendTime(b, d.CreatedAt)
	b = append(b, `,"updated_at":`...)
	b = appendTime(b, d.UpdatedAt)
	if next := d.Next.Reveal(); next != "" {
		b = append(b, `,"next_secret":`...)
		b = appendString(b, next)
		b = append(b, `,"secret_switches_at":`...)
		b = appendTime(b, d.SwitchAt)
	}
	if d.DisabledFor != "" {
		b = append(b, `,"disabled_reason":`...)
		b = appendString(b, d.DisabledFor)
	}
	b = append(b, `,"last_success_at":`...)
	b = appendTimeOrNull(b, d.LastSuccess)
	b = append(b, `,"failing_since":`...)
	b = appendTimeOrNull(b, d.FailingSince)
	return append(b, '}')
}

// appendTimeOrNull appends a time, or null for the zero time.
func appendTimeOrNull(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, `null`...)
	}
	return appendTime(b, t)
}

func appendEndpoints(b []byte, p *webhook.Page) []byte {
	b = append(b, `{"object":"list","data":[`...)
	for i := range p.Endpoints {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEndpoint(b, &p.Endpoints[i])
	}
	return appendCursors(b, p.Before, p.After)
}

func appendReplay(b []byte, id webhook.EndpointID, events *webhook.Range) []byte {
	b = append(b, `{"object":"webhook_replay","webhook_endpoint_id":"`...)
	b = append(b, id.String()...)
	b = append(b, `","from":`...)
	b = appendTime(b, events.From)
	b = append(b, `,"to":`...)
	b = appendTime(b, events.To)
	b = append(b, `,"only_failed":`...)
	b = strconv.AppendBool(b, events.OnlyFailed)
	return append(b, '}')
}

func appendAttempts(b []byte, p *webhook.AttemptPage) []byte {
	b = append(b, `{"object":"list","data":[`...)
	for i := range p.Attempts {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendAttempt(b, &p.Attempts[i])
	}
	after := ""
	if p.After != (webhook.AttemptID{}) {
		after = p.After.String()
	}
	return appendCursors(b, "", after)
}

func appendAttempt(b []byte, a *webhook.AttemptDetails) []byte {
	b = append(b, `{"object":"webhook_attempt","id":"`...)
	b = append(b, a.ID.String()...)
	b = append(b, `","event_id":"`...)
	b = append(b, a.Event.String()...)
	b = append(b, `","event":`...)
	b = appendString(b, string(a.Type))
	b = append(b, `,"attempt":`...)
	b = strconv.AppendInt(b, int64(a.Number), 10)
	b = append(b, `,"outcome":`...)
	b = appendString(b, string(a.Outcome))
	b = append(b, `,"status":`...)
	if a.Status == 0 {
		b = append(b, `null`...)
	} else {
		b = strconv.AppendInt(b, int64(a.Status), 10)
	}
	b = append(b, `,"duration_ms":`...)
	b = strconv.AppendInt(b, a.Took.Milliseconds(), 10)
	b = append(b, `,"answer":`...)
	b = appendString(b, a.Text)
	b = append(b, `,"attempted_at":`...)
	b = appendTime(b, a.At)
	b = append(b, `,"next_attempt_at":`...)
	b = appendTimeOrNull(b, a.NextAt)
	return append(b, '}')
}
