package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestSettingsAreShownAndChanged(t *testing.T) {
	f := newFixture(t, console.Options{})
	const path = "/console/e/Acme%20Test/settings"
	page := f.page(path)
	for _, s := range mfa.AllSettings() {
		if !strings.Contains(page, `name="setting.`+s.Name+`"`) {
			t.Errorf("the page has no field for %s", s.Name)
		}
	}
	values := func() map[string]string {
		t.Helper()
		env, err := f.operator.Environment(t.Context(), "Acme Test")
		if err != nil {
			t.Fatal(err)
		}
		return env.Settings.Texts()
	}
	form := url.Values{
		"before.max_factors_per_user": {""}, "setting.max_factors_per_user": {" 5 "},
		"before.recovery_profile": {""}, "setting.recovery_profile": {"nist"},
	}
	if w := f.post(path, form); w.Code != http.StatusSeeOther || values()["max_factors_per_user"] != "5" || values()["recovery_profile"] != "nist" {
		t.Fatalf("a change = %d, and the settings are %v", w.Code, values())
	}
	if page := f.page(path); !strings.Contains(page, `name="setting.max_factors_per_user" value="5"`) {
		t.Error("the page does not show the new value")
	}

	// The form was made before another operator changed max_factors_per_user.
	stale := url.Values{
		"before.max_factors_per_user": {""}, "setting.max_factors_per_user": {""},
		"before.recovery_profile": {"nist"}, "setting.recovery_profile": {""},
	}
	if w := f.post(path, stale); w.Code != http.StatusSeeOther || values()["max_factors_per_user"] != "5" || values()["recovery_profile"] != "" {
		t.Errorf("a form made before another change = %d, and the settings are %v", w.Code, values())
	}

	wrong := url.Values{
		"before.max_factors_per_user": {"5"}, "setting.max_factors_per_user": {"many"},
		"before.delete_requires_challenge": {""}, "setting.delete_requires_challenge": {"1s"},
		"setting.webauthn_rp_id": {"example.com"},
	}
	w := f.post(path, wrong)
	for _, part := range []string{"max_factors_per_user must be", "delete_requires_challenge must be", `value="many"`, `value="example.com"`} {
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), part) {
			t.Errorf("wrong values = %d, and the page does not contain %s", w.Code, part)
		}
	}
	if got := values(); len(got) != 1 {
		t.Errorf("after a refused form the settings are %v", got)
	}

	f.who.FreshUntil = time.Time{}
	if page := f.page(path); strings.Contains(page, `name="setting.`) || !strings.Contains(page, "/console/confirm") {
		t.Error("without a recent use of a passkey, the page has a form")
	}
	f.who.Role = access.RoleViewer
	if page := f.page(path); strings.Contains(page, "/console/confirm") || !strings.Contains(page, "max_factors_per_user") {
		t.Error("a viewer does not see just the values")
	}
}
