package console

import (
	"errors"
	"net/http"
	"slices"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// A webhooksView is the view of the list of endpoints.
type webhooksView struct {
	Endpoints []webhook.Details
	Form      endpointForm
}

// An endpointForm is the form for the URL and the types of an endpoint.
type endpointForm struct {
	URL      string
	Groups   []typeGroup
	Selected map[string]bool // by type
}

// newEndpointForm returns a form with the types that are selected.
func newEndpointForm(url string, types []string) endpointForm {
	f := endpointForm{URL: url, Groups: typeGroups(), Selected: map[string]bool{}}
	for _, t := range types {
		f.Selected[t] = true
	}
	return f
}

// signIns are the types that the form for a new endpoint suggests.
var signIns = []string{string(mfa.ChallengeSucceeded), string(mfa.ChallengeFailed)}

// listWebhooks serves GET /console/e/{env}/webhooks.
func (c *Console) listWebhooks(w http.ResponseWriter, r *request) error {
	all, err := c.parts.Webhooks.List(r.Context(), r.env.ID)
	if err != nil {
		return err
	}
	return c.showPage(w, r, "Webhooks", "webhooks.html", webhooksView{all, newEndpointForm("", signIns)})
}

// createWebhook serves POST /console/e/{env}/webhooks.
func (c *Console) createWebhook(w http.ResponseWriter, r *request) error {
	url, types := r.text("url"), r.PostForm["events"]
	var d webhook.Details
	by, err := r.caller()
	if err == nil {
		d, err = c.parts.Webhooks.Create(r.Context(), by, webhook.Params{URL: url, Events: types})
	}
	if err != nil {
		all, listErr := c.parts.Webhooks.List(r.Context(), r.env.ID)
		if listErr != nil {
			return errors.Join(err, listErr)
		}
		return c.showAgain(w, r, "Webhooks", "webhooks.html", webhooksView{all, newEndpointForm(url, types)}, err)
	}
	return done(w, r, in(r.env, "webhooks", d.ID.String()), "webhook-created")
}

// A webhookView is the view of an endpoint.
type webhookView struct {
	Endpoint webhook.Details
	Attempts []attemptRow
	Form     endpointForm
	From     string // the start of a replay, as entered
	First    string // the path of the newest attempts; "" on that page
	Next     string // the path of older attempts; "" on the last page

	// Of operators who may manage endpoints; for all others they are "".
	Secret, NextSecret string
}

// An attemptRow is an attempt in a table.
type attemptRow struct {
	webhook.AttemptDetails
	Tone, What string
}

const attemptPage = 20

// webhookView returns the view of the endpoint that the path names.
func (c *Console) webhookView(r *request) (v webhookView, err error) {
	id, err := webhook.ParseEndpointID(r.PathValue("id"))
	if err != nil {
		return v, err
	}
	if v.Endpoint, err = c.parts.Webhooks.Endpoint(r.Context(), r.env.ID, id); err != nil {
		return v, err
	}
	var after webhook.AttemptID
	here := in(r.env, "webhooks", id.String())
	if text := r.URL.Query().Get("before"); text != "" {
		if after, err = webhook.ParseAttemptCursor(id, text); err != nil {
			return v, err
		}
		v.First = here
	}
	page, err := c.parts.Webhooks.Attempts(r.Context(), r.env.ID, id, after, attemptPage)
	if err != nil {
		return v, err
	}
	for _, a := range page.Attempts {
		row := attemptRow{AttemptDetails: a, Tone: "bad", What: outcomeWords[a.Outcome]}
		if a.Outcome == webhook.Delivered {
			row.Tone = "good"
		}
		v.Attempts = append(v.Attempts, row)
	}
	if page.After != (webhook.AttemptID{}) {
		v.Next = here + "?before=" + page.After.String()
	}
	var types []string
	for _, t := range v.Endpoint.Events {
		types = append(types, string(t))
	}
	v.Form = newEndpointForm(v.Endpoint.URL, types)
	v.From = c.opts.Now().UTC().AddDate(0, 0, -1).Format(localTime)
	return v, nil
}

var outcomeWords = map[webhook.Outcome]string{
	webhook.Delivered:      "Delivered",
	webhook.Refused:        "Refused by the receiver",
	webhook.Redirected:     "Redirected, which is not followed",
	webhook.TimedOut:       "No answer in time",
	webhook.NotPermitted:   "The address is not public",
	webhook.NotResolved:    "The host has no address",
	webhook.TLSFailed:      "TLS failed",
	webhook.NotConnected:   "No connection",
	webhook.EndpointIsGone: "Gone: the endpoint was disabled",
}

// showWebhook serves GET /console/e/{env}/webhooks/{id}.
func (c *Console) showWebhook(w http.ResponseWriter, r *request) error {
	v, err := c.webhookView(r)
	if err != nil {
		return err
	}
	return c.showPage(w, r, "Webhook endpoint", "webhook.html", v)
}

// webhookAction returns the handler of a form of an endpoint. The notice is shown after it.
func (c *Console) webhookAction(notice string, act func(r *request, by mfa.Caller, id webhook.EndpointID) error) handler {
	return func(w http.ResponseWriter, r *request) error {
		id, err := webhook.ParseEndpointID(r.PathValue("id"))
		if err != nil {
			return err
		}
		by, err := r.caller()
		if err == nil {
			err = act(r, by, id)
		}
		if err != nil {
			v, viewErr := c.webhookView(r)
			if viewErr != nil {
				return errors.Join(err, viewErr)
			}
			return c.showAgain(w, r, "Webhook endpoint", "webhook.html", v, err)
		}
		return done(w, r, in(r.env, "webhooks", id.String()), notice)
	}
}

// updateWebhook changes the URL and the types of an endpoint.
func (c *Console) updateWebhook(r *request, by mfa.Caller, id webhook.EndpointID) error {
	url, types := r.text("url"), r.PostForm["events"]
	if len(types) == 0 {
		return fault("Choose at least one type of event.")
	}
	_, err := c.parts.Webhooks.Update(r.Context(), by, id, webhook.Change{URL: &url, Events: types})
	return err
}

// switchWebhook enables or disables an endpoint.
func (c *Console) switchWebhook(r *request, by mfa.Caller, id webhook.EndpointID) error {
	status := webhook.Status(r.text("status"))
	_, err := c.parts.Webhooks.Update(r.Context(), by, id, webhook.Change{Status: &status})
	return err
}

// rotateWebhook replaces the secret of an endpoint.
func (c *Console) rotateWebhook(r *request, by mfa.Caller, id webhook.EndpointID) error {
	overlap := webhook.DefaultOverlap
	if r.text("overlap") == "none" {
		overlap = 0
	}
	_, err := c.parts.Webhooks.RotateSecret(r.Context(), by, id, overlap)
	return err
}

// replayWebhook sends past events again.
func (c *Console) replayWebhook(r *request, by mfa.Caller, id webhook.EndpointID) error {
	from, err := parseLocalTime(r.text("from"), "The start of the replay")
	if err != nil {
		return err
	}
	_, err = c.parts.Webhooks.StartReplay(r.Context(), by, id, webhook.Range{From: from, OnlyFailed: r.text("only_failed") != ""})
	return err
}

// deleteWebhook serves POST /console/e/{env}/webhooks/{id}/delete.
func (c *Console) deleteWebhook(w http.ResponseWriter, r *request) error {
	id, err := webhook.ParseEndpointID(r.PathValue("id"))
	if err != nil {
		return err
	}
	if r.text("sure") == "" {
		return fault("Confirm that the endpoint is to be deleted.")
	}
	by, err := r.caller()
	if err != nil {
		return err
	}
	if err := c.parts.Webhooks.Delete(r.Context(), by, id); err != nil {
		return err
	}
	return done(w, r, in(r.env, "webhooks"), "webhook-deleted")
}

// secretOfWebhook serves POST /console/e/{env}/webhooks/{id}/secret: the page with the
// secrets of the endpoint. It is a form, so no link and no history shows them.
func (c *Console) secretOfWebhook(w http.ResponseWriter, r *request) error {
	v, err := c.webhookView(r)
	if err != nil {
		return err
	}
	v.Secret, v.NextSecret = v.Endpoint.Current.Reveal(), v.Endpoint.Next.Reveal()
	return c.showPage(w, r, "Webhook endpoint", "webhook.html", v)
}

// Subscribed returns the types of an endpoint in words, for a list.
func (v webhookView) Subscribed() []string {
	var names []string
	for _, t := range v.Endpoint.Events {
		names = append(names, string(t))
	}
	slices.Sort(names)
	return names
}
