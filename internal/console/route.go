package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/web"
)

// A Route is a page, an action or a file.
type Route struct {
	Pattern    string            // of http.ServeMux
	Permission access.Permission // that the operator needs
	handle     handler
}

// A handler answers a request of an operator who has the permission of the route. Its error
// becomes a page.
type handler func(w http.ResponseWriter, r *request) error

// A request is a request of an operator.
type request struct {
	*web.Request
	operator Operator
	isFresh  bool            // the operator has just used a passkey
	env      mfa.Environment // that the path names; zero if the path names none
}

// Routes lists all routes. Those of the zero Console can be listed, but not served.
func (c *Console) Routes() []Route { return c.list() }

// needsPasskey lists the permissions for which an operator must have used a passkey a short
// time ago. A stolen session must not act on people, and must not prepare such acts: a new
// operator key may do all of them, a webhook endpoint receives all events, its secret signs
// them, settings say which proofs are enough, and messages cost money.
var needsPasskey = []access.Permission{
	access.ActOnPeople, access.BypassCodes, access.DeleteData, access.ManageOperators, access.ManageKeys, access.ManageWebhooks, access.ManageSettings, access.ManageMessages,
}

// serve returns the handler of a route: it identifies the operator, checks the permission,
// reads the environment of the path, and turns an error into a page.
func (c *Console) serve(route Route) web.Handler {
	return func(w http.ResponseWriter, wr *web.Request) error {
		r := &request{Request: wr}
		err := c.admit(w, r, route)
		if err == nil {
			err = route.handle(w, r)
		}
		if err != nil {
			c.showError(w, r, err)
		}
		return err
	}
}

// maxForm is the size of the largest form, in bytes.
const maxForm = 64 << 10

func (c *Console) admit(w http.ResponseWriter, r *request, route Route) (err error) {
	if route.Permission == access.Public {
		return nil
	}
	if r.operator, err = c.parts.Identify(r.Request.Request); err != nil {
		return err
	}
	r.Caller = "operator:" + r.operator.Name
	r.isFresh = c.opts.Now().Before(r.operator.FreshUntil)
	if err := r.operator.Role.Need(route.Permission); err != nil {
		return err
	}
	if slices.Contains(needsPasskey, route.Permission) && !r.isFresh {
		return errStale
	}
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			return &web.BodyError{Cause: err}
		}
	}
	if name := r.PathValue("env"); name != "" {
		if r.env, err = c.parts.Operator.Environment(r.Context(), name); err != nil {
			return err
		}
		r.Environment = r.env.Name
	}
	return nil
}

// by says who acts, and why: the form of every action has a field for the reason.
func (r *request) by() operator.By {
	return operator.By{Operator: r.operator.Name, Reason: r.text("reason"), Request: r.ID, Only: r.env.ID}
}

// viewer is by of a page: reading needs no reason.
func (r *request) viewer() operator.By {
	return operator.By{Operator: r.operator.Name, Request: r.ID, Only: r.env.ID}
}

// caller is by as the caller of a service that does not know operators. The error describes an
// unusable reason.
func (r *request) caller() (mfa.Caller, error) {
	by := r.by()
	if err := by.Check(); err != nil {
		return mfa.Caller{}, fault(sentence(err.Error()))
	}
	return mfa.Caller{Environment: r.env, Operator: by.Operator, Request: by.Request, Reason: by.Reason}, nil
}

// isFragment reports whether htmx asks for a part of a page.
func (r *request) isFragment() bool { return r.Header.Get("HX-Request") == "true" }

// text returns a field of the form, or of the query, without spaces around it.
func (r *request) text(field string) string { return strings.TrimSpace(r.FormValue(field)) }

// may reports whether the operator has a permission.
func (r *request) may(p access.Permission) bool { return r.operator.Role.Allows(p) }

// in returns the path of a page of an environment: in(env, "webhooks", id).
func in(env mfa.Environment, parts ...string) string {
	path := root + "/e/" + url.PathEscape(env.Name)
	for _, part := range parts {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// done sends the browser to a page after an action, where it shows the notice of that name.
// The answer to a form is always a redirect, so a reload does not repeat the action.
func done(w http.ResponseWriter, r *request, to, notice string) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	q := u.Query()
	q.Set("done", notice)
	u.RawQuery = q.Encode()
	http.Redirect(w, r.Request.Request, u.String(), http.StatusSeeOther)
	return nil
}
