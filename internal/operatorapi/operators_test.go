package operatorapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/signin"
)

// operator returns an operator as the domain has it.
func (w *fixture) operator(name string) signin.Account {
	w.t.Helper()
	a, err := w.signIn.Account(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func TestAnOperatorIsInvitedOnce(t *testing.T) {
	w := newFixture(t)
	const body = `{"name":"ada lovelace","role":"support","reason":"ticket 4711"}`
	first := w.do("POST", "/operators", body, "Idempotency-Key: one").is(http.StatusCreated)
	token := first.text("token")
	logcapture.Secret(t, token)
	if want := consoleURL + "/enroll#" + token; token == "" || first.text("url") != want {
		t.Errorf("the link is %s; want %s", first.text("url"), want)
	}
	again := w.do("POST", "/operators", body, "Idempotency-Key: one").is(http.StatusCreated)
	if again.text("token") != token || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("a retry is answered with %v", again.header)
	}
	if o := w.operator("ada lovelace"); o.Role != access.RoleSupport || o.Link.IsZero() {
		t.Errorf("the operator is %+v", o)
	}
	e := w.lastEvent(mfa.OperatorLinkCreated)
	if !strings.HasPrefix(e.Caller, "key_") || e.Request == "" || e.Reason != "ada lovelace (ticket 4711)" {
		t.Errorf("the event is %+v", e)
	}
	r := w.do("GET", "/operators/ada%20lovelace", "").is(http.StatusOK)
	if r.text("role") != "support" || r.text("status") != "enabled" || r.text("link_expires_at") == "" || strings.Contains(r.body, token) {
		t.Errorf("the operator is %s", r.body)
	}
	r = w.do("GET", "/operators?order=asc", "").is(http.StatusOK)
	if n := len(r.at("data").([]any)); n != 2 || strings.Contains(r.body, token) {
		t.Errorf("there are %d operators: %s", n, r.body)
	}
}

func TestAnOperatorIsChanged(t *testing.T) {
	w := newFixture(t)
	r := w.do("PATCH", "/operators/grace", `{"role":"viewer","status":"disabled","reason":"left"}`).is(http.StatusOK)
	if r.text("role") != "viewer" || r.text("status") != "disabled" || r.text("disabled_at") == "" {
		t.Errorf("the answer is %s", r.body)
	}
	if o := w.operator(grace); o.Role != access.RoleViewer || o.DisabledAt.IsZero() || !o.Link.IsZero() {
		t.Errorf("the operator is %+v", o)
	}
	if e := w.lastEvent(mfa.OperatorDisabled); !strings.HasPrefix(e.Caller, "key_") || e.Reason != "grace (left)" {
		t.Errorf("the event is %+v", e)
	}
	w.do("POST", "/operators", `{"name":"grace"}`).says(http.StatusConflict, "operator_disabled")
	w.do("PATCH", "/operators/grace", `{"status":"enabled"}`).is(http.StatusOK)
	if o := w.operator(grace); !o.DisabledAt.IsZero() {
		t.Error("the operator is disabled still")
	}
	w.do("POST", "/operators/grace/sign_out", `{}`).is(http.StatusNoContent)
	if e := w.lastEvent(mfa.OperatorSessionsEnded); e.Reason != "grace: all sessions" {
		t.Errorf("the event is %+v", e)
	}
	if r := w.do("POST", "/operators/grace/sign_out", `{"session_id":"0011223344556677"}`).says(http.StatusNotFound, "entity_not_found"); r.text("entity_id") != "0011223344556677" {
		t.Errorf("the answer is %s", r.body)
	}
	for _, method := range []string{"GET", "PATCH"} {
		w.do(method, "/operators/nobody", ``).says(http.StatusNotFound, "entity_not_found")
	}
}

// TestAnExpiringKeyGivesNoLastingAccess tries to keep the access of a key beyond its end, by the
// access of a person.
func TestAnExpiringKeyGivesNoLastingAccess(t *testing.T) {
	w := newFixture(t)
	w.do("PATCH", "/operators/grace", `{"status":"disabled"}`).is(http.StatusOK)
	text, _, err := w.access.CreateKey(t.Context(), mfa.Caller{}, access.KeyParams{
		Scopes: access.ScopesOf(access.ScopeOperatorWrite), ExpiresAt: w.clock.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.key = text.Reveal()
	for _, try := range [][3]string{
		{"POST", "/operators", `{"name":"mallory","role":"admin"}`},
		{"POST", "/operators", `{"name":"grace"}`},
		{"PATCH", "/operators/grace", `{"role":"admin"}`},
		{"PATCH", "/operators/grace", `{"status":"enabled"}`},
	} {
		w.do(try[0], try[1], try[2]).says(http.StatusForbidden, "expiring_key_not_allowed")
	}
	w.do("GET", "/operators/mallory", "").says(http.StatusNotFound, "entity_not_found")
	if o := w.operator(grace); o.Role != access.RoleSupport || o.DisabledAt.IsZero() {
		t.Errorf("the operator is %+v", o)
	}
	// It may take access away.
	w.do("PATCH", "/operators/grace", `{"status":"disabled"}`).is(http.StatusOK)
	w.do("POST", "/operators/grace/sign_out", ``).is(http.StatusNoContent)
}

func TestATestMessageIsSentOnce(t *testing.T) {
	w := newFixture(t)
	w.carrier.Accepted = delivery.Accepted{Provider: "acme", ID: "SM1"}
	const path, body = "/environments/Production/messages/send_test", `{"phone_number":"+1 607 351 7112","reason":"ticket 4711"}`
	for range 2 {
		r := w.do("POST", path, body, "Idempotency-Key: one").is(http.StatusOK)
		if r.text("outcome") != "accepted" || r.text("provider") != "acme" || r.text("provider_message_id") != "SM1" || r.text("country") != "US" {
			t.Errorf("the answer is %s", r.body)
		}
	}
	if e := w.lastEvent(mfa.TestMessageSent); !strings.HasPrefix(e.Caller, "key_") || e.Reason != "ticket 4711" || e.Environment != w.production.ID {
		t.Errorf("the event is %+v", e)
	}
	if n := w.carrier.Sent(); n != 1 {
		t.Errorf("%d messages were sent; want 1", n)
	}
	if r := w.do("POST", path, body).says(http.StatusTooManyRequests, "sms_challenge_rate_limited"); r.header.Get("Retry-After") == "" {
		t.Errorf("the refusal %v has no Retry-After", r.header)
	}
	w.do("POST", path, `{"phone_number":"+4915123456789"}`).says(http.StatusForbidden, "sms_country_not_allowed")
	w.do("POST", "/environments/Acme/messages/send_test", body).says(http.StatusConflict, "sandbox_environment")
	w.clock.Advance(time.Minute)
	w.carrier.Lost = delivery.ErrRecipientRefused
	if r := w.do("POST", path, body).is(http.StatusOK); r.text("outcome") != "recipient_refused" || r.at("provider") != nil {
		t.Errorf("the answer is %s", r.body)
	}
}
