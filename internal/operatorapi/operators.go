package operatorapi

import (
	"errors"
	"slices"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/signin"
)

// An operatorObject is an operator of the console on the wire.
type operatorObject struct {
	Object        string      `json:"object"`
	Name          string      `json:"name"`
	Role          access.Role `json:"role"`
	Status        string      `json:"status"`
	SignsInWith   string      `json:"signs_in_with"`
	Passkeys      int         `json:"passkeys"`
	Sessions      int         `json:"sessions"`
	LinkExpiresAt *string     `json:"link_expires_at"`
	CreatedAt     *string     `json:"created_at"`
	DisabledAt    *string     `json:"disabled_at"`
}

func showOperator(a signin.Account) operatorObject {
	o := operatorObject{
		"operator", a.Name, a.Role, "enabled", "passkey", len(a.Passkeys), len(a.Sessions),
		instant(a.Link), instant(a.CreatedAt), instant(a.DisabledAt),
	}
	if !a.DisabledAt.IsZero() {
		o.Status = "disabled"
	}
	if a.IsExternal() {
		o.SignsInWith = "identity_provider"
	}
	return o
}

// onAll refuses a key of one environment: operators have access to all environments.
func (r *request) onAll() error {
	if r.key.Environment.ID != 0 {
		return errOneEnvironment
	}
	return nil
}

// operators serves GET /operators.
func (a *API) operators(r *request) (result, error) {
	if err := r.onAll(); err != nil {
		return result{}, err
	}
	q, err := readQuery(r)
	if err != nil {
		return result{}, err
	}
	all, err := a.parts.SignIn.Accounts(r.Context())
	if err != nil {
		return result{}, err
	}
	p, err := page(q, all, func(o signin.Account) string { return o.Name }, func(o signin.Account) any { return showOperator(o) })
	if err != nil {
		return result{}, err
	}
	return ok(p)
}

// account returns the operator that the path names.
func (a *API) account(r *request) (signin.Account, error) {
	if err := r.onAll(); err != nil {
		return signin.Account{}, err
	}
	name := r.PathValue("name")
	found, err := a.parts.SignIn.Account(r.Context(), name)
	return found, operatorNotFound(err, "Operator", name)
}

// operatorNotFound turns signin.ErrNotFound into an error that names the missing entity.
func operatorNotFound(err error, entity mfa.Entity, id string) error {
	if errors.Is(err, signin.ErrNotFound) {
		return &mfa.NotFoundError{Entity: entity, ID: id}
	}
	return err
}

// getOperator serves GET /operators/{name}.
func (a *API) getOperator(r *request) (result, error) {
	if err := takesNoQuery(r); err != nil {
		return result{}, err
	}
	found, err := a.account(r)
	if err != nil {
		return result{}, err
	}
	return ok(showOperator(found))
}

// role reads a role; "" if it is absent.
func (b body) role() access.Role {
	text := b.text("role")
	if text == "" {
		return ""
	}
	role, err := access.ParseRole(text)
	if err != nil {
		b.fail("role", "unknown", "role must be viewer, support or admin")
	}
	return role
}

// inviteOperator serves POST /operators: it makes a one-time link, and the operator if the name is
// new.
func (a *API) inviteOperator(r *request) (result, error) {
	if err := r.onAll(); err != nil {
		return result{}, err
	}
	name, role := r.body.required("name"), r.body.role()
	if name != "" {
		if err := (operator.By{Operator: name}).Check(); err != nil {
			r.body.fail("name", "invalid", err.Error())
		}
	}
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	l, err := a.parts.SignIn.CreateLink(r.Context(), by, name, role)
	if err != nil {
		return result{}, err
	}
	found, err := a.parts.SignIn.Account(r.Context(), name)
	if err != nil {
		return result{}, err
	}
	var url *string
	if a.opts.ConsoleURL != "" {
		text := a.opts.ConsoleURL + "/enroll#" + l.Token.Reveal()
		url = &text
	}
	return created(struct {
		Object    string         `json:"object"`
		Operator  operatorObject `json:"operator"`
		Token     string         `json:"token"`
		URL       *string        `json:"url"`
		ExpiresAt *string        `json:"expires_at"`
	}{"operator_link", showOperator(found), l.Token.Reveal(), url, instant(l.ExpiresAt)})
}

// updateOperator serves PATCH /operators/{name}. Absent keys stay as they are.
func (a *API) updateOperator(r *request) (result, error) {
	found, err := a.account(r)
	if err != nil {
		return result{}, err
	}
	c := signin.Change{Role: r.body.role()}
	if c.Status = signin.Status(r.body.text("status")); c.Status != "" && c.Status != signin.Enabled && c.Status != signin.Disabled {
		r.body.fail("status", "unknown", "status must be enabled or disabled")
	}
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	if err := a.parts.SignIn.Update(r.Context(), by, found.Name, c); err != nil {
		return result{}, operatorNotFound(err, "Operator", found.Name)
	}
	if found, err = a.account(r); err != nil {
		return result{}, err
	}
	return ok(showOperator(found))
}

// A sessionObject is a session of the console on the wire.
type sessionObject struct {
	Object     string  `json:"object"`
	ID         string  `json:"id"`
	Method     string  `json:"method"`
	Browser    string  `json:"browser"`
	CreatedAt  *string `json:"created_at"`
	LastSeenAt *string `json:"last_seen_at"`
}

// operatorSessions serves GET /operators/{name}/sessions.
func (a *API) operatorSessions(r *request) (result, error) {
	found, err := a.account(r)
	if err != nil {
		return result{}, err
	}
	q, err := readQuery(r)
	if err != nil {
		return result{}, err
	}
	slices.Reverse(found.Sessions) // to oldest first
	p, err := page(q, found.Sessions, func(x signin.Session) string { return x.ID }, func(x signin.Session) any {
		return sessionObject{"operator_session", x.ID, x.Method, x.Browser, instant(x.CreatedAt), instant(x.SeenAt)}
	})
	if err != nil {
		return result{}, err
	}
	return ok(p)
}

// signOutOperator serves POST /operators/{name}/sign_out: it ends all sessions, or one.
func (a *API) signOutOperator(r *request) (result, error) {
	found, err := a.account(r)
	if err != nil {
		return result{}, err
	}
	session := r.body.text("session_id")
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	if err := a.parts.SignIn.EndSessions(r.Context(), by, found.Name, session); err != nil {
		return result{}, operatorNotFound(err, "Session", session)
	}
	return nothing()
}
