package console

import (
	"errors"
	"net/http"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A keysView is the view of the API keys of an environment, and of the operator keys.
type keysView struct {
	Keys      []keyRow // of the environment
	Operators []keyRow // keys of the operator API, of all environments
	Form      keyForm
}

// A keyRow is a key in a table.
type keyRow struct {
	access.Key
	Status stateView
	Active bool
}

// A keyForm is the form of a new key, as entered.
type keyForm struct {
	Name, Scopes, Expires string
	Kinds                 []keyKind
}

// A keyKind is a choice of scopes.
type keyKind struct{ Scopes, Words string }

var keyKinds = []keyKind{
	{"api events:read", "For an application: factors, challenges, webhook endpoints and events"},
	{"api", "For an application, without events"},
	{"events:read", "For a reader of events, such as a SIEM"},
	{"operator:read", "For a program that reads what a viewer may see, through the operator API"},
	{"operator:write", "For a program that administers, through the operator API"},
}

func (c *Console) keysView(r *request) (v keysView, err error) {
	v.Form = keyForm{Name: r.PostFormValue("name"), Scopes: r.PostFormValue("scopes"), Expires: r.PostFormValue("expires"), Kinds: keyKinds}
	if v.Form.Scopes == "" {
		v.Form.Scopes = keyKinds[0].Scopes
	}
	all, err := c.parts.Operator.Keys(r.Context())
	if err != nil {
		return v, err
	}
	now := c.opts.Now()
	for _, k := range all {
		row := keyRow{Key: k, Status: stateView{"active", "good"}, Active: true}
		switch {
		case !k.RevokedAt.IsZero():
			row.Status, row.Active = stateView{"revoked", ""}, false
		case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
			row.Status, row.Active = stateView{"expired", "bad"}, false
		}
		switch {
		case k.Environment.ID == r.env.ID:
			v.Keys = append(v.Keys, row)
		case k.Environment.ID == 0:
			v.Operators = append(v.Operators, row)
		}
	}
	return v, nil
}

// keys serves GET /console/e/{env}/keys.
func (c *Console) keys(w http.ResponseWriter, r *request) error {
	v, err := c.keysView(r)
	if err != nil {
		return err
	}
	return c.showPage(w, r, "API keys", "keys.html", v)
}

// createKey serves POST /console/e/{env}/keys. The answer is the only page that shows the
// key, so it is not a redirect.
func (c *Console) createKey(w http.ResponseWriter, r *request) error {
	p, env, err := keyParams(r)
	if err == nil {
		err = r.needReason()
	}
	if err == nil {
		text, key, createErr := c.parts.Operator.CreateKey(r.Context(), r.by(), env, p)
		if createErr == nil {
			return c.showPage(w, r, "New key", "newkey.html", newKeyView{key, text.Reveal()})
		}
		err = createErr
	}
	v, viewErr := c.keysView(r)
	if viewErr != nil {
		return errors.Join(err, viewErr)
	}
	return c.showAgain(w, r, "API keys", "keys.html", v, err)
}

// A newKeyView is the view of the page that shows a new key.
type newKeyView struct {
	Key  access.Key
	Text string
}

// keyParams reads the form of a new key. The environment is zero for a key of the operator
// API.
func keyParams(r *request) (p access.KeyParams, env mfa.Environment, err error) {
	p.Name, env = r.text("name"), r.env
	for i, kind := range keyKinds {
		if kind.Scopes != r.text("scopes") {
			continue
		}
		p.Scopes = [...]access.Scopes{
			access.ScopesOf(access.ScopeAPI, access.ScopeEventsRead), access.ScopesOf(access.ScopeAPI), access.ScopesOf(access.ScopeEventsRead),
			access.ScopesOf(access.ScopeOperatorRead), access.ScopesOf(access.ScopeOperatorWrite),
		}[i]
		if p.Scopes.Allows(access.ReadPeople) {
			env = mfa.Environment{}
		}
	}
	if p.Scopes == 0 {
		return p, env, fault("Choose the use of the key.")
	}
	if text := r.text("expires"); text != "" {
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return p, env, fault("The last day must be a date, such as 2027-03-27.")
		}
		p.ExpiresAt = day.AddDate(0, 0, 1) // the end of that day
	}
	return p, env, nil
}

// renameKey serves POST /console/e/{env}/keys/{id}/rename.
func (c *Console) renameKey(w http.ResponseWriter, r *request) error {
	if err := c.parts.Operator.RenameKey(r.Context(), r.by(), access.KeyID(r.PathValue("id")), r.text("name")); err != nil {
		return asFault(err)
	}
	return done(w, r, in(r.env, "keys"), "key-renamed")
}

// revokeKey serves POST /console/e/{env}/keys/{id}/revoke.
func (c *Console) revokeKey(w http.ResponseWriter, r *request) error {
	if err := r.needReason(); err != nil {
		return err
	}
	if err := c.parts.Operator.RevokeKey(r.Context(), r.by(), access.KeyID(r.PathValue("id"))); err != nil {
		return err
	}
	return done(w, r, in(r.env, "keys"), "key-revoked")
}
