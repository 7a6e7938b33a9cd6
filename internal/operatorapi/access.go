package operatorapi

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operatorwire"
)

// instant returns a time in the form of the wire, or nil for the zero time.
func instant(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format("2006-01-02T15:04:05.000Z")
	return &text
}

// environmentName returns the name for the wire, or nil for all environments.
func environmentName(env mfa.Environment) *string {
	if env.ID == 0 {
		return nil
	}
	return &env.Name
}

// me serves GET /me.
func (a *API) me(r *request) (result, error) {
	if err := takesNoQuery(r); err != nil {
		return result{}, err
	}
	permissions := []string{}
	for p := range access.Permissions {
		if p != access.Public && r.key.Scopes.Allows(p) {
			permissions = append(permissions, p.String())
		}
	}
	return ok(struct {
		Object      string         `json:"object"`
		KeyID       access.KeyID   `json:"key_id"`
		Name        string         `json:"name"`
		Environment *string        `json:"environment"`
		Scopes      []access.Scope `json:"scopes"`
		Permissions []string       `json:"permissions"`
		ExpiresAt   *string        `json:"expires_at"`
	}{"caller", r.key.ID, r.key.Name, environmentName(r.key.Environment), r.key.Scopes.List(), permissions, instant(r.key.ExpiresAt)})
}

// environments serves GET /environments.
func (a *API) environments(r *request) (result, error) {
	q, err := readQuery(r)
	if err != nil {
		return result{}, err
	}
	all, err := a.parts.Operator.Environments(r.Context())
	if err != nil {
		return result{}, err
	}
	var seen []mfa.Environment
	for _, e := range all {
		if r.sees(e.ID) {
			seen = append(seen, e)
		}
	}
	p, err := page(q, seen, func(e mfa.Environment) string { return e.Name }, func(e mfa.Environment) any { return operatorwire.NewEnvironment(e) })
	if err != nil {
		return result{}, err
	}
	return ok(p)
}

// getEnvironment serves GET /environments/{environment}.
func (a *API) getEnvironment(r *request) (result, error) {
	if err := takesNoQuery(r); err != nil {
		return result{}, err
	}
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	return ok(operatorwire.NewEnvironment(env))
}

// createEnvironment serves POST /environments.
func (a *API) createEnvironment(r *request) (result, error) {
	if r.key.Environment.ID != 0 {
		return result{}, errOneEnvironment
	}
	name, kind := r.body.required("name"), r.body.required("kind")
	if kind != "" && kind != "sandbox" && kind != "production" {
		r.body.fail("kind", "unknown", "kind must be sandbox or production")
	}
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	env, err := a.parts.Operator.CreateEnvironment(r.Context(), by, name, kind == "production")
	if errors.Is(err, access.ErrInvalidName) {
		err = invalid("name", "invalid", access.ErrInvalidName.Error())
	}
	if err != nil {
		return result{}, err
	}
	return created(operatorwire.NewEnvironment(env))
}

// updateEnvironment serves PATCH /environments/{environment}.
func (a *API) updateEnvironment(r *request) (result, error) {
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	var values map[string]json.RawMessage
	if before := len(r.body.wrong.Fields); !r.body.value("settings", "an object", &values) && len(r.body.wrong.Fields) == before {
		r.body.fail("settings", "required", "settings is required")
	}
	changes, wrong := operatorwire.SettingTexts(values)
	for _, name := range wrong {
		r.body.fail("settings", "invalid", name+" has a value of another type")
	}
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	if env, err = a.parts.Operator.ChangeSettings(r.Context(), by, env, changes); err != nil {
		return result{}, err
	}
	return ok(operatorwire.NewEnvironment(env))
}

// A keyObject is a key on the wire.
type keyObject struct {
	Object      string         `json:"object"`
	ID          access.KeyID   `json:"id"`
	Name        string         `json:"name"`
	Environment *string        `json:"environment"` // null: all environments
	Scopes      []access.Scope `json:"scopes"`
	Hint        string         `json:"hint"`
	CreatedAt   *string        `json:"created_at"`
	ExpiresAt   *string        `json:"expires_at"`
	RevokedAt   *string        `json:"revoked_at"`
	LastUsedAt  *string        `json:"last_used_at"`
	Key         string         `json:"key,omitempty"` // only when it is created
}

func showKey(k access.Key) keyObject {
	o := keyObject{
		"api_key", k.ID, k.Name, environmentName(k.Environment), k.Scopes.List(), k.Hint,
		instant(k.CreatedAt), instant(k.ExpiresAt), instant(k.RevokedAt), instant(k.LastUsedAt), "",
	}
	if k.IsOperator() {
		o.Object = "operator_key"
	}
	return o
}

// keys serves GET /keys.
func (a *API) keys(r *request) (result, error) {
	q, err := readQuery(r)
	if err != nil {
		return result{}, err
	}
	only := q.text("environment")
	if only != "" {
		if _, err := a.environmentNamed(r, only); err != nil {
			return result{}, err
		}
	}
	all, err := a.parts.Operator.Keys(r.Context())
	if err != nil {
		return result{}, err
	}
	var seen []access.Key
	for _, k := range all {
		if r.sees(k.Environment.ID) && (only == "" || k.Environment.Name == only) {
			seen = append(seen, k)
		}
	}
	p, err := page(q, seen, func(k access.Key) string { return string(k.ID) }, func(k access.Key) any { return showKey(k) })
	if err != nil {
		return result{}, err
	}
	return ok(p)
}

// findKey returns the key that the path names.
func (a *API) findKey(r *request) (access.Key, error) {
	id := r.PathValue("id")
	k, err := a.parts.Operator.Key(r.Context(), access.KeyID(id))
	if err == nil && !r.sees(k.Environment.ID) {
		err = access.ErrNotFound
	}
	return k, orNotFound(err, "Key", id)
}

// getKey serves GET /keys/{id}.
func (a *API) getKey(r *request) (result, error) {
	if err := takesNoQuery(r); err != nil {
		return result{}, err
	}
	k, err := a.findKey(r)
	if err != nil {
		return result{}, err
	}
	return ok(showKey(k))
}

// createKey serves POST /keys.
func (a *API) createKey(r *request) (result, error) {
	p := access.KeyParams{Name: r.body.text("name"), ExpiresAt: r.body.time("expires_at")}
	for _, name := range r.body.texts("scopes") {
		s, err := access.ParseScope(name)
		if err != nil {
			r.body.fail("scopes", "unknown", "scopes must be api, events:read, operator:read or operator:write")
			break
		}
		p.Scopes |= access.ScopesOf(s)
	}
	var env mfa.Environment
	name := r.body.text("environment")
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	switch {
	case name != "":
		env, err = a.environmentNamed(r, name)
	case r.key.Environment.ID != 0:
		err = invalid("environment", "required", "environment is required: this operator key belongs to one environment")
	}
	if err != nil {
		return result{}, err
	}
	text, k, err := a.parts.Operator.CreateKey(r.Context(), by, env, p)
	if err != nil {
		return result{}, err
	}
	o := showKey(k)
	o.Key = text.Reveal()
	return created(o)
}

// updateKey serves PATCH /keys/{id}. Without a name it changes nothing.
func (a *API) updateKey(r *request) (result, error) {
	k, err := a.findKey(r)
	if err != nil {
		return result{}, err
	}
	name := k.Name
	r.body.value("name", "a string", &name)
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	if err := a.parts.Operator.RenameKey(r.Context(), by, k.ID, name); err != nil {
		return result{}, err
	}
	if k, err = a.findKey(r); err != nil {
		return result{}, err
	}
	return ok(showKey(k))
}

// revokeKey serves DELETE /keys/{id}.
func (a *API) revokeKey(r *request) (result, error) {
	k, err := a.findKey(r)
	if err != nil {
		return result{}, err
	}
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	if err := a.parts.Operator.RevokeKey(r.Context(), by, k.ID); err != nil {
		return result{}, err
	}
	return nothing()
}
