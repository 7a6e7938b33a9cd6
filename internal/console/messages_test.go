package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

func TestATestMessageFromTheConsole(t *testing.T) {
	f := newFixture(t, console.Options{})
	f.carrier.Accepted = delivery.Accepted{Provider: "acme", ID: "SM<1>"}
	if _, err := f.operator.CreateEnvironment(t.Context(), operator.By{Operator: "ada"}, "Live", true); err != nil {
		t.Fatal(err)
	}
	const path = "/console/e/Live/messages"
	if strings.Contains(f.page("/console/e/Acme%20Test/messages"), "messages/test") || !strings.Contains(f.page(path), `action="`+path+`/test"`) {
		t.Error("not exactly production environments have the form")
	}
	form := url.Values{"phone": {"+1 607 351 7112"}, "reason": {"ticket 4711"}}
	w := f.post(path+"/test", form)
	if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, "acme") || !strings.Contains(body, "SM&lt;1&gt;") || strings.Contains(body, "7112<") {
		t.Errorf("POST = %d: %s", w.Code, body)
	}
	found := false
	for _, e := range storetest.Events(t, f.store) {
		found = found || e.Type == mfa.TestMessageSent && e.Caller == "operator:ada" && e.Reason == "ticket 4711" && e.Request != ""
	}
	if !found || f.carrier.Sent() != 1 {
		t.Errorf("%d messages were sent, with an event of the operator: %t", f.carrier.Sent(), found)
	}
	for _, tc := range []struct{ env, phone, want string }{
		{"Live", "+16073517112", "try again in"},
		{"Live", "+4915123456789", "this country"},
		{"Live", "911", "the code of its country"},
		{"Live", "", "the code of its country"},
		{"Acme%20Test", "+16073517112", "sandbox"},
	} {
		w := f.post("/console/e/"+tc.env+"/messages/test", url.Values{"phone": {tc.phone}, "reason": {"ticket 4711"}})
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("to %q in %s: %d; want %q on the page", tc.phone, tc.env, w.Code, tc.want)
		}
	}
	f.clock.Advance(time.Minute)
	f.carrier.Lost = delivery.ErrNotDelivered
	if w := f.post(path+"/test", form); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "No provider accepted") {
		t.Errorf("a message that no provider accepts: %d", w.Code)
	}
	if f.carrier.Sent() != 1 {
		t.Errorf("%d messages were sent; want 1", f.carrier.Sent())
	}
}
