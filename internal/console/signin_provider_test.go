package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin/openid"
	"github.com/countersign-mfa/countersign/internal/signin/openid/openidtest"
)

const callback = "/console/sign-in/provider/callback"

// newProviderFixture returns a console that signs operators in through a provider.
func newProviderFixture(t *testing.T) (*signInFixture, *openidtest.Provider) {
	t.Helper()
	p := openidtest.New(t)
	client, err := openid.New(openid.Config{
		Issuer: p.URL, ClientID: openidtest.ClientID, Secret: secret.NewString(openidtest.Secret), RedirectURL: consoleURL + callback,
		Roles: []openid.Grant{{Group: "support-team", Role: access.RoleSupport}, {Group: "admins", Role: access.RoleAdmin}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := newSignInFixture(t, client)
	f.clock.Advance(time.Since(f.clock.Now())) // the provider has the real time
	return f, p
}

// visit sends the form that leads to the provider, goes there, and returns the path with which
// the provider sends the browser back.
func (b *browser) visit(form, back string) string {
	b.f.t.Helper()
	w := b.post(form, url.Values{"back": {back}})
	if w.Code != http.StatusSeeOther {
		b.f.t.Fatalf("POST %s = %d: %s", form, w.Code, w.Body)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Get(w.Header().Get("Location"))
	if err != nil {
		b.f.t.Fatal(err)
	}
	response.Body.Close()
	to, err := response.Location()
	if err != nil || to.Scheme+"://"+to.Host != consoleURL || to.Path != callback {
		b.f.t.Fatalf("the provider leads to %v, %v", to, err)
	}
	return to.RequestURI()
}

// comeBack opens a path as a browser does when another site leads there: without strict
// cookies.
func (b *browser) comeBack(path string) int {
	b.f.t.Helper()
	strict := map[string]string{}
	for name, value := range b.cookies {
		if name != "__Host-countersign_visit" {
			strict[name] = value
			delete(b.cookies, name)
		}
	}
	code := b.send(http.MethodGet, path, "", "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document").Code
	for name, value := range strict {
		if b.cookies[name] == "" {
			b.cookies[name] = value
		}
	}
	return code
}

func TestProviderSignsIn(t *testing.T) {
	f, _ := newProviderFixture(t)
	b := f.browser()
	page := b.get("/console/sign-in?back=/console/environments")
	if policy := page.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' http://127.0.0.1:") {
		t.Errorf("the policy of the page is %s", policy)
	}
	if code := b.comeBack(b.visit("/console/sign-in/provider", "/console/environments")); code != http.StatusOK {
		t.Fatalf("coming back = %d: %s", code, b.last.Body)
	}
	if got := b.last.Header().Get("Refresh"); got != "0; url=/console/environments" {
		t.Errorf("the browser goes to %q", got)
	}
	if w := b.get("/console/environments"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `grace</b> <span class="tag">support</span>`) {
		t.Errorf("afterwards: %d: %s", w.Code, w.Body)
	}
	if page := b.get("/console/confirm").Body.String(); !strings.Contains(page, "/console/confirm/provider") || strings.Contains(page, `data-begin="/console/confirm/options"`) {
		t.Errorf("the page to confirm is %s", page)
	}
	if w := b.get("/console/account"); !strings.Contains(w.Body.String(), "Confirm to change passkeys") {
		t.Errorf("the session is fresh after sign-in: %s", w.Body)
	}
	if code := b.comeBack(b.visit("/console/confirm/provider", "/console/account")); code != http.StatusOK {
		t.Fatalf("coming back from the confirmation = %d: %s", code, b.last.Body)
	}
	if w := b.get("/console/account"); !strings.Contains(w.Body.String(), "Name of a new passkey") {
		t.Errorf("the session is not fresh: %s", w.Body)
	}
}

func TestHostileVisits(t *testing.T) {
	f, p := newProviderFixture(t)
	p.SendIssuer()
	for name, tc := range map[string]struct {
		change func(victim *browser, path string) string
		want   int
	}{
		"the answer of another browser": {func(_ *browser, _ string) string {
			return f.browser().visit("/console/sign-in/provider", "")
		}, http.StatusUnprocessableEntity},
		"an answer without a visit": {func(b *browser, path string) string {
			delete(b.cookies, "__Host-countersign_visit")
			return path
		}, http.StatusUnprocessableEntity},
		"another state": {func(_ *browser, path string) string { return change(path, "state", "x") }, http.StatusUnprocessableEntity},
		"no state":      {func(_ *browser, path string) string { return change(path, "state", "") }, http.StatusUnprocessableEntity},
		"the code of another visit": {func(_ *browser, path string) string {
			u, _ := url.Parse(f.browser().visit("/console/sign-in/provider", ""))
			return change(path, "code", u.Query().Get("code"))
		}, http.StatusForbidden},
		"another issuer": {func(_ *browser, path string) string { return change(path, "iss", "https://evil.example") }, http.StatusForbidden},
		"no issuer":      {func(_ *browser, path string) string { return change(path, "iss", "") }, http.StatusForbidden},
		"an error":       {func(_ *browser, path string) string { return change(path, "error", "<script>") }, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			b := f.browser()
			path := tc.change(b, b.visit("/console/sign-in/provider", ""))
			if code := b.comeBack(path); code != tc.want || b.cookies[sessionCookie] != "" || strings.Contains(b.last.Body.String(), "<script>") {
				t.Errorf("coming back = %d, %v: %s", code, b.cookies, b.last.Body)
			}
			if code := b.comeBack(path); code == http.StatusOK {
				t.Error("a second answer was accepted")
			}
		})
	}
}

func change(path, name, value string) string {
	u, err := url.Parse(path)
	if err != nil {
		panic(err)
	}
	q := u.Query()
	q.Set(name, value)
	if value == "" {
		q.Del(name)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func TestRefusedPersonsSeeWhy(t *testing.T) {
	f, p := newProviderFixture(t)
	f.browser().enroll("ada", access.RoleAdmin)
	for name, tc := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"no group":        {map[string]any{"groups": []string{"everyone"}}, "none of your groups may use this console"},
		"a taken name":    {map[string]any{"preferred_username": "ada", "sub": "8"}, "already has your name"},
		"a wrong nonce":   {map[string]any{"nonce": "x", "sub": "9"}, "did not confirm who you are"},
		"an old token":    {map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}, "did not confirm who you are"},
		"another client":  {map[string]any{"aud": "other"}, "did not confirm who you are"},
		"a hostile name":  {map[string]any{"preferred_username": "<script>", "sub": "10"}, "was not accepted"},
		"another issuer":  {map[string]any{"iss": "https://evil.example"}, "did not confirm who you are"},
		"a number as sub": {map[string]any{"sub": 7}, "did not confirm who you are"},
	} {
		t.Run(name, func(t *testing.T) {
			p.Reset()
			for claim, value := range tc.claims {
				p.Claim(claim, value)
			}
			b := f.browser()
			code := b.comeBack(b.visit("/console/sign-in/provider", ""))
			if page := b.last.Body.String(); code < 400 || code >= 500 || !strings.Contains(page, tc.want) || b.cookies[sessionCookie] != "" {
				t.Errorf("coming back = %d: %s", code, page)
			}
		})
	}
}

func TestVisitLeadsOnlyToTheConsole(t *testing.T) {
	f, _ := newProviderFixture(t)
	for _, back := range []string{"https://evil.example", "//evil.example", "/console/../evil", "/\\evil.example", "javascript:alert(1)", "/console\r\nX-Evil: 1"} {
		b := f.browser()
		if code := b.comeBack(b.visit("/console/sign-in/provider", back)); code != http.StatusOK {
			t.Fatalf("coming back = %d", code)
		}
		if got := b.last.Header().Get("Refresh"); got != "0; url=/console" || strings.Contains(b.last.Body.String(), "evil") || b.last.Header().Get("X-Evil") != "" {
			t.Errorf("back=%q leads to %q: %s", back, got, b.last.Body)
		}
	}
}

// TestProviderCannotConfirmAnotherPerson: a colleague at the same desk.
func TestProviderCannotConfirmAnotherPerson(t *testing.T) {
	f, p := newProviderFixture(t)
	b := f.browser()
	b.comeBack(b.visit("/console/sign-in/provider", ""))
	p.Claim("sub", "8")
	if code := b.comeBack(b.visit("/console/confirm/provider", "")); code != http.StatusUnprocessableEntity {
		t.Errorf("coming back as another person = %d: %s", code, b.last.Body)
	}
	p.Claim("sub", "7")
	p.Claim("auth_time", time.Now().Add(-time.Hour).Unix())
	if code := b.comeBack(b.visit("/console/confirm/provider", "")); code != http.StatusUnprocessableEntity {
		t.Errorf("coming back without a new sign-in = %d: %s", code, b.last.Body)
	}
	if w := b.get("/console/account"); !strings.Contains(w.Body.String(), "Confirm to change passkeys") {
		t.Errorf("the session is fresh: %s", w.Body)
	}
}
