package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/events"
)

// path fills the parameters of a pattern, and splits it into method and path.
func path(pattern string) (method, target string) {
	method, target, _ = strings.Cut(pattern, " ")
	return method, regexp.MustCompile(`\{[a-z.]+\}`).ReplaceAllStringFunc(target, func(parameter string) string {
		if parameter == "{env}" {
			return "Acme%20Test"
		}
		return "x"
	})
}

// TestEveryRouteChecksItsPermission tries every route as every role, and signed out.
func TestEveryRouteChecksItsPermission(t *testing.T) {
	f := newFixture(t, console.Options{})
	for _, route := range f.console.Routes() {
		method, target := path(route.Pattern)
		form := url.Values{}
		if method == http.MethodGet {
			form = nil
		}
		for _, role := range access.Roles() {
			f.who = console.Operator{Name: "grace", Role: role, FreshUntil: time.Unix(1<<40, 0)}
			if strings.HasSuffix(target, "/stream") && role.Allows(route.Permission) {
				continue // it would not end
			}
			got := f.send(method, target, form).Code
			if denied := got == http.StatusForbidden; denied == role.Allows(route.Permission) {
				t.Errorf("%s as %s = %d; the role allows it: %t", route.Pattern, role, got, role.Allows(route.Permission))
			}
		}
		f.who = console.Operator{}
		got := f.send(method, target, form).Code
		if denied := got == http.StatusUnauthorized; denied == (route.Permission == access.Public) {
			t.Errorf("%s signed out = %d; the route is public: %t", route.Pattern, got, route.Permission == access.Public)
		}
	}
}

// TestActionsOnPeopleNeedAFreshPasskey sends every form that concerns people a long time
// after the last use of a passkey.
func TestActionsOnPeopleNeedAFreshPasskey(t *testing.T) {
	f := newFixture(t, console.Options{})
	f.who = console.Operator{Name: "ada", Role: access.RoleAdmin, FreshUntil: f.clock.Now()}
	for _, route := range f.console.Routes() {
		method, target := path(route.Pattern)
		switch route.Permission {
		case access.ActOnPeople, access.BypassCodes, access.DeleteData, access.ManageOperators, access.ManageKeys, access.ManageMessages:
			if got := f.send(method, target, url.Values{"reason": {"ticket 4711"}}); got.Code != http.StatusForbidden || !strings.Contains(got.Body.String(), "passkey") {
				t.Errorf("%s = %d; want 403 and the passkey named", route.Pattern, got.Code)
			}
		}
	}
}

// TestEventsNameTheRequestOfAnAction finds the request of an action in the log by its event.
func TestEventsNameTheRequestOfAnAction(t *testing.T) {
	f := newFixture(t, console.Options{})
	f.post("/console/environments", url.Values{"name": {"Acme"}, "kind": {"sandbox"}, "reason": {"ticket 4711"}})
	env, err := f.operator.Environment(t.Context(), "Acme")
	if err != nil {
		t.Fatal(err)
	}
	page, err := f.store.ReadEvents(t.Context(), events.Query{Environment: env.ID, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Events) != 1 || page.Events[0].Request == "" {
		t.Errorf("events = %+v; want one, with the id of its request", page.Events)
	}
}

func TestOtherSitesReachNothing(t *testing.T) {
	f := newFixture(t, console.Options{})
	for _, tc := range []struct {
		name    string
		method  string
		headers []string
	}{
		{"a name that may point anywhere", "GET", []string{"Host", "evil.example"}},
		{"a script of another site", "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}},
		{"a form of another site", "POST", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}},
		{"a form of another port", "POST", []string{"Sec-Fetch-Site", "same-site"}},
		{"a form of an old browser", "POST", []string{"Origin", "https://evil.example"}},
	} {
		if got := f.send(tc.method, "/console/environments", url.Values{"name": {"evil"}, "kind": {"sandbox"}}, tc.headers...); got.Code != http.StatusForbidden {
			t.Errorf("%s: %d; want 403", tc.name, got.Code)
		}
	}
	all, err := f.operator.Environments(t.Context())
	if err != nil || len(all) != 1 {
		t.Errorf("environments = %v, %v; want no new one", all, err)
	}
}

func TestEveryAnswerIsProtected(t *testing.T) {
	f := newFixture(t, console.Options{})
	for _, target := range []string{"/console/environments", "/console/nothing", "/console/e/nothing", "/console"} {
		h := f.get(target).Header()
		policy := h.Get("Content-Security-Policy")
		if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "require-trusted-types-for 'script'") ||
			!strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("policy of %s = %q", target, policy)
		}
		if h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "same-origin" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("headers of %s = %v", target, h)
		}
	}
}

// TestStaticFilesAreKept follows the links of a page to its files.
func TestStaticFilesAreKept(t *testing.T) {
	f := newFixture(t, console.Options{})
	links := regexp.MustCompile(`(?:href|src)="(/console/static/[^"]+)"`).FindAllStringSubmatch(f.page("/console/environments"), -1)
	if len(links) < 5 {
		t.Fatalf("the page has %d static files; want its styles, scripts and icon", len(links))
	}
	for _, link := range links {
		w := f.get(link[1])
		if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("Content-Type") == "" {
			t.Errorf("GET %s = %d %v", link[1], w.Code, w.Header())
		}
	}
	if got := f.get("/console/static/console.css").Code; got != http.StatusNotFound {
		t.Errorf("a file without its hash = %d; want 404", got)
	}
}

func TestTheThemeIsKept(t *testing.T) {
	f := newFixture(t, console.Options{})
	w := f.post("/console/theme", url.Values{"theme": {"dark"}, "back": {"/console/environments?x=1"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/console/environments?x=1" {
		t.Fatalf("POST /console/theme = %d to %s", w.Code, w.Header().Get("Location"))
	}
	if page := f.get("/console/environments", "Cookie", w.Result().Cookies()[0].String()).Body.String(); !strings.Contains(page, `data-theme="dark"`) {
		t.Error("the next page is not dark")
	}
	for _, back := range []string{"https://evil.example", "//evil.example/console", `/\evil.example`, "/consoleevil", "javascript:alert(1)", "/console/\\..\\x\r\nX: y", "", "/dev/inbox", "/console/../dev/inbox"} {
		w := f.post("/console/theme", url.Values{"theme": {"light"}, "back": {back}})
		if to := w.Header().Get("Location"); !strings.HasPrefix(to, "/console") || strings.Contains(to, "evil") && !strings.HasPrefix(to, "/console/") {
			t.Errorf("back %q leads to %q", back, to)
		}
	}
}

func TestCreateAnEnvironment(t *testing.T) {
	f := newFixture(t, console.Options{})
	w := f.post("/console/environments", url.Values{"name": {"Beta"}, "kind": {"sandbox"}, "reason": {"ticket 4711"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/console/e/Beta?done=environment-created" {
		t.Fatalf("POST = %d to %s", w.Code, w.Header().Get("Location"))
	}
	if page := f.page("/console/e/Beta?done=environment-created"); !strings.Contains(page, "The environment was created.") {
		t.Error("the page does not say that the environment was created")
	}
	w = f.post("/console/environments", url.Values{"name": {"Beta"}, "kind": {"sandbox"}, "reason": {"ticket 4711"}})
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "The name is taken") || !strings.Contains(w.Body.String(), `value="Beta"`) {
		t.Errorf("a name that is taken = %d: %s", w.Code, w.Body)
	}
}
