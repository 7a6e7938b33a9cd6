package console_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
	"github.com/countersign-mfa/countersign/internal/signin"
)

const consoleURL = "https://console.example.com"

// A signInFixture is a console with sign-in.
type signInFixture struct {
	*fixture
	signIn *signin.Service
	people int // have been made
}

func newSignInFixture(t *testing.T, provider console.Provider) *signInFixture {
	t.Helper()
	f := &signInFixture{fixture: newFixture(t, console.Options{})}
	site, err := passkey.New(passkey.Config{ID: "console.example.com", Origins: []string{consoleURL}})
	if err != nil {
		t.Fatal(err)
	}
	f.signIn = signin.NewService(f.store, site, signin.Options{Now: f.clock.Now})
	parts := f.parts
	parts.SignIn, parts.Identify, parts.Provider = f.signIn, console.Identify(f.signIn), provider
	if f.console, err = console.New(parts, console.Options{AnyHost: true, URL: consoleURL, Now: f.clock.Now, Logger: slog.New(slog.NewJSONHandler(logcapture.Log(t, t.Name()+"/signin"), nil))}); err != nil {
		t.Fatal(err)
	}
	return f
}

// A browser keeps cookies as browsers do.
type browser struct {
	f       *signInFixture
	cookies map[string]string
	last    *httptest.ResponseRecorder
}

func (f *signInFixture) browser() *browser { return &browser{f: f, cookies: map[string]string{}} }

// send sends a request as a page of the console does, with further headers.
func (b *browser) send(method, target, contentType, body string, headers ...string) *httptest.ResponseRecorder {
	b.f.t.Helper()
	r := httptest.NewRequest(method, consoleURL+target, strings.NewReader(body))
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	b.last = httptest.NewRecorder()
	b.f.console.ServeHTTP(b.last, r)
	for _, c := range b.last.Result().Cookies() {
		if strings.HasPrefix(c.Name, "__Host-") && (!c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite < http.SameSiteLaxMode) {
			b.f.t.Errorf("%s %s sets a weak cookie: %s", method, target, c)
		}
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return b.last
}

func (b *browser) get(target string) *httptest.ResponseRecorder {
	b.f.t.Helper()
	return b.send(http.MethodGet, target, "", "")
}

func (b *browser) post(target string, form url.Values) *httptest.ResponseRecorder {
	b.f.t.Helper()
	return b.send(http.MethodPost, target, "application/x-www-form-urlencoded", form.Encode())
}

// ask sends a question of signin.js and returns the answer.
func (b *browser) ask(target string, question map[string]any) (answer struct {
	Options   json.RawMessage
	To, Error string
}) {
	b.f.t.Helper()
	body, err := json.Marshal(question)
	if err != nil {
		b.f.t.Fatal(err)
	}
	w := b.send(http.MethodPost, target, "application/json", string(body))
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		b.f.t.Fatalf("POST %s = %d: %s", target, w.Code, w.Body)
	}
	return answer
}

// enroll opens a one-time link and registers a passkey.
func (b *browser) enroll(name string, role access.Role) *passkeytest.Passkey {
	b.f.t.Helper()
	l, err := b.f.signIn.CreateLink(b.f.t.Context(), operator.By{Operator: "root"}, name, role)
	if err != nil {
		b.f.t.Fatal(err)
	}
	link := l.Token.Reveal()
	options := b.ask("/console/enroll/options", map[string]any{"link": link}).Options
	key, response := passkeytest.Create(b.f.t, options, consoleURL)
	a := b.ask("/console/enroll", map[string]any{"name": "Laptop", "response": json.RawMessage(response)})
	if a.To != "/console" || b.cookies[sessionCookie] == "" {
		b.f.t.Fatalf("POST /console/enroll = %d %+v", b.last.Code, a)
	}
	return key
}

func (b *browser) signIn(key *passkeytest.Passkey, back string) (to string) {
	b.f.t.Helper()
	options := b.ask("/console/sign-in/options", map[string]any{}).Options
	a := b.ask("/console/sign-in/passkey", map[string]any{"response": json.RawMessage(key.Get(b.f.t, options)), "back": back})
	if a.Error != "" {
		b.f.t.Fatalf("sign in: %s", a.Error)
	}
	return a.To
}

const sessionCookie = "__Host-countersign_session"

func TestOperatorEnrollsSignsOutAndIn(t *testing.T) {
	f := newSignInFixture(t, nil)
	b := f.browser()
	if w := b.get("/console/environments"); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), `href="/console/sign-in?back=%2fconsole%2fenvironments"`) &&
		!strings.Contains(w.Body.String(), `href="/console/sign-in?back=%2Fconsole%2Fenvironments"`) {
		t.Errorf("signed out: %d: %s", w.Code, w.Body)
	}
	key := b.enroll("ada", access.RoleAdmin)
	if w := b.get("/console/environments"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), ">ada<") {
		t.Errorf("after enrollment: %d", w.Code)
	}
	if w := b.get("/console/account"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Laptop") {
		t.Errorf("the account: %d: %s", w.Code, w.Body)
	}
	session := b.cookies[sessionCookie]
	if w := b.post("/console/sign-out", nil); w.Code != http.StatusSeeOther || b.cookies[sessionCookie] != "" {
		t.Errorf("sign out: %d, %v", w.Code, b.cookies)
	}
	b.cookies[sessionCookie] = session
	if w := b.get("/console/environments"); w.Code != http.StatusUnauthorized {
		t.Errorf("with the session of before: %d", w.Code)
	}
	delete(b.cookies, sessionCookie)
	if to := b.signIn(key, "/console/environments"); to != "/console/environments" {
		t.Errorf("sign in leads to %s", to)
	}
	if w := b.get("/console/environments"); w.Code != http.StatusOK {
		t.Errorf("after sign-in: %d", w.Code)
	}
	if w := b.get("/console/sign-in?back=/console/events"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/console/events" {
		t.Errorf("the page for signing in, signed in: %d %s", w.Code, w.Header().Get("Location"))
	}
}

// TestAPageThatNobodyReadsDoesNotKeepASession sends what an overview and live events send by
// themselves.
func TestAPageThatNobodyReadsDoesNotKeepASession(t *testing.T) {
	f := newSignInFixture(t, nil)
	b := f.session(access.RoleViewer)
	for range 3 {
		f.clock.Advance(9 * time.Minute)
		if w := b.send(http.MethodGet, "/console/e/Acme%20Test", "", "", "HX-Request", "true", "HX-Trigger", "now"); w.Code != http.StatusOK {
			t.Fatalf("a refresh of the overview = %d", w.Code)
		}
		after := url.QueryEscape(mfa.FirstEventAt(f.clock.Now()).String())
		if w := b.send(http.MethodHead, "/console/e/Acme%20Test/events/stream?after="+after, "", ""); w.Code != http.StatusOK {
			t.Fatalf("live events = %d", w.Code)
		}
	}
	f.clock.Advance(4 * time.Minute)
	if w := b.get("/console/environments"); w.Code != http.StatusUnauthorized {
		t.Errorf("31 minutes after the last use = %d; want 401", w.Code)
	}
}

// session makes an operator of a role and returns a browser that is signed in.
func (f *signInFixture) session(role access.Role) *browser {
	f.t.Helper()
	f.people++
	name := fmt.Sprintf("%s-%d", role, f.people)
	l, err := f.signIn.CreateLink(f.t.Context(), operator.By{Operator: "root"}, name, role)
	if err != nil {
		f.t.Fatal(err)
	}
	c := signin.Client{Network: fmt.Sprintf("192.0.2.%d", f.people)}
	begun, err := f.signIn.BeginEnrollment(f.t.Context(), c, l.Token)
	if err != nil {
		f.t.Fatal(err)
	}
	_, response := passkeytest.Create(f.t, begun.Options, consoleURL)
	token, err := f.signIn.FinishEnrollment(f.t.Context(), c, begun.Token, "key", response)
	if err != nil {
		f.t.Fatal(err)
	}
	b := f.browser()
	b.cookies[sessionCookie] = token.Reveal()
	return b
}

// TestEveryRouteChecksTheRoleOfTheSession tries every route with real sessions of every role,
// fresh and stale, and without one.
func TestEveryRouteChecksTheRoleOfTheSession(t *testing.T) {
	f := newSignInFixture(t, nil)
	act := map[access.Permission]bool{access.ActOnPeople: true, access.BypassCodes: true, access.DeleteData: true, access.ManageOperators: true, access.ManageKeys: true,
		access.ManageWebhooks: true, access.ManageSettings: true}
	for _, route := range f.console.Routes() {
		method, target := path(route.Pattern)
		if strings.HasSuffix(target, "/stream") {
			continue // TestEveryRouteChecksItsPermission tries it
		}
		send := func(b *browser) int {
			if method == http.MethodGet {
				return b.get(target).Code
			}
			return b.post(target, url.Values{"reason": {"ticket 4711"}}).Code
		}
		for _, role := range access.Roles() {
			b := f.session(role)
			if got := send(b); (got == http.StatusForbidden) == role.Allows(route.Permission) {
				t.Errorf("%s as %s = %d; the role allows it: %t", route.Pattern, role, got, role.Allows(route.Permission))
			}
			if act[route.Permission] {
				b = f.session(role)
				f.clock.Advance(freshFor)
				if got := send(b); got != http.StatusForbidden {
					t.Errorf("%s as %s in a stale session = %d; want 403", route.Pattern, role, got)
				}
			}
		}
		if got := send(f.browser()); (got == http.StatusUnauthorized) == (route.Permission == access.Public) {
			t.Errorf("%s signed out = %d; the route is public: %t", route.Pattern, got, route.Permission == access.Public)
		}
	}
}

const freshFor = 5 * 60e9 // nanoseconds

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	f := newSignInFixture(t, nil)
	b := f.session(access.RoleAdmin)
	for _, route := range f.console.Routes() {
		method, target := path(route.Pattern)
		if method == http.MethodGet {
			continue
		}
		for name, headers := range map[string][]string{
			"another site":          {"Sec-Fetch-Site", "cross-site"},
			"a sibling site":        {"Sec-Fetch-Site", "same-site"},
			"the origin of another": {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
			"a null origin":         {"Sec-Fetch-Site", "", "Origin", "null"},
			"another scheme":        {"Sec-Fetch-Site", "", "Origin", "http://console.example.com:80"},
		} {
			for _, contentType := range []string{"application/x-www-form-urlencoded", "text/plain", "application/json"} {
				if w := b.send(method, target, contentType, "{}", headers...); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "role") {
					t.Errorf("%s of %s to %s = %d: %s", contentType, name, target, w.Code, w.Body)
				}
			}
		}
	}
	if w := b.get("/console/account"); w.Code != http.StatusOK {
		t.Errorf("afterwards the session has ended: %d", w.Code)
	}
}

// TestSessionCannotBeFixed gives a browser the cookies of an attacker before sign-in.
func TestSessionCannotBeFixed(t *testing.T) {
	f := newSignInFixture(t, nil)
	attacker := f.session(access.RoleViewer)
	fixed := attacker.cookies[sessionCookie]
	victim := f.browser()
	victim.cookies[sessionCookie] = fixed
	key := victim.enroll("ada", access.RoleAdmin)
	if got := victim.cookies[sessionCookie]; got == fixed {
		t.Error("enrollment kept the session of the attacker")
	}
	if w := attacker.get("/console/account"); w.Code != http.StatusUnauthorized {
		t.Errorf("the attacker's session = %d; want it ended", w.Code)
	}
	for _, planted := range []string{"chosen by an attacker", victim.cookies[sessionCookie]} {
		victim.cookies[sessionCookie] = planted
		victim.signIn(key, "")
		got := victim.cookies[sessionCookie]
		attacker.cookies[sessionCookie] = planted
		if w := attacker.get("/console/account"); got == planted || w.Code != http.StatusUnauthorized {
			t.Errorf("sign-in accepted the planted session %q: %d", planted, w.Code)
		}
	}
	// A ceremony of the attacker does not sign the victim in as the attacker.
	attackersKey := attacker.enroll("eve", access.RoleViewer)
	options := attacker.ask("/console/sign-in/options", map[string]any{}).Options
	response := json.RawMessage(attackersKey.Get(t, options))
	if a := victim.ask("/console/sign-in/passkey", map[string]any{"response": response}); a.Error == "" {
		t.Error("a response to the ceremony of another browser was accepted")
	}
}

func TestSignInPagesCannotBeFramedOrStored(t *testing.T) {
	f := newSignInFixture(t, nil)
	b := f.session(access.RoleAdmin)
	for _, target := range []string{"/console/sign-in", "/console/enroll", "/console/confirm", "/console/account", "/console/operators", "/console/nothing"} {
		for _, browser := range []*browser{b, f.browser()} {
			h := browser.get(target).Header()
			policy := h.Get("Content-Security-Policy")
			if !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "form-action 'self';") ||
				h.Get("X-Frame-Options") != "DENY" || h.Get("Cache-Control") != "no-store" {
				t.Errorf("headers of %s = %v", target, h)
			}
		}
	}
}

func TestSignInLeadsOnlyToTheConsole(t *testing.T) {
	f := newSignInFixture(t, nil)
	b := f.browser()
	key := b.enroll("ada", access.RoleAdmin)
	for _, back := range []string{
		"https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "/console/../../evil", "/console//evil.example",
		"http:/console", "https:console", "/consoles", "/other", "console", "", "\t//evil.example", "/console\n//evil.example", "/console/%2e%2e/evil", "data:text/html,x",
	} {
		w := b.get("/console/sign-in?back=" + url.QueryEscape(back))
		if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !isOfConsole(got) {
			t.Errorf("GET sign-in?back=%q = %d to %q", back, w.Code, got)
		}
		other := f.browser()
		if page := other.get("/console/sign-in?back=" + url.QueryEscape(back)).Body.String(); strings.Contains(page, "evil") {
			t.Errorf("the page for back=%q has the address", back)
		}
	}
	for _, back := range []string{"https://evil.example", "//evil.example", "/console/../x"} {
		f.clock.Advance(freshFor) // an attempt counts for 15 minutes
		if to := b.signIn(key, back); !isOfConsole(to) {
			t.Errorf("sign in with back=%q leads to %q", back, to)
		}
		options := b.ask("/console/confirm/options", nil).Options
		a := b.ask("/console/confirm", map[string]any{"response": json.RawMessage(key.Get(t, options)), "back": back})
		if !isOfConsole(a.To) {
			t.Errorf("confirm with back=%q leads to %q, %s", back, a.To, a.Error)
		}
	}
}

func isOfConsole(path string) bool { return path == "/console" || strings.HasPrefix(path, "/console/") }

func TestSignInIsBounded(t *testing.T) {
	f := newSignInFixture(t, nil)
	b := f.browser()
	for i := range 20 {
		if a := b.ask("/console/enroll/options", map[string]any{"link": fmt.Sprint("guess ", i)}); b.last.Code != http.StatusUnprocessableEntity {
			t.Fatalf("guess %d = %d %+v", i, b.last.Code, a)
		}
	}
	for _, target := range []string{"/console/enroll/options", "/console/enroll", "/console/sign-in/options", "/console/sign-in/passkey"} {
		if a := b.ask(target, map[string]any{"link": "x", "name": "x"}); b.last.Code != http.StatusTooManyRequests || !strings.Contains(a.Error, "try again at") {
			t.Errorf("%s after 20 failures = %d %+v; want 429", target, b.last.Code, a)
		}
	}
	// A header that any client can write does not make another client.
	if w := b.send(http.MethodPost, "/console/sign-in/options", "application/json", "{}", "X-Forwarded-For", "203.0.113.9"); w.Code != http.StatusTooManyRequests {
		t.Errorf("with X-Forwarded-For = %d", w.Code)
	}
}

func TestHostileQuestions(t *testing.T) {
	f := newSignInFixture(t, nil)
	signedIn := f.session(access.RoleAdmin)
	for _, route := range f.console.Routes() {
		method, target := path(route.Pattern)
		if method != http.MethodPost {
			continue
		}
		for i, body := range []string{
			"", "{", "[]", "null", "7", `"x"`, `{"response":7}`, `{"response":{"id":"x"}}`, `{"link":7}`, `{"name":"\u0000","response":{}}`,
			`{"back":["/console"]}`, strings.Repeat("[", 60000), strings.Repeat("x", 1<<20),
		} {
			for _, b := range []*browser{signedIn, f.session(access.RoleAdmin)} {
				f.clock.Advance(1e9)
				if w := b.send(method, target, "application/json", body); w.Code >= 500 {
					t.Errorf("POST %s with hostile body %d = %d: %s", target, i, w.Code, w.Body)
				}
			}
			signedIn = f.session(access.RoleAdmin)
		}
	}
}

func TestAdminManagesOperators(t *testing.T) {
	f := newSignInFixture(t, nil)
	admin := f.session(access.RoleAdmin)
	w := admin.post("/console/operators/link", url.Values{"operator": {"grace"}, "role": {"support"}, "reason": {"new colleague"}})
	link := regexp.MustCompile(`https://console\.example\.com/console/enroll#([A-Za-z0-9_-]{43})`).FindStringSubmatch(w.Body.String())
	if w.Code != http.StatusOK || link == nil {
		t.Fatalf("POST link = %d: %s", w.Code, w.Body)
	}
	grace := f.browser()
	options := grace.ask("/console/enroll/options", map[string]any{"link": link[1]}).Options
	key, response := passkeytest.Create(t, options, consoleURL)
	if a := grace.ask("/console/enroll", map[string]any{"name": "Phone", "response": json.RawMessage(response)}); a.Error != "" {
		t.Fatal(a.Error)
	}
	for _, tc := range []struct {
		action string
		form   url.Values
		page   string // then shows
		in     bool   // grace is still signed in
	}{
		{"role", url.Values{"role": {"viewer"}}, `grace <span class="tag">viewer</span>`, true},
		{"sessions", nil, "1 passkey, 0 sessions", false},
		{"disable", nil, "disabled</span>", false},
		{"enable", nil, `grace <span class="tag">viewer</span></h2>`, false},
	} {
		form := url.Values{"operator": {"grace"}, "reason": {"ticket 4711"}}
		for name, value := range tc.form {
			form[name] = value
		}
		if w := admin.post("/console/operators/"+tc.action, form); w.Code != http.StatusSeeOther {
			t.Fatalf("%s = %d: %s", tc.action, w.Code, w.Body)
		}
		if page := admin.get("/console/operators").Body.String(); !strings.Contains(page, tc.page) {
			t.Errorf("after %s the page does not have %s: %s", tc.action, tc.page, page)
		}
		if got := grace.get("/console/account").Code; (got == http.StatusOK) != tc.in {
			t.Errorf("after %s the session of grace = %d", tc.action, got)
		}
	}
	grace.signIn(key, "")
	for name, form := range map[string]url.Values{
		"an unknown operator": {"operator": {"nobody"}, "reason": {"x"}, "role": {"viewer"}},
		"an unknown role":     {"operator": {"grace"}, "reason": {"x"}, "role": {"owner"}},
	} {
		if w := admin.post("/console/operators/role", form); w.Code != http.StatusNotFound && w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s = %d", name, w.Code)
		}
	}
	if w := admin.post("/console/operators/link", url.Values{"operator": {"<script>"}, "reason": {"x"}}); w.Code != http.StatusUnprocessableEntity || bytes.Contains(w.Body.Bytes(), []byte("<script>\"")) {
		t.Errorf("a hostile name = %d: %s", w.Code, w.Body)
	}
}
