package operatorapi

import (
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/operatorwire"
)

// bypassCode serves GET …/bypass_code.
func (a *API) bypassCode(r *request) (result, error) {
	if err := takesNoQuery(r); err != nil {
		return result{}, err
	}
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	b, err := a.parts.Operator.Bypass(r.Context(), env, r.PathValue("user_id"))
	if errors.Is(err, operator.ErrNoBypass) {
		err = &mfa.NotFoundError{Entity: "Bypass Code", ID: r.PathValue("user_id")}
	}
	if err != nil {
		return result{}, err
	}
	return ok(operatorwire.NewBypass(b, ""))
}

// createBypassCode serves POST …/bypass_code. The code is shown this once.
func (a *API) createBypassCode(r *request) (result, error) {
	ttl := r.body.seconds("ttl_seconds", mfa.DefaultBypassTTL)
	env, by, err := a.reasoned(r)
	if err != nil {
		return result{}, err
	}
	if ttl == 0 { // not the default of operator.BypassParams
		ttl = -1
	}
	code, b, err := a.parts.Operator.CreateBypass(r.Context(), by, operator.BypassParams{Environment: env, User: r.PathValue("user_id"), TTL: ttl})
	if errors.Is(err, operator.ErrBypassTTL) {
		err = invalid("ttl_seconds", "out_of_range", fmt.Sprintf("ttl_seconds must be from 60 to %d", mfa.MaxBypassTTL/time.Second))
	}
	if err != nil {
		return result{}, err
	}
	return created(operatorwire.NewBypass(b, code.Reveal()))
}

// revokeBypassCode serves POST …/bypass_code/revoke.
func (a *API) revokeBypassCode(r *request) (result, error) {
	return a.actOnUser(r, func(by operator.By, env mfa.Environment, user string) error {
		return a.parts.Operator.RevokeBypass(r.Context(), by, operator.BypassParams{Environment: env, User: user})
	})
}
