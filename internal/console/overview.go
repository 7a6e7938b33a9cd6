package console

import (
	"net/http"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// An overviewView is the view of the overview of an environment.
type overviewView struct {
	Activity  activityView
	Attention []attention
	Locks     []eventRow // the newest locks, of the newest events
	Recent    []eventRow // the newest events
}

// An attention is a fact that an operator should look at.
type attention struct {
	Tone, Text, Path string
}

const (
	recentEvents = 6
	recentLocks  = 5
)

// lockTypes are the types of event after which a person needs help.
var lockTypes = []mfa.EventType{mfa.FactorLocked, mfa.UserLocked}

// overview serves GET /console/e/{env}. For htmx it is only the part that changes.
func (c *Console) overview(w http.ResponseWriter, r *request) error {
	var v overviewView
	var err error
	if !r.isFragment() {
		if v.Activity, err = c.activity(r); err != nil {
			return err
		}
	}
	if v.Attention, err = c.attention(r); err != nil {
		return err
	}
	if r.may(access.ReadEvents) {
		if v.Recent, err = c.newest(r, recentEvents); err == nil {
			v.Locks, err = c.newest(r, recentLocks, lockTypes...)
		}
		if err != nil {
			return err
		}
	}
	if r.isFragment() {
		p := c.barePage(r, "Overview")
		p.View = v
		return c.send(w, r, http.StatusOK, "overview.html", "now", p)
	}
	return c.showPage(w, r, "Overview", "overview.html", v)
}

// newest returns the newest events of the given types, or of all.
func (c *Console) newest(r *request, limit int, types ...mfa.EventType) ([]eventRow, error) {
	page, err := c.parts.Events.List(r.Context(), events.Query{Environment: r.env.ID, Types: types, Newest: true, Limit: limit, Search: events.BriefSearch})
	return rowsOf(r.env, page.Events), err
}

// attention lists what does not work in an environment.
func (c *Console) attention(r *request) (list []attention, err error) {
	endpoints, err := c.parts.Webhooks.List(r.Context(), r.env.ID)
	if err != nil {
		return nil, err
	}
	for _, e := range endpoints {
		path := in(r.env, "webhooks", e.ID.String())
		switch {
		case e.Status == webhook.Disabled && e.DisabledFor != webhook.Requested:
			list = append(list, attention{"bad", "Webhooks to " + e.URL + " are disabled: " + e.DisabledFor, path})
		case e.Status == webhook.Enabled && e.Failures > 0:
			list = append(list, attention{"warn", "Webhooks to " + e.URL + " fail", path})
		}
	}
	counts, err := c.parts.Operator.MessageCounts(r.Context(), r.env)
	if err != nil {
		return nil, err
	}
	for _, count := range counts {
		if c.opts.Now().Before(count.PausedUntil) {
			list = append(list, attention{"bad", "Messages to " + count.Of + "… are paused", in(r.env, "messages")})
		}
	}
	return list, nil
}
