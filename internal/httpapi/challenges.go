package httpapi

import (
	"net/http"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// challenge serves POST /auth/factors/{id}/challenge.
func (a *API) challenge(w http.ResponseWriter, r request) error {
	return a.doChallenge(w, r, r.PathValue("id"))
}

// challengeByBody serves POST /auth/factors/challenge.
func (a *API) challengeByBody(w http.ResponseWriter, r request) error {
	factor, err := requiredText(r, "authentication_factor_id")
	if err != nil {
		return err
	}
	return a.doChallenge(w, r, factor)
}

func (a *API) doChallenge(w http.ResponseWriter, r request, factor string) error {
	var p mfa.ChallengeParams
	var wants string
	err := decode(r.Content, text("sms_template", &p.Template), text("locale", &p.Locale), ipAddress(&p.Client), userAgent(&p.Client),
		text("origin", &p.Passkey.Origin), text("user_verification", &p.Passkey.UserVerification), object("receipt", &wants), flag("accept_recovery", &p.AcceptRecovery))
	if err != nil {
		return err
	}
	if p.Receipt, err = receiptRequest(wants); err != nil {
		return err
	}
	id, err := r.factorID(factor)
	if err != nil {
		return err
	}
	o, err := once(r, http.StatusCreated, a.appendChallenge)
	if err != nil {
		return err
	}
	c, err := a.mfa.Challenge(r.Context(), r.by(), id, p, o)
	if err != nil {
		return err
	}
	r.concerns(&c)
	return replyOnce(w, r, c.Replayed, http.StatusCreated, a.appendChallenge, &c)
}

// ipAddress and userAgent are the fields that describe the end user's device.
func ipAddress(c *mfa.Client) field { return text("ip_address", &c.IPAddress) }
func userAgent(c *mfa.Client) field { return text("user_agent", &c.UserAgent) }

// findChallenge serves GET /auth/challenges/{id}.
func (a *API) findChallenge(w http.ResponseWriter, r request) error {
	if err := takesNothing(r); err != nil {
		return err
	}
	id, err := r.challengeID(r.PathValue("id"))
	if err != nil {
		return err
	}
	c, err := a.mfa.FindChallenge(r.Context(), r.by(), id)
	if err != nil {
		return err
	}
	r.concerns(&c)
	return reply(w, http.StatusOK, a.appendChallenge, &c)
}

// resend serves POST /auth/challenges/{id}/resend.
func (a *API) resend(w http.ResponseWriter, r request) error {
	if err := takesNothing(r); err != nil {
		return err
	}
	id, err := r.challengeID(r.PathValue("id"))
	if err != nil {
		return err
	}
	o, err := once(r, http.StatusCreated, a.appendChallenge)
	if err != nil {
		return err
	}
	c, err := a.mfa.Resend(r.Context(), r.by(), id, o)
	if err != nil {
		return err
	}
	r.concerns(&c)
	return replyOnce(w, r, c.Replayed, http.StatusCreated, a.appendChallenge, &c)
}

// verify serves POST /auth/challenges/{id}/verify.
func (a *API) verify(w http.ResponseWriter, r request) error {
	return a.doVerify(w, r, r.PathValue("id"))
}

// verifyByBody serves POST /auth/factors/verify.
func (a *API) verifyByBody(w http.ResponseWriter, r request) error {
	challenge, err := requiredText(r, "authentication_challenge_id")
	if err != nil {
		return err
	}
	return a.doVerify(w, r, challenge)
}

func (a *API) doVerify(w http.ResponseWriter, r request, challenge string) error {
	var p mfa.VerifyParams
	var given bool
	var credential string // webauthn: the code as an object
	var wants string
	err := decode(r.Content, codeText("code", &p.Code, &given), anyText("credential", &credential), ipAddress(&p.Client), userAgent(&p.Client), object("receipt", &wants))
	if err != nil {
		return err
	}
	if p.Receipt, err = receiptRequest(wants); err != nil {
		return err
	}
	if !given && credential != "" {
		p.Code, given = credential, true
	}
	id, err := r.challengeID(challenge)
	if err != nil {
		return err
	}
	if !given {
		return required("code")
	}
	o, err := once(r, http.StatusCreated, a.appendVerification)
	if err != nil {
		return err
	}
	v, err := a.mfa.Verify(r.Context(), r.by(), id, p, o)
	if err != nil {
		return err
	}
	r.concerns(&v.Challenge)
	return replyOnce(w, r, v.Replayed, http.StatusCreated, a.appendVerification, &v)
}
