package operatorapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// TestFindRecognizesIdsAndPhoneNumbers looks for each kind of text, in two environments.
func TestFindRecognizesIdsAndPhoneNumbers(t *testing.T) {
	w := newFixture(t)
	e, err := w.service.Enroll(t.Context(), mfa.Caller{Environment: w.acme.env}, mfa.EnrollParams{Type: mfa.SMS, User: "grace", PhoneNumber: "+15005550002"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	find := func(env, text string) reply {
		t.Helper()
		return w.do("POST", "/environments/"+env+"/find", `{"text":"`+text+`","reason":"ticket 4711"}`)
	}
	for _, tc := range []struct{ text, key, id string }{
		{adaUser, "user", adaUser},
		{w.acme.factor, "authentication_factor", w.acme.factor},
		{" " + w.acme.challenge, "authentication_challenge", w.acme.challenge},
	} {
		r := find("Acme", tc.text).is(http.StatusOK)
		if v, ok := r.at(tc.key).(map[string]any); !ok || v["id"] != tc.id || v["environment"] != "Acme" {
			t.Errorf("%q finds %s; want %s", tc.text, r.body, tc.key)
		}
	}
	r := find("Acme", "+1 500 555 0002").is(http.StatusOK)
	if all := r.at("authentication_factors").([]any); len(all) != 1 || all[0].(map[string]any)["id"] != e.ID.String() || strings.Contains(r.body, "5550002") {
		t.Errorf("a phone number finds %s", r.body)
	}
	if e := w.lastEvent(mfa.Viewed); !strings.HasPrefix(e.Caller, "key_") || e.Reason != "phone:ticket 4711" {
		t.Errorf("the event is %+v", e)
	}
	for _, text := range []string{"+1 500 555 0002", w.acme.factor, w.acme.challenge, "nobody", "  "} {
		find("Other", text).says(http.StatusNotFound, "entity_not_found")
	}
	w.key, _ = w.newKey(w.other.env, access.ScopeOperatorRead)
	find("Acme", adaUser).says(http.StatusNotFound, "entity_not_found")
	find("Other", adaUser).is(http.StatusOK)
}

func TestMessageStatistics(t *testing.T) {
	w := newFixture(t)
	r := w.do("GET", "/environments/Acme/statistics/messages?since=2026-03-26T00:00:00Z&until=2026-03-27T00:00:00Z&step=day", "").is(http.StatusOK)
	if periods := r.at("periods").([]any); r.text("object") != "message_statistics" || r.text("environment") != "Acme" || r.text("step") != "day" || len(periods) != 1 {
		t.Errorf("the statistics are %s", r.body)
	}
}
