package httpapi

import (
	"net/http"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

type challengeRequest struct {
	FactorID    text `json:"authentication_factor_id"` // on the older path
	SMSTemplate text `json:"sms_template"`
	Locale      text `json:"locale"` // ours
}

func (q *challengeRequest) set(name, value string) bool {
	switch name {
	case "authentication_factor_id":
		return q.FactorID.set(value)
	case "sms_template":
		return q.SMSTemplate.set(value)
	case "locale":
		return q.Locale.set(value)
	}
	return false
}

// challenge serves POST /auth/factors/{id}/challenge.
func (a *API) challenge(w http.ResponseWriter, r *request) error {
	var req challengeRequest
	if err := decode(r.body, &req); err != nil {
		return err
	}
	return a.doChallenge(w, r, r.PathValue("id"), req, false)
}

// challengeByBody serves POST /auth/factors/challenge.
func (a *API) challengeByBody(w http.ResponseWriter, r *request) error {
	var req challengeRequest
	if err := decode(r.body, &req); err != nil {
		return err
	}
	if err := check(named{"authentication_factor_id", req.FactorID}); err != nil {
		return err
	}
	if req.FactorID.string == "" {
		return required("authentication_factor_id")
	}
	return a.doChallenge(w, r, req.FactorID.string, req, true)
}

func (a *API) doChallenge(w http.ResponseWriter, r *request, factor string, req challengeRequest, byBody bool) error {
	if err := check(named{"sms_template", req.SMSTemplate}, named{"locale", req.Locale}); err != nil {
		return err
	}
	id, err := mfa.ParseFactorID(factor)
	if err != nil {
		return err
	}
	o, err := once(r, http.StatusCreated, a.appendChallenge)
	if err != nil {
		return err
	}
	if o != nil {
		o.Claim = byBody
	}
	params := mfa.ChallengeParams{Template: req.SMSTemplate.string, Locale: req.Locale.string}
	c, err := a.mfa.Challenge(r.Context(), r.key.Environment, id, params, o)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, a.appendChallenge, &c)
}

// findChallenge serves GET /auth/challenges/{id}.
func (a *API) findChallenge(w http.ResponseWriter, r *request) error {
	if err := takesNothing(r); err != nil {
		return err
	}
	id, err := mfa.ParseChallengeID(r.PathValue("id"))
	if err != nil {
		return err
	}
	c, err := a.mfa.FindChallenge(r.Context(), r.key.Environment, id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, a.appendChallenge, &c)
}

// resend serves POST /auth/challenges/{id}/resend.
func (a *API) resend(w http.ResponseWriter, r *request) error {
	if err := takesNothing(r); err != nil {
		return err
	}
	id, err := mfa.ParseChallengeID(r.PathValue("id"))
	if err != nil {
		return err
	}
	o, err := once(r, http.StatusCreated, a.appendChallenge)
	if err != nil {
		return err
	}
	c, err := a.mfa.Resend(r.Context(), r.key.Environment, id, o)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, a.appendChallenge, &c)
}

type verifyRequest struct {
	ChallengeID text     `json:"authentication_challenge_id"` // on the older path
	Code        codeText `json:"code"`
}

func (q *verifyRequest) set(name, value string) bool {
	switch name {
	case "authentication_challenge_id":
		return q.ChallengeID.set(value)
	case "code":
		return q.Code.set(value)
	}
	return false
}

// verify serves POST /auth/challenges/{id}/verify.
func (a *API) verify(w http.ResponseWriter, r *request) error {
	var req verifyRequest
	if err := decode(r.body, &req); err != nil {
		return err
	}
	return a.doVerify(w, r, r.PathValue("id"), req.Code, false)
}

// verifyByBody serves POST /auth/factors/verify.
func (a *API) verifyByBody(w http.ResponseWriter, r *request) error {
	var req verifyRequest
	if err := decode(r.body, &req); err != nil {
		return err
	}
	if err := check(named{"authentication_challenge_id", req.ChallengeID}); err != nil {
		return err
	}
	if req.ChallengeID.string == "" {
		return required("authentication_challenge_id")
	}
	return a.doVerify(w, r, req.ChallengeID.string, req.Code, true)
}

func (a *API) doVerify(w http.ResponseWriter, r *request, challenge string, code codeText, byBody bool) error {
	id, err := mfa.ParseChallengeID(challenge)
	if err != nil {
		return err
	}
	if !code.given {
		return required("code")
	}
	o, err := once(r, http.StatusCreated, a.appendVerification)
	if err != nil {
		return err
	}
	if o != nil {
		o.Claim = byBody
	}
	v, err := a.mfa.Verify(r.Context(), r.key.Environment, id, code.string, o)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, a.appendVerification, &v)
}
