package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/countersign-mfa/countersign/internal/web"
)

// passkeyPages serves GET /.well-known/webauthn: the pages that may use the passkeys of the host
// of the request.
func (a *API) passkeyPages(w http.ResponseWriter, r *web.Request) error {
	origins, err := a.access.PasskeyPages(r.Context(), web.HostName(r.Host))
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string][]string{"origins": origins})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, err = w.Write(body)
	return err
}

// simulate serves POST /dev/webauthn/answer: in a sandbox, the answer of a software authenticator
// to a challenge. The body of the reply can be the body of verify.
func (a *API) simulate(w http.ResponseWriter, r request) error {
	challenge, err := requiredText(r, "challenge_id")
	if err != nil {
		return err
	}
	id, err := r.challengeID(challenge)
	if err != nil {
		return err
	}
	credential, err := a.mfa.Simulate(r.Context(), r.by(), id)
	if err != nil {
		return err
	}
	web.Send(w, http.StatusOK, slices.Concat([]byte(`{"credential":`), credential, []byte(`}`)))
	return nil
}
