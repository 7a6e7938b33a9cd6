package operatorapi

import (
	"errors"

	"github.com/countersign-mfa/countersign/internal/delivery"
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

// sendTest serves POST /environments/{environment}/messages/send_test. What providers answer is an
// outcome; a message that the rules refuse is an error.
func (a *API) sendTest(r *request) (result, error) {
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	phone := r.body.required("phone_number")
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	m, err := a.parts.Operator.SendTest(r.Context(), by, env, phone)
	outcome := operator.TestOutcomeOf(m, err)
	if _, ok := errors.AsType[*delivery.InvalidPhoneError](err); ok {
		return result{}, invalid("phone_number", "invalid", "phone_number must be in international form, such as +16073517112")
	}
	if outcome == operator.TestRefused || outcome == operator.TestAccepted && err != nil {
		return result{}, err
	}
	return ok(struct {
		Object            string               `json:"object"`
		Environment       string               `json:"environment"`
		Outcome           operator.TestOutcome `json:"outcome"`
		Country           string               `json:"country"`
		Segments          int                  `json:"segments"`
		Provider          *string              `json:"provider"`
		ProviderMessageID *string              `json:"provider_message_id"`
	}{"test_message", env.Name, outcome, m.Country, m.Segments, textOrNull(m.Provider), textOrNull(m.ID)})
}

// textOrNull returns nil for "".
func textOrNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
