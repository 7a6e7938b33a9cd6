package console_test

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// TestTheLifeOfAnEndpoint goes through every form of a webhook endpoint.
func TestTheLifeOfAnEndpoint(t *testing.T) {
	f := newFixture(t, console.Options{})
	const list = "/console/e/Acme%20Test/webhooks"
	if page := f.page(list); !strings.Contains(page, "No URL receives events yet") {
		t.Error("an empty list does not say what to do")
	}
	w := f.post(list, url.Values{"url": {"not a url"}, "events": {"factor.locked"}})
	if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `value="not a url"`) {
		t.Errorf("a wrong URL = %d; want the form with what was entered", w.Code)
	}
	w = f.post(list, url.Values{"url": {"http://127.0.0.1:9/hook"}, "events": {"factor.locked"}})
	path, _, _ := strings.Cut(w.Header().Get("Location"), "?")
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(path, list+"/we_") {
		t.Fatalf("create = %d to %q", w.Code, path)
	}
	endpoint := func() webhook.Details {
		t.Helper()
		all, err := f.webhooks.List(t.Context(), f.sandbox.ID)
		if err != nil || len(all) != 1 {
			t.Fatalf("endpoints = %v, %v; want one", all, err)
		}
		return all[0]
	}
	secret := endpoint().Current.Reveal()
	if strings.Contains(html.UnescapeString(f.page(path)), secret) {
		t.Error("the page shows the secret without being asked")
	}
	if got := html.UnescapeString(f.post(path+"/secret", nil).Body.String()); !strings.Contains(got, secret) {
		t.Error("the form for the secret does not show it")
	}
	for _, tc := range []struct {
		form   string
		values url.Values
		done   func(e webhook.Details) bool
	}{
		{"/status", url.Values{"status": {"disabled"}}, func(e webhook.Details) bool { return e.Status == webhook.Disabled }},
		{"/status", url.Values{"status": {"enabled"}}, func(e webhook.Details) bool { return e.Status == webhook.Enabled }},
		{"", url.Values{"url": {"http://127.0.0.1:9/other"}, "events": {"factor.unlocked"}}, func(e webhook.Details) bool {
			return e.URL == "http://127.0.0.1:9/other" && len(e.Events) == 1 && e.Events[0] == "factor.unlocked"
		}},
		{"/rotate", url.Values{"overlap": {"none"}}, func(e webhook.Details) bool { return e.Current.Reveal() != secret }},
		{"/rotate", nil, func(e webhook.Details) bool { return e.Next.Reveal() != "" }},
		{"/replay", url.Values{"from": {"2020-01-01T00:00"}}, func(e webhook.Details) bool { return !e.Replay.IsZero() }},
	} {
		if w := f.post(path+tc.form, tc.values); w.Code != http.StatusSeeOther || !tc.done(endpoint()) {
			t.Errorf("POST %s %v = %d; the endpoint is %+v", tc.form, tc.values, w.Code, endpoint().Endpoint)
		}
	}
	if w := f.post(path+"/replay", url.Values{"from": {"yesterday"}}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a replay from a wrong time = %d; want 422", w.Code)
	}
	f.who.Role = access.RoleViewer
	if page := f.page(path); strings.Contains(page, path+"/delete") {
		t.Error("a viewer sees the actions")
	}
	f.who.Role = access.RoleAdmin
	if w := f.post(path+"/delete", nil); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("delete without a confirmation = %d; want 422", w.Code)
	}
	if w := f.post(path+"/delete", url.Values{"sure": {"yes"}}); w.Code != http.StatusSeeOther {
		t.Errorf("delete = %d", w.Code)
	}
	if w := f.get(path); w.Code != http.StatusNotFound {
		t.Errorf("a deleted endpoint = %d; want 404", w.Code)
	}
}

// TestEventsOfEndpointsHaveTheReasonOfTheForm deletes an endpoint with a reason, and with an unusable
// one.
func TestEventsOfEndpointsHaveTheReasonOfTheForm(t *testing.T) {
	f := newFixture(t, console.Options{})
	d, err := f.webhooks.Create(t.Context(), mfa.Caller{Environment: f.sandbox}, webhook.Params{URL: "https://example.com/hook", Events: []string{"factor.locked"}})
	if err != nil {
		t.Fatal(err)
	}
	logcapture.Secret(t, d.Current.Reveal())
	path := "/console/e/Acme%20Test/webhooks/" + d.ID.String()
	if w := f.post(path+"/status", url.Values{"status": {"disabled"}, "reason": {"a\nb"}}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a reason of two lines: %d", w.Code)
	}
	if w := f.post(path+"/delete", url.Values{"sure": {"yes"}, "reason": {"ticket 4711"}}); w.Code != http.StatusSeeOther {
		t.Fatalf("POST delete = %d: %s", w.Code, w.Body)
	}
	last := storetest.Events(t, f.store)
	if e := last[len(last)-1]; e.Type != mfa.EndpointDeleted || e.Reason != d.ID.String()+":ticket 4711" || e.Caller != "operator:ada" {
		t.Errorf("the event is %+v", e)
	}
}
