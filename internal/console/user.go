package console

import (
	"errors"
	"net/http"

	"github.com/countersign-mfa/countersign/internal/operator"
)

// A userView is the view of a user.
type userView struct {
	User       operator.User
	Recovery   *operator.Factor // the recovery codes of the user, or nil
	Factors    []factorRow
	Challenges []challengeRow
	Timeline   []timelineRow
	Events     string // the path of all events of the user
}

// A factorRow is a factor in a table.
type factorRow struct {
	operator.Factor
	Status stateView
	Path   string
}

// A challengeRow is a challenge in a table.
type challengeRow struct {
	operator.Challenge
	Status stateView
	Path   string
}

func (c *Console) userView(r *request, id string) (v userView, err error) {
	if v.User, err = c.parts.Operator.User(r.Context(), r.viewer(), r.env, id); err != nil {
		return v, err
	}
	v.Recovery = v.User.RecoveryCodes()
	for _, f := range v.User.Factors {
		v.Factors = append(v.Factors, factorRow{f, stateOf(f.State), in(r.env, "factors", f.ID.String())})
	}
	for _, ch := range v.User.Challenges {
		v.Challenges = append(v.Challenges, challengeRow{ch, stateOf(ch.State), in(r.env, "challenges", ch.ID.String())})
	}
	v.Timeline = timelineOf(r.env, v.User.Timeline)
	v.Events = eventFilter{User: id}.link(in(r.env, "events"))
	return v, nil
}

// showUser serves GET /console/e/{env}/user?id=ID.
func (c *Console) showUser(w http.ResponseWriter, r *request) error {
	id := r.URL.Query().Get("id")
	v, err := c.userView(r, id)
	if err != nil {
		return c.notFound(w, r, id, err)
	}
	return c.showPage(w, r, "User", "user.html", v)
}

// userAction returns the handler of a form of a user. The notice is shown after it.
func (c *Console) userAction(notice string, act func(r *request, user string) error) handler {
	return func(w http.ResponseWriter, r *request) error {
		id := r.PostFormValue("user")
		err := r.needReason()
		if err == nil {
			err = act(r, id)
		}
		if err == nil {
			return done(w, r, userPath(r.env, id), notice)
		}
		if !isMistake(err) {
			return err
		}
		v, viewErr := c.userView(r, id)
		if viewErr != nil {
			return errors.Join(err, viewErr)
		}
		return c.showAgain(w, r, "User", "user.html", v, err)
	}
}

// needReason returns an error for a form without a reason.
func (r *request) needReason() error {
	if r.by().Reason == "" {
		return fault("A reason is required, such as the number of a ticket: events record it.")
	}
	return nil
}

// unlockUser lifts the lock of a user.
func (c *Console) unlockUser(r *request, user string) error {
	return c.parts.Operator.UnlockUser(r.Context(), r.by(), r.env, user)
}

// eraseUser serves POST /console/e/{env}/user/erase. The operator repeats the id of the user.
func (c *Console) eraseUser(w http.ResponseWriter, r *request) error {
	if r.PostFormValue("confirm") != r.PostFormValue("user") || r.PostFormValue("user") == "" {
		return fault("Enter the id of the user again to confirm. Nothing was erased.")
	}
	if err := r.needReason(); err != nil {
		return err
	}
	if err := c.parts.Operator.EraseUser(r.Context(), r.by(), r.env, r.PostFormValue("user")); err != nil {
		return err
	}
	return done(w, r, in(r.env, "users"), "user-erased")
}
