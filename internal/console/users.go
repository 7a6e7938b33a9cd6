package console

import (
	"errors"
	"net/http"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
)

// A usersView is the view of the search for a person.
type usersView struct {
	Query   string        // as entered
	Factors []phoneRow    // the factors with the entered phone number
	Event   []timelineRow // the event with the entered id, if it is about no factor and no challenge
}

// A phoneRow is a factor that a phone number has found.
type phoneRow struct {
	factorRow
	UserPath string // "" without a user
}

// users serves GET /console/e/{env}/users.
func (c *Console) users(w http.ResponseWriter, r *request) error {
	return c.showPage(w, r, "Users", "users.html", usersView{})
}

// find serves POST /console/e/{env}/users: it leads to the page of a user, a factor or a
// challenge. For a phone number it lists the factors. It is a form, so no URL has a phone number.
func (c *Console) find(w http.ResponseWriter, r *request) error {
	query := r.text("q")
	if query == "" {
		return c.notFound(w, r, "", fault("Enter the id of a user, a factor, a challenge or an event, or a phone number."))
	}
	found, err := c.parts.Operator.Find(r.Context(), r.viewer(), r.env, query)
	if err != nil {
		return c.notFound(w, r, query, err)
	}
	if to := pathOf(r.env, found); to != "" {
		http.Redirect(w, r.Request.Request, to, http.StatusSeeOther)
		return nil
	}
	var v usersView
	for _, f := range found.Phone {
		row := phoneRow{factorRow: factorRow{f, stateOf(f.State), in(r.env, "factors", f.ID.String())}}
		if f.User != "" {
			row.UserPath = userPath(r.env, f.User)
		}
		v.Factors = append(v.Factors, row)
	}
	if found.Event != nil {
		v.Event = timelineOf(r.env, []operator.Entry{*found.Event})
	}
	return c.showPage(w, r, "Users", "users.html", v)
}

// pathOf returns the path of the page of what a search has found, or "" for a thing without a page.
func pathOf(env mfa.Environment, found operator.Found) string {
	switch {
	case found.User != nil:
		return userPath(env, found.User.ID)
	case found.Factor != nil:
		return in(env, "factors", found.Factor.ID.String())
	case found.Challenge != nil:
		return in(env, "challenges", found.Challenge.ID.String())
	}
	return ""
}

// notFound shows the search again with the reason why nothing was found. Errors that the
// operator cannot correct it returns.
func (c *Console) notFound(w http.ResponseWriter, r *request, query string, err error) error {
	if errors.Is(err, mfa.ErrNotFound) {
		p, pageErr := c.page(r, "Users")
		if pageErr != nil {
			return pageErr
		}
		p.Problem = "Nothing was found in " + r.env.Name + ". Compare the id with the one of your application, and the environment with the one of its API key. " +
			"A phone number must have its country code, such as +49 1512 3456789."
		return c.show(w, r, http.StatusNotFound, "users.html", p, usersView{Query: query})
	}
	return c.showAgain(w, r, "Users", "users.html", usersView{Query: query}, err)
}
