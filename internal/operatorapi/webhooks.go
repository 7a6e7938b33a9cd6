package operatorapi

import (
	"crypto/sha256"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// An endpointObject is a webhook endpoint on the wire.
type endpointObject struct {
	Object         string          `json:"object"`
	ID             string          `json:"id"`
	Environment    string          `json:"environment"`
	URL            string          `json:"endpoint_url"`
	Status         string          `json:"status"`
	DisabledReason *string         `json:"disabled_reason"`
	Events         []mfa.EventType `json:"events"`
	CreatedAt      *string         `json:"created_at"`
	UpdatedAt      *string         `json:"updated_at"`
	LastSuccessAt  *string         `json:"last_success_at"`
	FailingSince   *string         `json:"failing_since"`
	Secret         string          `json:"secret,omitempty"` // only for keys that manage webhooks
	NextSecret     string          `json:"next_secret,omitempty"`
	SwitchesAt     *string         `json:"secret_switches_at,omitempty"`
}

func (r *request) showEndpoint(env mfa.Environment, d *webhook.Details) endpointObject {
	o := endpointObject{
		Object: "webhook_endpoint", ID: d.ID.String(), Environment: env.Name, URL: d.URL, Status: string(d.Status), DisabledReason: optional(d.DisabledFor), Events: d.Events,
		CreatedAt: instant(d.CreatedAt), UpdatedAt: instant(d.UpdatedAt), LastSuccessAt: instant(d.LastSuccess), FailingSince: instant(d.FailingSince),
	}
	if r.key.Scopes.Allows(access.ManageWebhooks) {
		o.Secret, o.NextSecret = d.Current.Reveal(), d.Next.Reveal()
		if o.NextSecret != "" {
			o.SwitchesAt = instant(d.SwitchAt)
		}
	}
	return o
}

// endpoints serves GET …/webhook_endpoints.
func (a *API) endpoints(r *request) (result, error) {
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	q, err := readQuery(r)
	if err != nil {
		return result{}, err
	}
	p := webhook.ListParams{Limit: q.limit(), Ascending: q.isAscending(), After: q.text("after"), Before: q.text("before")}
	if err := q.err(); err != nil {
		return result{}, err
	}
	found, err := a.parts.Webhooks.Page(r.Context(), env.ID, p)
	if err != nil {
		return result{}, err
	}
	var data []any
	for i := range found.Endpoints {
		data = append(data, r.showEndpoint(env, &found.Endpoints[i]))
	}
	return ok(newList(data, found.Before, found.After))
}

// createEndpoint serves POST …/webhook_endpoints.
func (a *API) createEndpoint(r *request) (result, error) {
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	p := webhook.Params{URL: r.body.required("endpoint_url"), Events: r.body.texts("events")}
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		// Also an interrupted request is found again.
		p.Creation = sha256.Sum256(fmt.Appendf(nil, "operator\x00%s\x00%q\x00%s", r.key.ID, key, r.Content))
	}
	d, err := a.parts.Webhooks.Create(r.Context(), r.caller(env, by.Reason), p)
	if err != nil {
		return result{}, err
	}
	return created(r.showEndpoint(env, &d))
}

// onEndpoint reads the environment and the endpoint of the path and the body, and calls act.
func (a *API) onEndpoint(r *request, act func(env mfa.Environment, id webhook.EndpointID) (any, error)) (result, error) {
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	id, err := webhook.ParseEndpointID(r.PathValue("id"))
	if err != nil {
		return result{}, err
	}
	v, err := act(env, id)
	switch {
	case err != nil:
		return result{}, err
	case v == nil:
		return nothing()
	}
	return ok(v)
}

// endpoint serves GET …/webhook_endpoints/{id}.
func (a *API) endpoint(r *request) (result, error) {
	if err := takesNoQuery(r); err != nil {
		return result{}, err
	}
	return a.onEndpoint(r, func(env mfa.Environment, id webhook.EndpointID) (any, error) {
		d, err := a.parts.Webhooks.Endpoint(r.Context(), env.ID, id)
		return r.showEndpoint(env, &d), err
	})
}

// updateEndpoint serves PATCH …/webhook_endpoints/{id}. Absent keys stay as they are.
func (a *API) updateEndpoint(r *request) (result, error) {
	return a.onEndpoint(r, func(env mfa.Environment, id webhook.EndpointID) (any, error) {
		c := webhook.Change{Events: r.body.texts("events")}
		if url := r.body.text("endpoint_url"); url != "" {
			c.URL = &url
		}
		if status := webhook.Status(r.body.text("status")); status != "" {
			c.Status = &status
		}
		by, err := r.by()
		if err != nil {
			return nil, err
		}
		d, err := a.parts.Webhooks.Update(r.Context(), r.caller(env, by.Reason), id, c)
		return r.showEndpoint(env, &d), err
	})
}

// deleteEndpoint serves DELETE …/webhook_endpoints/{id}.
func (a *API) deleteEndpoint(r *request) (result, error) {
	return a.onEndpoint(r, func(env mfa.Environment, id webhook.EndpointID) (any, error) {
		return nil, a.parts.Webhooks.Delete(r.Context(), r.caller(env, ""), id)
	})
}

// rotateSecret serves POST …/webhook_endpoints/{id}/rotate_secret.
func (a *API) rotateSecret(r *request) (result, error) {
	return a.onEndpoint(r, func(env mfa.Environment, id webhook.EndpointID) (any, error) {
		overlap := r.body.seconds("overlap_seconds", webhook.DefaultOverlap)
		by, err := r.by()
		if err != nil {
			return nil, err
		}
		d, err := a.parts.Webhooks.RotateSecret(r.Context(), r.caller(env, by.Reason), id, overlap)
		return r.showEndpoint(env, &d), err
	})
}

// replay serves POST …/webhook_endpoints/{id}/replay.
func (a *API) replay(r *request) (result, error) {
	return a.onEndpoint(r, func(env mfa.Environment, id webhook.EndpointID) (any, error) {
		events := webhook.Range{From: r.body.time("from"), To: r.body.time("to"), OnlyFailed: r.body.boolean("only_failed")}
		by, err := r.by()
		if err != nil {
			return nil, err
		}
		events, err = a.parts.Webhooks.StartReplay(r.Context(), r.caller(env, by.Reason), id, events)
		return struct {
			Object     string  `json:"object"`
			Endpoint   string  `json:"webhook_endpoint_id"`
			From       *string `json:"from"`
			To         *string `json:"to"`
			OnlyFailed bool    `json:"only_failed"`
		}{"webhook_replay", id.String(), instant(events.From), instant(events.To), events.OnlyFailed}, err
	})
}

// An attemptObject is an attempt to deliver an event on the wire.
type attemptObject struct {
	Object      string  `json:"object"`
	ID          string  `json:"id"`
	Event       string  `json:"event_id"`
	Type        string  `json:"event"`
	Number      int     `json:"attempt"`
	Outcome     string  `json:"outcome"`
	Status      *int    `json:"status"`
	DurationMS  int64   `json:"duration_ms"`
	Answer      string  `json:"answer"`
	AttemptedAt *string `json:"attempted_at"`
	NextAt      *string `json:"next_attempt_at"`
}

// attempts serves GET …/webhook_endpoints/{id}/attempts.
func (a *API) attempts(r *request) (result, error) {
	return a.onEndpoint(r, func(env mfa.Environment, id webhook.EndpointID) (any, error) {
		q, err := readQuery(r)
		if err != nil {
			return nil, err
		}
		limit := q.limit()
		var after webhook.AttemptID
		if text := q.text("after"); text != "" {
			if after, err = webhook.ParseAttemptCursor(id, text); err != nil {
				q.fail("after", "invalid_cursor", "after must be the id of an attempt of this endpoint")
			}
		}
		if err := q.err(); err != nil {
			return nil, err
		}
		found, err := a.parts.Webhooks.Attempts(r.Context(), env.ID, id, after, limit)
		if err != nil {
			return nil, err
		}
		var data []any
		for _, t := range found.Attempts {
			o := attemptObject{
				"webhook_attempt", t.ID.String(), t.Event.String(), string(t.Type), t.Number, string(t.Outcome), nil, t.Took.Milliseconds(), t.Text, instant(t.At), instant(t.NextAt),
			}
			if t.Status != 0 {
				o.Status = &t.Status
			}
			data = append(data, o)
		}
		next := ""
		if found.After != (webhook.AttemptID{}) {
			next = found.After.String()
		}
		return newList(data, "", next), nil
	})
}
