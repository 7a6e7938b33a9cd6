package console

import (
	"errors"
	"net/http"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// An environmentsView is the view of the list of environments.
type environmentsView struct {
	Environments []mfa.Environment
	Name, Kind   string // as entered
	MayCreate    bool
}

func (c *Console) environmentsView(r *request) (v environmentsView, err error) {
	v.Name, v.Kind = r.PostFormValue("name"), r.PostFormValue("kind")
	v.Environments, err = c.parts.Operator.Environments(r.Context())
	return v, err
}

// environments serves GET /console/environments.
func (c *Console) environments(w http.ResponseWriter, r *request) error {
	v, err := c.environmentsView(r)
	if err != nil {
		return err
	}
	return c.showPage(w, r, "Environments", "environments.html", v)
}

// createEnvironment serves POST /console/environments.
func (c *Console) createEnvironment(w http.ResponseWriter, r *request) error {
	kind := r.text("kind")
	var err error = fault("Choose whether the environment is a sandbox or production.")
	var env mfa.Environment
	if kind == "sandbox" || kind == "production" {
		env, err = c.parts.Operator.CreateEnvironment(r.Context(), r.by(), r.text("name"), kind == "production")
	}
	if err != nil {
		v, viewErr := c.environmentsView(r)
		if viewErr != nil {
			return errors.Join(err, viewErr)
		}
		return c.showAgain(w, r, "Environments", "environments.html", v, err)
	}
	return done(w, r, in(env), "environment-created")
}
