package httpapi

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// enrollParams reads the body of a request to enroll a factor.
func enrollParams(body []byte) (p mfa.EnrollParams, err error) {
	var totpSecret string
	err = decode(body,
		text("totp_algorithm", &p.Algorithm),
		anyText("totp_digits", &p.Digits),
		anyText("totp_period", &p.Period),
		text("type", (*string)(&p.Type)),
		text("totp_issuer", &p.Issuer),
		text("totp_user", &p.Account),
		text("totp_secret", &totpSecret),
		anyText("phone_number", &p.PhoneNumber),
		text("user_id", &p.User),
		text("name", &p.Name),
		text("webauthn_user", &p.PasskeyUser),
	)
	p.Secret = secret.NewString(totpSecret)
	return p, err
}

// enroll serves POST /auth/factors/enroll.
func (a *API) enroll(w http.ResponseWriter, r request) error {
	params, err := enrollParams(r.Content)
	if err != nil {
		return err
	}
	o, err := once(r, http.StatusCreated, appendEnrollment)
	if err != nil {
		return err
	}
	e, err := a.mfa.Enroll(r.Context(), r.by(), params, o)
	if err != nil {
		return err
	}
	r.enrolled(&e)
	return replyOnce(w, r, e.Replayed, http.StatusCreated, appendEnrollment, &e)
}

// enrollForUser serves POST /user_management/users/{user}/auth_factors.
func (a *API) enrollForUser(w http.ResponseWriter, r request) error {
	params, err := enrollParams(r.Content)
	if err != nil {
		return err
	}
	params.User, params.Challenge = r.PathValue("user"), true
	o, err := once(r, http.StatusCreated, a.appendUserEnrollment)
	if err != nil {
		return err
	}
	e, err := a.mfa.Enroll(r.Context(), r.by(), params, o)
	if err != nil {
		return err
	}
	r.enrolled(&e)
	return replyOnce(w, r, e.Replayed, http.StatusCreated, a.appendUserEnrollment, &e)
}

// factor serves GET /auth/factors/{id}.
func (a *API) factor(w http.ResponseWriter, r request) error {
	id, err := r.factorID(r.PathValue("id"))
	if err != nil {
		return err
	}
	f, err := a.mfa.Factor(r.Context(), r.by(), id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, appendDetails, &f)
}

// deleteFactor serves DELETE /auth/factors/{id}.
func (a *API) deleteFactor(w http.ResponseWriter, r request) error {
	id, err := r.factorID(r.PathValue("id"))
	if err != nil {
		return err
	}
	var proof mfa.ChallengeID
	if r.by().Settings.Values().DeleteRequiresChallenge != 0 { // others may send any query
		query, err := parseQuery(r)
		if err != nil {
			return err
		}
		if proof, err = deletionProof(query); err != nil {
			return err
		}
	}
	if err := a.mfa.DeleteFactorWith(r.Context(), r.by(), id, proof); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// proofParameter names the challenge that allows a deletion.
const proofParameter = "authentication_challenge_id"

// deletionProof reads the challenge that allows a deletion; zero without one.
func deletionProof(query url.Values) (proof mfa.ChallengeID, err error) {
	text := query.Get(proofParameter)
	if text == "" {
		return proof, nil
	}
	if proof, err = mfa.ParseChallengeID(text); err != nil {
		return proof, &mfa.InvalidError{Fields: []mfa.FieldError{{
			Field: proofParameter, Code: "invalid", Message: proofParameter + " must be the id of an authentication challenge",
		}}}
	}
	return proof, nil
}

// factorsOfUser serves GET /user_management/users/{user}/auth_factors.
func (a *API) factorsOfUser(w http.ResponseWriter, r request) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	params, err := listParams(query)
	if err != nil {
		return err
	}
	params.User = r.PathValue("user")
	page, err := a.mfa.Factors(r.Context(), r.by(), params)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, appendPage, &page)
}

// parseQuery reads the query of a request. URL.Query would skip a parameter that it
// cannot read, and without its cursor a list would start again at the first page.
func parseQuery(r request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &mfa.InvalidError{Fields: []mfa.FieldError{{Field: "query", Code: "unreadable", Message: "the query is not well formed"}}}
	}
	return query, nil
}

func listParams(q url.Values) (p mfa.ListParams, err error) {
	var e mfa.InvalidError
	p.After, p.Before = q.Get("after"), q.Get("before")
	if limit := q.Get("limit"); limit != "" {
		if p.Limit, err = strconv.Atoi(limit); err != nil || p.Limit < 1 {
			e.Fields = append(e.Fields, mfa.FieldError{Field: "limit", Code: "out_of_range", Message: "limit must be from 1 to 100"})
		}
	}
	switch q.Get("types") {
	case "all":
		p.All = true
	case "":
	default:
		e.Fields = append(e.Fields, mfa.FieldError{Field: "types", Code: "unsupported", Message: "types must be all, which also lists recovery codes"})
	}
	switch q.Get("order") {
	case "asc":
		p.Ascending = true
	case "desc", "normal", "": // some libraries send "normal" for the default
	default:
		e.Fields = append(e.Fields, mfa.FieldError{Field: "order", Code: "unsupported", Message: "order must be asc or desc"})
	}
	if e.Fields != nil {
		return p, &e
	}
	return p, nil
}
