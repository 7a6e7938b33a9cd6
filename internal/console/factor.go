package console

import (
	"errors"
	"net/http"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
)

// A factorView is the view of a factor.
type factorView struct {
	Factor   operator.Factor
	Status   stateView
	UserPath string // "" without a user
	Timeline []timelineRow
	Events   string // the path of all events of the factor
	Path     string
}

// factorView returns the view of the factor that the path names.
func (c *Console) factorView(r *request) (v factorView, err error) {
	id, err := mfa.ParseFactorID(r.PathValue("id"))
	if err != nil {
		return v, err
	}
	if v.Factor, err = c.parts.Operator.Factor(r.Context(), r.viewer(), id); err != nil {
		return v, err
	}
	if v.Factor.Environment.ID != r.env.ID {
		return v, &mfa.NotFoundError{Entity: mfa.EntityFactor, ID: id.String()}
	}
	v.Status = stateOf(v.Factor.State)
	v.Path = in(r.env, "factors", id.String())
	if v.Factor.User != "" {
		v.UserPath = userPath(r.env, v.Factor.User)
	}
	v.Timeline = timelineOf(r.env, v.Factor.Timeline)
	v.Events = eventFilter{ID: id.String()}.link(in(r.env, "events"))
	return v, nil
}

// showFactor serves GET /console/e/{env}/factors/{id}.
func (c *Console) showFactor(w http.ResponseWriter, r *request) error {
	v, err := c.factorView(r)
	if err != nil {
		return c.notFound(w, r, r.PathValue("id"), err)
	}
	return c.showPage(w, r, "Factor", "factor.html", v)
}

// factorAction returns the handler of a form of a factor. The notice is shown after it.
func (c *Console) factorAction(notice string, act func(r *request, id mfa.FactorID) error) handler {
	return func(w http.ResponseWriter, r *request) error {
		id, err := mfa.ParseFactorID(r.PathValue("id"))
		if err != nil {
			return err
		}
		if err = r.needReason(); err == nil {
			err = act(r, id)
		}
		if err == nil {
			return done(w, r, in(r.env, "factors", id.String()), notice)
		}
		if !isMistake(err) {
			return err
		}
		v, viewErr := c.factorView(r)
		if viewErr != nil {
			return errors.Join(err, viewErr)
		}
		return c.showAgain(w, r, "Factor", "factor.html", v, err)
	}
}

func (c *Console) unlockFactor(r *request, id mfa.FactorID) error {
	return c.parts.Operator.UnlockFactor(r.Context(), r.by(), id)
}

func (c *Console) suspendFactor(r *request, id mfa.FactorID) error {
	return c.parts.Operator.SuspendFactor(r.Context(), r.by(), id)
}

func (c *Console) deleteFactor(r *request, id mfa.FactorID) error {
	if r.text("sure") == "" {
		return fault("Confirm that the factor is to be deleted.")
	}
	return c.parts.Operator.DeleteFactor(r.Context(), r.by(), id)
}

func (c *Console) resumeFactor(r *request, id mfa.FactorID) error {
	return c.parts.Operator.ResumeFactor(r.Context(), r.by(), id)
}
