package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTestsAskDevForFaults asks for each kind of fault and meets it.
func TestTestsAskDevForFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := dev(t, dir)
	api := p.api()
	other := newAPI(t, p.url, createKey(t, dir, "other"))
	const enroll, generic = "/auth/factors/enroll", `{"type":"generic_otp"}`
	order := func(fault, count string) string {
		t.Helper()
		return string(api.want(http.StatusOK, "POST", "/dev/faults", `{"route":"POST `+enroll+`","fault":"`+fault+`"`+count+`}`).body)
	}

	const waiting = `{"object":"list","data":[{"object":"fault","route":"POST /auth/factors/enroll","fault":"429","count":2}]}`
	if got := order("429", `,"count":2`); got != waiting {
		t.Errorf("the faults are %s; want %s", got, waiting)
	}
	other.enroll(generic)
	for range 2 {
		if got := api.want(http.StatusTooManyRequests, "POST", enroll, generic); got.header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After of a fault is %q; want 1", got.header.Get("Retry-After"))
		}
	}
	api.enroll(generic)
	order("500", "")
	order("503", "")
	api.want(http.StatusInternalServerError, "POST", enroll, generic)
	api.want(http.StatusServiceUnavailable, "POST", enroll, generic)
	api.enroll(generic)

	// The request is carried out, so its repetition with the key has the same answer.
	order("lost_answer", "")
	const key = "lost answer 1"
	fresh := newAPI(t, p.url, p.key) // net/http itself repeats a request with a key on a connection that it has used
	if got, err := fresh.send(t.Context(), "POST", enroll, generic, key); err == nil {
		t.Errorf("a lost answer arrived: %d", got.status)
	}
	again, err := api.send(t.Context(), "POST", enroll, generic, key)
	if err != nil || again.status != http.StatusCreated || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repetition = %d %v, replayed %q; want the recorded answer", again.status, err, again.header.Get("Idempotency-Replayed"))
	}

	order("timeout", "")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got, err := api.send(ctx, "POST", enroll, generic, ""); err == nil {
		t.Errorf("a request with a timeout was answered %d", got.status)
	}

	order("500", `,"count":1000`)
	api.want(http.StatusNoContent, "DELETE", "/dev/faults", "")
	api.enroll(generic)
	for body, want := range map[string]string{
		`{}`:                           "route_unknown",
		`{"route":"POST /x"}`:          "route_unknown",
		`{"fault":"418"}`:              "fault_unknown",
		`{"count":0}`:                  "count_out_of_range",
		`{"count":"many"}`:             "count_out_of_range",
		`{"routes":[]}`:                "body_unknown_key",
		`{"route":"POST /dev/faults"}`: "route_unknown",
	} {
		if got := string(api.want(http.StatusUnprocessableEntity, "POST", "/dev/faults", body).body); !strings.Contains(got, want) {
			t.Errorf("%s was answered %s; want %s", body, got, want)
		}
	}
}
