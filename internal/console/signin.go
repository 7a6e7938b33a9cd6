package console

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/web"
)

// signInRoutes lists the routes of a console with sign-in. static/signin.js sends the
// requests for passkeys: their bodies and answers are JSON.
func (c *Console) signInRoutes() []Route {
	if c.parts.SignIn == nil {
		return nil
	}
	routes := []Route{
		{"GET /console/sign-in", access.Public, c.signInPage},
		{"POST /console/sign-in/options", access.Public, c.ask(c.signInOptions)},
		{"POST /console/sign-in/passkey", access.Public, c.ask(c.signIn)},
		{"GET /console/enroll", access.Public, c.enrollPage},
		{"POST /console/enroll/options", access.Public, c.ask(c.enrollOptions)},
		{"POST /console/enroll", access.Public, c.ask(c.enroll)},

		{"GET /console/confirm", access.ReadSelf, c.confirmPage},
		{"POST /console/confirm/options", access.ReadSelf, c.ask(c.confirmOptions)},
		{"POST /console/confirm", access.ReadSelf, c.ask(c.confirm)},
		{"POST /console/sign-out", access.ReadSelf, c.signOut},
		{"POST /console/sign-out/everywhere", access.ReadSelf, c.signOutEverywhere},

		{"GET /console/account", access.ReadSelf, c.account},
		{"POST /console/account/passkeys/options", access.ReadSelf, c.ask(c.passkeyOptions)},
		{"POST /console/account/passkeys", access.ReadSelf, c.ask(c.addPasskey)},
		{"POST /console/account/passkeys/remove", access.ReadSelf, c.removeOwnPasskey},
		{"POST /console/account/sessions/end", access.ReadSelf, c.endOwnSession},

		{"GET /console/operators", access.ReadOperators, c.operators},
		{"POST /console/operators/link", access.ManageOperators, c.createLink},
		{"POST /console/operators/role", access.ManageOperators, c.setRole},
		{"POST /console/operators/disable", access.ManageOperators, c.disable},
		{"POST /console/operators/enable", access.ManageOperators, c.enable},
		{"POST /console/operators/sessions", access.ManageOperators, c.endSessions},
		{"POST /console/operators/passkeys/remove", access.ManageOperators, c.removePasskey},
	}
	if c.parts.Provider != nil {
		routes = append(routes,
			Route{"POST /console/sign-in/provider", access.Public, c.visitProvider},
			Route{"GET /console/sign-in/provider/callback", access.Public, c.returned},
			Route{"POST /console/confirm/provider", access.ReadSelf, c.confirmAtProvider},
		)
	}
	return routes
}

// A question is the body of a request of signin.js.
type question struct {
	Link     string          `json:"link"`     // the secret of a one-time link
	Name     string          `json:"name"`     // of a new passkey
	Response json.RawMessage `json:"response"` // of navigator.credentials
	Back     string          `json:"back"`
}

// An answer is the body of an answer to signin.js.
type answer struct {
	Options json.RawMessage `json:"options,omitempty"` // for navigator.credentials
	Name    string          `json:"name,omitempty"`    // of the operator
	To      string          `json:"to,omitempty"`      // where to go
	Error   string          `json:"error,omitempty"`
}

// ask returns a handler that reads a question and sends an answer. Errors are answers as
// well: the script shows their text.
func (c *Console) ask(h func(w http.ResponseWriter, r *request, q question) (answer, error)) handler {
	return func(w http.ResponseWriter, r *request) error {
		var q question
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
		if err != nil {
			err = &web.BodyError{Cause: err}
		} else if json.Unmarshal(body, &q) != nil {
			err = errNoQuestion
		}
		status, a := http.StatusOK, answer{}
		if err == nil {
			a, err = h(w, r, q)
		}
		if err != nil {
			p := describe(err)
			if p.Internal {
				return err
			}
			status, a = p.Status, answer{Error: p.Message}
			r.Code = p.Code
		}
		text, err := json.Marshal(a)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		w.Write(text) // an error means that the client has gone
		return nil
	}
}

// errNoQuestion is a fault, so it has the status of one.
const errNoQuestion = fault("The request is not JSON.")

// begun sends the options of a ceremony.
func begun(w http.ResponseWriter, b signin.Begun, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	setSecret(w, ceremonyCookie, b.Token)
	return answer{Options: b.Options, Name: b.Name}, nil
}

// opened sets the cookie of a new session.
func opened(w http.ResponseWriter, session secret.String, back string, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	dropSecret(w, ceremonyCookie)
	setSecret(w, sessionCookie, session)
	return answer{To: local(back)}, nil
}

// A signInView is the view of the page for signing in, and of the one for confirming.
type signInView struct {
	Back     string
	Provider string // the name of the identity provider; "" without one
	Passkey  bool   // the operator has a passkey
}

// signInPage serves GET /console/sign-in?back=PATH.
func (c *Console) signInPage(w http.ResponseWriter, r *request) error {
	back := local(r.URL.Query().Get("back"))
	switch _, err := c.parts.Identify(r.Request.Request); {
	case err == nil:
		http.Redirect(w, r.Request.Request, back, http.StatusSeeOther)
		return nil
	case !errors.Is(err, ErrSignedOut):
		return err
	}
	return c.showPage(w, r, "Sign in", "signin.html", c.signInView(w, back))
}

// signInView lets the forms of the page lead to the identity provider.
func (c *Console) signInView(w http.ResponseWriter, back string) signInView {
	v := signInView{Back: back, Passkey: true}
	if c.parts.Provider != nil {
		v.Provider = c.parts.Provider.Name()
		allowForms(w.Header(), c.parts.Provider.Origin())
	}
	return v
}

func (c *Console) signInOptions(w http.ResponseWriter, r *request, _ question) (answer, error) {
	b, err := c.parts.SignIn.BeginSignIn(r.Context(), c.client(r.Request))
	return begun(w, b, err)
}

func (c *Console) signIn(w http.ResponseWriter, r *request, q question) (answer, error) {
	session, err := c.parts.SignIn.FinishSignIn(r.Context(), c.client(r.Request), secretOf(r.Request.Request, ceremonyCookie), q.Response)
	return opened(w, session, q.Back, err)
}

// enrollPage serves GET /console/enroll, the page of a one-time link. The secret of the link
// is after the #, so it reaches no log; the script sends it.
func (c *Console) enrollPage(w http.ResponseWriter, r *request) error {
	return c.showPage(w, r, "Register a passkey", "signin_enroll.html", nil)
}

func (c *Console) enrollOptions(w http.ResponseWriter, r *request, q question) (answer, error) {
	b, err := c.parts.SignIn.BeginEnrollment(r.Context(), c.client(r.Request), secret.NewString(q.Link))
	return begun(w, b, err)
}

func (c *Console) enroll(w http.ResponseWriter, r *request, q question) (answer, error) {
	session, err := c.parts.SignIn.FinishEnrollment(r.Context(), c.client(r.Request), secretOf(r.Request.Request, ceremonyCookie), q.Name, q.Response)
	return opened(w, session, root, err)
}

// confirmPage serves GET /console/confirm?back=PATH, where an operator proves to be there still.
func (c *Console) confirmPage(w http.ResponseWriter, r *request) error {
	a, err := c.parts.SignIn.Account(r.Context(), r.operator.Name)
	if err != nil {
		return err
	}
	v := c.signInView(w, local(r.URL.Query().Get("back")))
	v.Passkey = len(a.Passkeys) > 0
	if !a.IsExternal() {
		v.Provider = ""
	}
	return c.showPage(w, r, "Confirm", "signin_confirm.html", v)
}

func (c *Console) confirmOptions(w http.ResponseWriter, r *request, _ question) (answer, error) {
	b, err := c.parts.SignIn.BeginConfirmation(r.Context(), c.client(r.Request))
	return begun(w, b, err)
}

func (c *Console) confirm(w http.ResponseWriter, r *request, q question) (answer, error) {
	err := c.parts.SignIn.Confirm(r.Context(), c.client(r.Request), secretOf(r.Request.Request, ceremonyCookie), q.Response)
	if err != nil {
		return answer{}, err
	}
	dropSecret(w, ceremonyCookie)
	return answer{To: local(q.Back)}, nil
}

// signOut serves POST /console/sign-out.
func (c *Console) signOut(w http.ResponseWriter, r *request) error {
	if err := c.parts.SignIn.SignOut(r.Context(), c.client(r.Request)); err != nil {
		return err
	}
	return left(w, r)
}

// signOutEverywhere serves POST /console/sign-out/everywhere.
func (c *Console) signOutEverywhere(w http.ResponseWriter, r *request) error {
	if err := c.parts.SignIn.SignOutEverywhere(r.Context(), c.client(r.Request)); err != nil {
		return err
	}
	return left(w, r)
}

// left removes all that the browser has of the session.
func left(w http.ResponseWriter, r *request) error {
	dropSecret(w, sessionCookie)
	http.Redirect(w, r.Request.Request, root+"/sign-in", http.StatusSeeOther)
	return nil
}

// signInKinds has the errors of sign-in for the function kinds.
func signInKinds() []web.Kind {
	return []web.Kind{
		{Err: signin.ErrRefused, Status: http.StatusUnprocessableEntity, Message: "This was not accepted. Use a passkey that is registered for this console, or ask an administrator for a new link."},
		{Err: signin.ErrExpired, Status: http.StatusUnprocessableEntity, Message: "This took too long, or was sent before. Try again."},
		{Err: signin.ErrLink, Status: http.StatusUnprocessableEntity, Message: "This link was used, has expired or was replaced by a newer one. Ask for a new one: 'countersign console link' makes it."},
		{Err: signin.ErrSignedOut, Status: http.StatusUnauthorized, Message: "You are signed out. Sign in again."},
		{Err: signin.ErrStale, Status: http.StatusForbidden, Message: "Confirm with your passkey first, and then try again."},
		{Err: signin.ErrNotFound, Status: http.StatusNotFound, Message: "There is no such operator, passkey or session. It may have been removed."},
		{Err: signin.ErrExternal, Status: http.StatusConflict, Message: "This operator signs in through the identity provider, whose groups decide the role."},
		{Err: signin.ErrNoRole, Status: http.StatusForbidden, Message: "You are signed in at the identity provider, but none of your groups may use this console. Ask an administrator of the provider to add you to a group that may."},
		{Err: signin.ErrNameTaken, Status: http.StatusConflict, Message: "Another operator of this console already has your name. Ask an administrator to have your name changed at the identity provider."},
		{Err: signin.ErrLastPasskey, Status: http.StatusConflict, Message: "This is your only passkey. Add another one first."},
		{Err: signin.ErrTooMany, Status: http.StatusConflict, Message: "You have 20 passkeys. Remove one first."},
		{Err: signin.ErrDisabled, Status: http.StatusConflict, Message: "The operator is disabled. Enable the operator first."},
		{Err: signin.ErrName, Status: http.StatusUnprocessableEntity, Message: "Give the passkey a name of 1 to 64 characters, such as Laptop."},
		{Err: errBlocked, Status: http.StatusTooManyRequests},
	}
}

// errBlocked is matched by every signin.BlockedError.
var errBlocked = &signin.BlockedError{}

// confirmPath is the path of the page on which an operator confirms before going back.
func confirmPath(back string) string { return root + "/confirm?back=" + url.QueryEscape(back) }
