package operatorapi

import (
	"strings"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/operatorwire"
)

// find serves POST /environments/{environment}/find. It is a POST, so no URL has a phone number.
func (a *API) find(r *request) (result, error) {
	text := strings.TrimSpace(r.body.required("text"))
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	by.Only = env.ID
	found, err := a.parts.Operator.Find(r.Context(), by, env, text)
	if err != nil {
		return result{}, err
	}
	return ok(operatorwire.NewFound(found))
}

// user serves GET /environments/{environment}/users/{user_id}.
func (a *API) user(r *request) (result, error) {
	if err := takesNoQuery(r); err != nil {
		return result{}, err
	}
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	u, err := a.parts.Operator.User(r.Context(), by, env, r.PathValue("user_id"))
	if err != nil {
		return result{}, err
	}
	return ok(operatorwire.NewUser(u))
}

// optional returns a text for the wire, or nil for an empty one.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// actOnUser serves an action on a user. Its body has only the reason.
func (a *API) actOnUser(r *request, act func(by operator.By, env mfa.Environment, user string) error) (result, error) {
	env, by, err := a.reasoned(r)
	if err != nil {
		return result{}, err
	}
	if err := act(by, env, r.PathValue("user_id")); err != nil {
		return result{}, err
	}
	return nothing()
}

// reasoned returns the environment of the path, and who acts for which reason, which is
// required.
func (a *API) reasoned(r *request) (mfa.Environment, operator.By, error) {
	r.body.required("reason")
	by, err := r.by()
	if err != nil {
		return mfa.Environment{}, by, err
	}
	env, err := a.environment(r)
	return env, by, err
}

// unlockUser serves POST …/unlock.
func (a *API) unlockUser(r *request) (result, error) {
	return a.actOnUser(r, func(by operator.By, env mfa.Environment, user string) error {
		return a.parts.Operator.UnlockUser(r.Context(), by, env, user)
	})
}

// eraseUser serves POST …/erase.
func (a *API) eraseUser(r *request) (result, error) {
	return a.actOnUser(r, func(by operator.By, env mfa.Environment, user string) error {
		return a.parts.Operator.EraseUser(r.Context(), by, env, user)
	})
}

// findFactor returns the factor that the path names, if the key may know it.
func (a *API) findFactor(r *request, by operator.By) (operator.Factor, error) {
	text := r.PathValue("id")
	id, err := mfa.ParseFactorID(text)
	if err != nil {
		return operator.Factor{}, err
	}
	r.Factor = text
	f, err := a.parts.Operator.Factor(r.Context(), by, id)
	if err == nil && !r.sees(f.Environment.ID) {
		err = &mfa.NotFoundError{Entity: mfa.EntityFactor, ID: text}
	}
	if err != nil {
		return operator.Factor{}, err
	}
	r.Environment = f.Environment.Name
	return f, nil
}

// factor serves GET /factors/{id}.
func (a *API) factor(r *request) (result, error) {
	if err := takesNoQuery(r); err != nil {
		return result{}, err
	}
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	f, err := a.findFactor(r, by)
	if err != nil {
		return result{}, err
	}
	return ok(operatorwire.NewFactor(f))
}

// actOnFactor serves an action on a factor, with the factor after it as the answer. A factor
// never moves to another environment, so the check before the action is enough.
func (a *API) actOnFactor(r *request, act func(operator.By, mfa.FactorID) error) (result, error) {
	r.body.required("reason")
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	f, err := a.findFactor(r, by)
	if err == nil {
		err = act(by, f.ID)
	}
	if err == nil {
		f, err = a.findFactor(r, by)
	}
	if err != nil {
		return result{}, err
	}
	return ok(operatorwire.NewFactor(f))
}

// unlockFactor serves POST /factors/{id}/unlock.
func (a *API) unlockFactor(r *request) (result, error) {
	return a.actOnFactor(r, func(by operator.By, id mfa.FactorID) error { return a.parts.Operator.UnlockFactor(r.Context(), by, id) })
}

// suspendFactor serves POST /factors/{id}/suspend.
func (a *API) suspendFactor(r *request) (result, error) {
	return a.actOnFactor(r, func(by operator.By, id mfa.FactorID) error {
		return a.parts.Operator.SuspendFactor(r.Context(), by, id)
	})
}

// resumeFactor serves POST /factors/{id}/resume.
func (a *API) resumeFactor(r *request) (result, error) {
	return a.actOnFactor(r, func(by operator.By, id mfa.FactorID) error { return a.parts.Operator.ResumeFactor(r.Context(), by, id) })
}

// deleteFactor serves POST /factors/{id}/remove. DELETE has no body for the reason.
func (a *API) deleteFactor(r *request) (result, error) {
	r.body.required("reason")
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	f, err := a.findFactor(r, by)
	if err == nil {
		err = a.parts.Operator.DeleteFactor(r.Context(), by, f.ID)
	}
	if err != nil {
		return result{}, err
	}
	return nothing()
}

// challenge serves GET /challenges/{id}.
func (a *API) challenge(r *request) (result, error) {
	if err := takesNoQuery(r); err != nil {
		return result{}, err
	}
	text := r.PathValue("id")
	id, err := mfa.ParseChallengeID(text)
	if err != nil {
		return result{}, err
	}
	r.Challenge = text
	by, err := r.by()
	if err != nil {
		return result{}, err
	}
	c, err := a.parts.Operator.Challenge(r.Context(), by, id)
	if err == nil && !r.sees(c.Environment.ID) {
		err = &mfa.NotFoundError{Entity: mfa.EntityChallenge, ID: text}
	}
	if err != nil {
		return result{}, err
	}
	r.Environment = c.Environment.Name
	return ok(operatorwire.NewChallenge(c))
}
