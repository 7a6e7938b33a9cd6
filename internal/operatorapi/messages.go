package operatorapi

import (
	"errors"

	"github.com/countersign-mfa/countersign/internal/operator"
)

// A countObject says how many messages were sent to a group of phone numbers.
type countObject struct {
	Object        string  `json:"object"`
	Group         string  `json:"group"`
	PeriodSeconds int     `json:"period_seconds"`
	Sent          int     `json:"sent"`
	Verified      int     `json:"verified"`
	PausedUntil   *string `json:"paused_until"`
	Reference     string  `json:"reference"`
}

// messages serves GET /environments/{environment}/messages.
func (a *API) messages(r *request) (result, error) {
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	q, err := readQuery(r)
	if err != nil {
		return result{}, err
	}
	counts, err := a.parts.Operator.MessageCounts(r.Context(), env)
	if err != nil {
		return result{}, err
	}
	show := func(c operator.MessageCount) any {
		return countObject{"message_count", c.Of, int(c.Period.Seconds()), c.Sent, c.Verified, instant(c.PausedUntil), c.Reference}
	}
	p, err := page(q, counts, func(c operator.MessageCount) string { return c.Of }, show)
	if err != nil {
		return result{}, err
	}
	return ok(p)
}

var errNotPaused = errors.New("the prefix is not paused")

// releasePrefix serves POST /environments/{environment}/messages/release.
func (a *API) releasePrefix(r *request) (result, error) {
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	prefix := r.body.required("prefix")
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	released, err := a.parts.Operator.ReleasePrefix(r.Context(), by, env, prefix)
	if err == nil && !released {
		err = errNotPaused
	}
	if err != nil {
		return result{}, err
	}
	return nothing()
}
