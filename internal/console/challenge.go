package console

import (
	"net/http"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
)

// A challengeView is the view of a challenge.
type challengeView struct {
	Challenge  operator.Challenge
	Status     stateView
	FactorPath string
	UserPath   string // "" without a user
	Timeline   []timelineRow
	Events     string // the path of all events of the challenge
}

// showChallenge serves GET /console/e/{env}/challenges/{id}.
func (c *Console) showChallenge(w http.ResponseWriter, r *request) error {
	id, err := mfa.ParseChallengeID(r.PathValue("id"))
	if err != nil {
		return c.notFound(w, r, r.PathValue("id"), err)
	}
	found, err := c.parts.Operator.Challenge(r.Context(), r.viewer(), id)
	if err == nil && found.Environment.ID != r.env.ID {
		err = &mfa.NotFoundError{Entity: mfa.EntityChallenge, ID: id.String()}
	}
	if err != nil {
		return c.notFound(w, r, id.String(), err)
	}
	v := challengeView{
		Challenge: found, Status: stateOf(found.State),
		FactorPath: in(r.env, "factors", found.Factor.String()),
		Timeline:   timelineOf(r.env, found.Timeline),
		Events:     eventFilter{ID: id.String()}.link(in(r.env, "events")),
	}
	if found.User != "" {
		v.UserPath = userPath(r.env, found.User)
	}
	return c.showPage(w, r, "Challenge", "challenge.html", v)
}
