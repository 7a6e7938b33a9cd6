package console

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/web"
)

// A navGroup is a part of the navigation.
type navGroup struct {
	Name  string
	Links []navLink
}

// A navLink is a link of the navigation.
type navLink struct {
	Name, Path string
	Here       bool // this page, or a page below it
}

// navigation returns the links to the pages that the operator may see. env is the environment
// whose pages are linked; it has no name without environments.
func navigation(r *request, env mfa.Environment, hasSignIn bool) []navGroup {
	var groups []navGroup
	add := func(group string, needed access.Permission, name, path string, exact bool) {
		if !r.may(needed) {
			return
		}
		here := r.URL.EscapedPath() == path || !exact && strings.HasPrefix(r.URL.EscapedPath(), path+"/")
		i := slices.IndexFunc(groups, func(g navGroup) bool { return g.Name == group })
		if i < 0 {
			i, groups = len(groups), append(groups, navGroup{Name: group})
		}
		groups[i].Links = append(groups[i].Links, navLink{name, path, here})
	}
	if env.Name != "" {
		add("Environment", access.ReadStatistics, "Overview", in(env), true)
		add("Environment", access.ReadPeople, "Users", in(env, "users"), false)
		add("Environment", access.ReadEvents, "Events", in(env, "events"), false)
		add("Environment", access.ReadMessages, "Messages", in(env, "messages"), false)
		add("Environment", access.ReadWebhooks, "Webhooks", in(env, "webhooks"), false)
		add("Environment", access.ReadKeys, "API keys", in(env, "keys"), false)
		add("Environment", access.ReadEnvironments, "Settings", in(env, "settings"), false)
	}
	add("Server", access.ReadEnvironments, "Environments", root+"/environments", false)
	add("Server", access.ReadSystem, "System", root+"/system", false)
	if hasSignIn {
		add("Server", access.ReadOperators, "Operators", root+"/operators", false)
	}
	return groups
}

// environmentCookie remembers the environment that was shown last, for pages of none.
const environmentCookie = "countersign_environment"

// chosenEnvironment returns the environment that was shown last, by default the first.
func chosenEnvironment(r *request, all []mfa.Environment) mfa.Environment {
	if cookie, err := r.Cookie(environmentCookie); err == nil {
		for _, env := range all {
			if strconv.Itoa(int(env.ID)) == cookie.Value {
				return env
			}
		}
	}
	return all[0]
}

// home serves GET /console: it leads to the overview of an environment.
func (c *Console) home(w http.ResponseWriter, r *request) error {
	all, err := c.parts.Operator.Environments(r.Context())
	if err != nil {
		return err
	}
	to := root + "/environments"
	if len(all) > 0 {
		to = in(chosenEnvironment(r, all))
	}
	http.Redirect(w, r.Request.Request, to, http.StatusSeeOther)
	return nil
}

// chooseEnvironment serves GET /console/go?env=NAME, the form for changing the environment.
func (c *Console) chooseEnvironment(w http.ResponseWriter, r *request) error {
	env, err := c.parts.Operator.Environment(r.Context(), r.text("env"))
	if err != nil {
		return err
	}
	setCookie(w, r, environmentCookie, strconv.Itoa(int(env.ID)))
	http.Redirect(w, r.Request.Request, in(env), http.StatusSeeOther)
	return nil
}

const themeCookie = "countersign_theme"

func themeOf(r *request) string {
	if cookie, err := r.Cookie(themeCookie); err == nil && (cookie.Value == "light" || cookie.Value == "dark") {
		return cookie.Value
	}
	return ""
}

// setTheme serves POST /console/theme. It returns to the page of the form.
func (c *Console) setTheme(w http.ResponseWriter, r *request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return &web.BodyError{Cause: err}
	}
	theme := r.PostFormValue("theme")
	if theme != "light" && theme != "dark" && theme != "system" {
		return fault("The theme is light, dark or system.")
	}
	setCookie(w, r, themeCookie, theme)
	http.Redirect(w, r.Request.Request, local(r.PostFormValue("back")), http.StatusSeeOther)
	return nil
}

// local returns a link to the console as it is, and the path of its first page for anything
// else: a form of another site must not lead operators there.
func local(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(link, root) || path.Clean(u.Path) != u.Path || (u.Path != root && !strings.HasPrefix(u.Path, root+"/")) {
		return root
	}
	return link
}

// setCookie sets a cookie with a choice of the operator, for a year. It holds no secret.
func setCookie(w http.ResponseWriter, r *request, name, value string) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: root, MaxAge: 365 * 24 * 60 * 60,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
}

// unknown answers a request for a page that does not exist.
func (c *Console) unknown(http.ResponseWriter, *request) error { return web.ErrNoRoute }
