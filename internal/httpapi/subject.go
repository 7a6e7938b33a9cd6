package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// factorID reads the id of the factor that the request is about. An id has only one form.
func (r request) factorID(text string) (mfa.FactorID, error) {
	id, err := mfa.ParseFactorID(text)
	if err == nil {
		r.Factor = text
	}
	return id, err
}

// challengeID reads the id of the challenge that the request is about.
func (r request) challengeID(text string) (mfa.ChallengeID, error) {
	id, err := mfa.ParseChallengeID(text)
	if err == nil {
		r.Challenge = text
	}
	return id, err
}

// concerns records for the log that the request is about a challenge and its factor.
func (r request) concerns(c *mfa.IssuedChallenge) {
	if c.ID == (mfa.ChallengeID{}) {
		return // the answer is a recorded one
	}
	if r.Factor == "" {
		r.Factor = c.Factor.String()
	}
	if r.Challenge == "" {
		r.Challenge = c.ID.String()
	}
}

// concernsFactor records for the log that the request is about a factor, unless id is zero.
func (r request) concernsFactor(id mfa.FactorID) {
	if id != (mfa.FactorID{}) {
		r.Factor = id.String()
	}
}

// enrolled records for the log that the request has enrolled a factor.
func (r request) enrolled(e *mfa.Enrollment) {
	if e.ID != (mfa.FactorID{}) { // zero if the answer is a recorded one
		r.Factor = e.ID.String()
	}
	if e.Challenge != nil {
		r.concerns(e.Challenge)
	}
}

// concernsAnswer records for the log the ids, or the code of the error, in a recorded
// answer.
func (r request) concernsAnswer(status int, body []byte) {
	type object struct {
		Object string `json:"object"`
		ID     string `json:"id"`
		Factor string `json:"authentication_factor_id"`
	}
	var answer struct {
		object
		Code          string `json:"code"` // of an error, or the secret code of a challenge
		Challenge     object `json:"challenge"`
		UserFactor    object `json:"authentication_factor"`
		UserChallenge object `json:"authentication_challenge"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return // Countersign wrote the body; a line with fewer fields must not fail the request
	}
	objects := []object{answer.object, answer.Challenge, answer.UserFactor, answer.UserChallenge}
	for _, o := range objects {
		switch o.Object {
		case "authentication_factor", "recovery_codes":
			r.Factor = o.ID
		case "authentication_challenge":
			r.Factor, r.Challenge = o.Factor, o.ID
		}
	}
	if status >= http.StatusBadRequest {
		r.Code = answer.Code
	}
}
