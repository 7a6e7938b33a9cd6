package console

import (
	"errors"
	"net/http"
	"time"

	"github.com/countersign-mfa/countersign/internal/operator"
)

// A newBypassView is the view of the page that shows a bypass code.
type newBypassView struct {
	User     string
	UserPath string
	Code     string
	Bypass   operator.Bypass
}

// createBypass serves POST /console/e/{env}/user/bypass. The answer is the only page that
// shows the code, so it is not a redirect.
func (c *Console) createBypass(w http.ResponseWriter, r *request) error {
	user := r.PostFormValue("user")
	ttl, err := time.ParseDuration(r.text("minutes") + "m")
	if err != nil {
		err = operator.ErrBypassTTL
	} else {
		err = r.needReason()
	}
	if err == nil {
		code, b, createErr := c.parts.Operator.CreateBypass(r.Context(), r.by(), operator.BypassParams{Environment: r.env, User: user, TTL: ttl})
		if createErr == nil {
			return c.showPage(w, r, "Bypass code", "newbypass.html", newBypassView{user, userPath(r.env, user), code.Reveal(), b})
		}
		err = createErr
	}
	if !isMistake(err) {
		return err
	}
	v, viewErr := c.userView(r, user)
	if viewErr != nil {
		return errors.Join(err, viewErr)
	}
	return c.showAgain(w, r, "User", "user.html", v, err)
}

// revokeBypass makes the bypass code of a user unusable.
func (c *Console) revokeBypass(r *request, user string) error {
	return c.parts.Operator.RevokeBypass(r.Context(), r.by(), operator.BypassParams{Environment: r.env, User: user})
}
