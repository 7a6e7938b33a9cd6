package console

import (
	"encoding/base64"
	"net/http"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/signin"
)

// An accountView is the view of an operator's own passkeys and sessions.
type accountView struct {
	signin.Account
	Current string // the id of this session
	Confirm string // the path of the page that makes the session fresh
}

// account serves GET /console/account.
func (c *Console) account(w http.ResponseWriter, r *request) error {
	a, err := c.parts.SignIn.Account(r.Context(), r.operator.Name)
	if err != nil {
		return err
	}
	current, err := c.parts.SignIn.Identify(r.Context(), secretOf(r.Request.Request, sessionCookie))
	if err != nil {
		return err
	}
	return c.showPage(w, r, "Your account", "signin_account.html", accountView{a, current.ID, confirmPath(root + "/account")})
}

func (c *Console) passkeyOptions(w http.ResponseWriter, r *request, _ question) (answer, error) {
	b, err := c.parts.SignIn.BeginPasskey(r.Context(), c.client(r.Request))
	return begun(w, b, err)
}

func (c *Console) addPasskey(w http.ResponseWriter, r *request, q question) (answer, error) {
	err := c.parts.SignIn.FinishPasskey(r.Context(), c.client(r.Request), secretOf(r.Request.Request, ceremonyCookie), q.Name, q.Response)
	if err != nil {
		return answer{}, err
	}
	dropSecret(w, ceremonyCookie)
	return answer{To: root + "/account?done=passkey-added"}, nil
}

// passkeyID reads the id of a passkey from a form.
func passkeyID(r *request) ([]byte, error) {
	id, err := base64.RawURLEncoding.DecodeString(r.text("passkey"))
	if err != nil || len(id) == 0 {
		return nil, signin.ErrNotFound
	}
	return id, nil
}

// removeOwnPasskey serves POST /console/account/passkeys/remove.
func (c *Console) removeOwnPasskey(w http.ResponseWriter, r *request) error {
	id, err := passkeyID(r)
	if err == nil {
		err = c.parts.SignIn.RemoveOwnPasskey(r.Context(), c.client(r.Request), id)
	}
	if err != nil {
		return err
	}
	return done(w, r, root+"/account", "passkey-removed")
}

// endOwnSession serves POST /console/account/sessions/end.
func (c *Console) endOwnSession(w http.ResponseWriter, r *request) error {
	if err := c.parts.SignIn.EndOwnSession(r.Context(), c.client(r.Request), r.text("session")); err != nil {
		return err
	}
	return done(w, r, root+"/account", "session-ended")
}

// An operatorsView is the view of all operators.
type operatorsView struct {
	Accounts []signin.Account
	Roles    []access.Role
	Confirm  string // the path of the page that makes the session fresh
}

// operators serves GET /console/operators.
func (c *Console) operators(w http.ResponseWriter, r *request) error {
	all, err := c.parts.SignIn.Accounts(r.Context())
	if err != nil {
		return err
	}
	return c.showPage(w, r, "Operators", "signin_operators.html", operatorsView{all, access.Roles(), confirmPath(root + "/operators")})
}

// A linkView is the view of a new one-time link.
type linkView struct {
	signin.Link
	URL string
}

// createLink serves POST /console/operators/link. It shows the link this once, so it does not
// redirect.
func (c *Console) createLink(w http.ResponseWriter, r *request) error {
	l, err := c.parts.SignIn.CreateLink(r.Context(), r.by(), r.text("operator"), access.Role(r.text("role")))
	if err != nil {
		return asFault(err)
	}
	return c.showPage(w, r, "One-time link", "signin_link.html", linkView{l, c.opts.URL + root + "/enroll#" + l.Token.Reveal()})
}

// asFault turns an error without a known kind, which describes a wrong name, role or reason,
// into one of the form.
func asFault(err error) error {
	if describe(err).Internal {
		return fault(sentence(err.Error()))
	}
	return err
}

// setRole serves POST /console/operators/role.
func (c *Console) setRole(w http.ResponseWriter, r *request) error {
	role, err := access.ParseRole(r.text("role"))
	if err != nil {
		return fault(sentence(err.Error()))
	}
	return c.managed(w, r, "role-changed", c.parts.SignIn.SetRole(r.Context(), r.by(), r.text("operator"), role))
}

// disable serves POST /console/operators/disable.
func (c *Console) disable(w http.ResponseWriter, r *request) error {
	return c.managed(w, r, "operator-disabled", c.parts.SignIn.Disable(r.Context(), r.by(), r.text("operator")))
}

// enable serves POST /console/operators/enable.
func (c *Console) enable(w http.ResponseWriter, r *request) error {
	return c.managed(w, r, "operator-enabled", c.parts.SignIn.Enable(r.Context(), r.by(), r.text("operator")))
}

// endSessions serves POST /console/operators/sessions.
func (c *Console) endSessions(w http.ResponseWriter, r *request) error {
	return c.managed(w, r, "sessions-ended", c.parts.SignIn.EndSessions(r.Context(), r.by(), r.text("operator"), r.text("session")))
}

// removePasskey serves POST /console/operators/passkeys/remove.
func (c *Console) removePasskey(w http.ResponseWriter, r *request) error {
	id, err := passkeyID(r)
	if err == nil {
		err = c.parts.SignIn.RemovePasskey(r.Context(), r.by(), r.text("operator"), id)
	}
	return c.managed(w, r, "passkey-removed", err)
}

// managed answers an action on an operator.
func (c *Console) managed(w http.ResponseWriter, r *request, notice string, err error) error {
	if err != nil {
		return err
	}
	return done(w, r, root+"/operators", notice)
}
