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
	toJSON := func(c mfa.Issued) any { return a.challengeJSON(c) }
	o, err := once(r, http.StatusCreated, toJSON)
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
	return respond(w, http.StatusCreated, toJSON(c))
}

// findChallenge serves GET /auth/challenges/{id}.
func (a *API) findChallenge(w http.ResponseWriter, r *request) error {
	id, err := mfa.ParseChallengeID(r.PathValue("id"))
	if err != nil {
		return err
	}
	c, err := a.mfa.FindChallenge(r.Context(), r.key.Environment, id)
	if err != nil {
		return err
	}
	return respond(w, http.StatusOK, a.challengeJSON(c))
}

// resend serves POST /auth/challenges/{id}/resend.
func (a *API) resend(w http.ResponseWriter, r *request) error {
	if err := decode(r.body, &struct{}{}); err != nil {
		return err
	}
	id, err := mfa.ParseChallengeID(r.PathValue("id"))
	if err != nil {
		return err
	}
	toJSON := func(c mfa.Issued) any { return a.challengeJSON(c) }
	o, err := once(r, http.StatusCreated, toJSON)
	if err != nil {
		return err
	}
	c, err := a.mfa.Resend(r.Context(), r.key.Environment, id, o)
	if err != nil {
		return err
	}
	return respond(w, http.StatusCreated, toJSON(c))
}

type verifyRequest struct {
	ChallengeID text    `json:"authentication_challenge_id"` // on the older path
	Code        anyText `json:"code"`
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

func (a *API) doVerify(w http.ResponseWriter, r *request, challenge string, code anyText, byBody bool) error {
	id, err := mfa.ParseChallengeID(challenge)
	if err != nil {
		return err
	}
	if !code.given {
		return required("code")
	}
	toJSON := func(v mfa.Verification) any { return a.verificationJSON(v) }
	o, err := once(r, http.StatusCreated, toJSON)
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
	return respond(w, http.StatusCreated, toJSON(v))
}
