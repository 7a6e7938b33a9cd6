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
	"github.com/countersign-mfa/countersign/internal/operator"
)

func TestCreateAndRevokeAKey(t *testing.T) {
	f := newFixture(t, console.Options{})
	const path = "/console/e/Acme%20Test/keys"
	if page := f.page(path); !strings.Contains(page, "This environment has no key") {
		t.Error("an empty list does not say what to do")
	}
	for _, tc := range []struct {
		name string
		form url.Values
	}{
		{"no reason", url.Values{"scopes": {"api"}}},
		{"no use", url.Values{"reason": {"ticket 4711"}}},
		{"a wrong use", url.Values{"reason": {"ticket 4711"}, "scopes": {"api operator:write"}}},
		{"a wrong date", url.Values{"reason": {"ticket 4711"}, "scopes": {"api"}, "expires": {"tomorrow"}}},
		{"a date in the past", url.Values{"reason": {"ticket 4711"}, "scopes": {"api"}, "expires": {"2001-01-01"}}},
		{"a long name", url.Values{"reason": {"ticket 4711"}, "scopes": {"api"}, "name": {strings.Repeat("n", 65)}}},
	} {
		if w := f.post(path, tc.form); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s = %d; want 422", tc.name, w.Code)
		}
	}
	day := f.clock.Now().AddDate(0, 1, 0)
	for _, scopes := range []string{"api events:read", "events:read", "operator:read", "operator:write"} {
		f.clock.Advance(time.Second) // keys are listed in the order of their creation
		w := f.post(path, url.Values{"name": {"checkout"}, "scopes": {scopes}, "expires": {day.Format(time.DateOnly)}, "reason": {"ticket 4711"}})
		text := regexp.MustCompile(`(?:sk_test|ok)_[A-Z2-7]{26}`).FindString(w.Body.String())
		if w.Code != http.StatusOK || text == "" || strings.HasPrefix(text, "ok_") != strings.HasPrefix(scopes, "operator") {
			t.Fatalf("create with %q = %d, key %q", scopes, w.Code, text)
		}
		if strings.Contains(f.page(path), text) {
			t.Errorf("the list shows a key of %q", scopes)
		}
	}
	all, err := f.operator.Keys(t.Context())
	if err != nil || len(all) != 4 || all[0].Name != "checkout" || all[0].Scopes != access.DefaultScopes || all[2].Environment.ID != 0 {
		t.Fatalf("keys = %+v, %v", all, err)
	}
	if want := day.Truncate(24*time.Hour).AddDate(0, 0, 1); !all[0].ExpiresAt.Equal(want) {
		t.Errorf("the key expires at %v; want the end of its last day, %v", all[0].ExpiresAt, want)
	}
	revoke := path + "/" + string(all[0].ID) + "/revoke"
	if w := f.post(revoke, nil); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("revoke without a reason = %d; want 422", w.Code)
	}
	if w := f.post(revoke, url.Values{"reason": {"leaked"}}); w.Code != http.StatusSeeOther {
		t.Errorf("revoke = %d", w.Code)
	}
	if page := f.page(path); !strings.Contains(page, ">revoked</span>") {
		t.Error("the list does not say that the key is revoked")
	}
}

func TestAKeyIsRenamedInTheConsole(t *testing.T) {
	f := newFixture(t, console.Options{})
	_, k, err := f.operator.CreateKey(t.Context(), operator.By{Operator: "ada"}, f.sandbox, access.KeyParams{Name: "old"})
	if err != nil {
		t.Fatal(err)
	}
	path := "/console/e/Acme%20Test/keys/" + string(k.ID) + "/rename"
	if w := f.post(path, url.Values{"name": {"new <name>"}, "reason": {"ticket 4711"}}); w.Code != http.StatusSeeOther {
		t.Fatalf("POST = %d: %s", w.Code, w.Body)
	}
	if page := f.page("/console/e/Acme%20Test/keys"); !strings.Contains(page, "new &lt;name&gt;") {
		t.Error("the page does not show the new name")
	}
	if w := f.post(path, url.Values{"name": {strings.Repeat("x", 65)}}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a long name: %d", w.Code)
	}
	if w := f.post("/console/e/Acme%20Test/keys/key_0000/rename", url.Values{"name": {"x"}}); w.Code != http.StatusNotFound {
		t.Errorf("an unknown key: %d", w.Code)
	}
}
