package httpapi

import (
	"net/http"
	"strconv"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// createRecovery serves POST /user_management/users/{user}/recovery_codes.
func (a *API) createRecovery(w http.ResponseWriter, r request) error {
	p := mfa.RecoveryParams{User: r.PathValue("user")}
	if err := decodeOnly(r.Content, flag("allow_sole", &p.AllowSole), ipAddress(&p.Client), userAgent(&p.Client)); err != nil {
		return err
	}
	o, err := once(r, http.StatusCreated, appendNewRecovery)
	if err != nil {
		return err
	}
	n, err := a.mfa.CreateRecoveryCodes(r.Context(), r.by(), p, o)
	if err != nil {
		return err
	}
	r.concernsFactor(n.ID)
	return replyOnce(w, r, n.Replayed, http.StatusCreated, appendNewRecovery, &n)
}

// recovery serves GET /user_management/users/{user}/recovery_codes.
func (a *API) recovery(w http.ResponseWriter, r request) error {
	if err := takesNothing(r); err != nil {
		return err
	}
	d, err := a.mfa.RecoveryCodes(r.Context(), r.by(), r.PathValue("user"))
	if err != nil {
		return err
	}
	r.concernsFactor(d.ID)
	return reply(w, http.StatusOK, appendRecovery, &d)
}

// deleteRecovery serves DELETE /user_management/users/{user}/recovery_codes.
func (a *API) deleteRecovery(w http.ResponseWriter, r request) error {
	query, err := takesOnly(r, proofParameter)
	if err != nil {
		return err
	}
	proof, err := deletionProof(query)
	if err != nil {
		return err
	}
	if err := a.mfa.DeleteRecoveryCodes(r.Context(), r.by(), r.PathValue("user"), proof); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// verifyUser serves POST /user_management/users/{user}/verify. It creates nothing, so its
// status is 200.
func (a *API) verifyUser(w http.ResponseWriter, r request) error {
	var p mfa.VerifyParams
	var given bool
	var wants string
	err := decodeOnly(r.Content, codeText("code", &p.Code, &given), ipAddress(&p.Client), userAgent(&p.Client), object("receipt", &wants))
	if err != nil {
		return err
	}
	if p.Receipt, err = receiptRequest(wants); err != nil {
		return err
	}
	if !given {
		return required("code")
	}
	o, err := once(r, http.StatusOK, appendUserVerification)
	if err != nil {
		return err
	}
	v, err := a.mfa.VerifyUser(r.Context(), r.by(), r.PathValue("user"), p, o)
	if err != nil {
		return err
	}
	r.concernsFactor(v.Factor)
	return replyOnce(w, r, v.Replayed, http.StatusOK, appendUserVerification, &v)
}

// appendRecovery appends a set of recovery codes without the codes.
func appendRecovery(b []byte, d *mfa.Details) []byte {
	return append(appendRecoveryObject(b, d), '}')
}

// appendNewRecovery appends a new set with its codes.
func appendNewRecovery(b []byte, n *mfa.NewRecoveryCodes) []byte {
	b = appendRecoveryObject(b, &n.Details)
	b = append(b, `,"codes":[`...)
	for i, code := range n.Codes {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, mfa.FormatRecoveryCode(code))
	}
	return append(b, `]}`...)
}

func appendRecoveryObject(b []byte, d *mfa.Details) []byte {
	b = append(b, `{"object":"recovery_codes","id":"`...)
	b = d.ID.Append(b)
	b = append(b, `","user_id":`...)
	b = appendString(b, d.User)
	b = append(b, ',')
	return appendRecoveryNumbers(b, d.Recovery)
}

func appendRecoveryNumbers(b []byte, s *mfa.RecoveryState) []byte {
	b = append(b, `"total":`...)
	b = strconv.AppendInt(b, int64(s.Total), 10)
	b = append(b, `,"remaining":`...)
	b = strconv.AppendInt(b, int64(s.Remaining), 10)
	b = append(b, `,"created_at":`...)
	return appendTime(b, s.CreatedAt)
}

// appendRecoveryUse appends the use of a recovery code to a verification; nothing for nil.
func appendRecoveryUse(b []byte, u *mfa.RecoveryUse) []byte {
	if u == nil {
		return b
	}
	b = append(b, `,"recovery":{"used":true,"remaining":`...)
	b = strconv.AppendInt(b, int64(u.Remaining), 10)
	if u.Replacement.Reveal() != "" {
		b = append(b, `,"replacement_code":`...)
		b = appendString(b, mfa.FormatRecoveryCode(u.Replacement))
	}
	return append(b, '}')
}

// appendUserVerification appends the answer to a code for all factors of a user.
func appendUserVerification(b []byte, v *mfa.UserVerification) []byte {
	b = append(b, `{"valid":`...)
	b = strconv.AppendBool(b, v.Valid)
	if v.Factor == (mfa.FactorID{}) { // of a wrong code and of a bypass code
		b = append(b, `,"authentication_factor_id":null,"type":null`...)
	} else {
		b = append(b, `,"authentication_factor_id":"`...)
		b = v.Factor.Append(b)
		b = append(b, `","type":`...)
		b = appendString(b, string(v.Type))
	}
	if v.Bypass {
		b = append(b, `,"bypass":{"used":true}`...)
	}
	b = appendRecoveryUse(b, v.Recovery)
	if receipt := v.Receipt.Reveal(); receipt != "" {
		b = append(b, `,"receipt":`...)
		b = appendString(b, receipt)
	}
	return append(b, '}')
}
