package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
)

func (w *fixture) resend(challenge string, headers ...string) reply {
	w.t.Helper()
	return w.post("/auth/challenges/"+challenge+"/resend", "", headers...)
}

// receive passes the service a report of the carrier about the first message of a
// challenge.
func (w *fixture) receive(challenge string, state delivery.State, reason string) {
	w.t.Helper()
	r := delivery.Receipt{Provider: "carrier", ID: challenge, State: state, Reason: reason}
	if err := w.service.Receive(context.Background(), r); err != nil {
		w.t.Fatal(err)
	}
}

func TestAChallengeShowsTheStateOfItsMessage(t *testing.T) {
	w := newFixture(t, setup{})
	c := w.challenge(w.phone())
	for _, step := range []struct {
		state  delivery.State
		reason string
		want   string
	}{
		{delivery.Queued, "", `"status":"queued","segments":1,"resends_left":3,"updated_at":"2026-03-27T12:00:00.432Z"`},
		{delivery.Sent, "", `"status":"sent","segments":1,"resends_left":3,"updated_at":"2026-03-27T12:00:01.432Z"`},
		{delivery.Queued, "", `"status":"sent","segments":1,"resends_left":3,"updated_at":"2026-03-27T12:00:01.432Z"`},
		{delivery.Undelivered, "30003", `"status":"undelivered","reason":"30003","segments":1,"resends_left":3,"updated_at":"2026-03-27T12:00:03.432Z"`},
		{delivery.Delivered, "", `"status":"delivered","segments":1,"resends_left":3,"updated_at":"2026-03-27T12:00:04.432Z"`},
	} {
		w.receive(c.text("id"), step.state, step.reason)
		w.get("/auth/challenges/"+c.text("id")).says(200, `{"object":"authentication_challenge","id":"`+c.text("id")+`",
			"created_at":"2026-03-27T12:00:00.432Z","updated_at":"2026-03-27T12:00:00.432Z","expires_at":"2026-03-27T12:10:00.432Z",
			"authentication_factor_id":"`+c.text("authentication_factor_id")+`","sms":{`+step.want+`}}`)
		w.clock.Advance(time.Second)
	}
	if v := w.verify(c.text("id"), wrong).is(201); v.at("challenge.sms.status") != "delivered" {
		t.Errorf("a verification shows %v", v.at("challenge.sms"))
	}
}

func TestReadingAChallengeShowsNoCode(t *testing.T) {
	w := newFixture(t, setup{})
	app, _ := w.app()
	for _, factor := range []string{app, w.generic()} {
		c := w.challenge(factor)
		if got := w.get("/auth/challenges/" + c.text("id")).is(200); got.keys() != challengeKeys || got.text("id") != c.text("id") {
			t.Errorf("read %s", got.body)
		}
	}
	id := w.challenge(app).text("id")
	w.get("/auth/challenges/nope").says(404, notFound("Challenge", "nope"))
	w.key, _ = w.newKey(w.environment("Another", false))
	w.get("/auth/challenges/"+id).says(404, notFound("Challenge", id))
	w.resend(id).says(404, notFound("Challenge", id))
}

func TestResendSendsTheSameCode(t *testing.T) {
	w := newFixture(t, setup{})
	c := w.challenge(w.phone())
	first := w.carrier.Last()

	w.clock.Advance(10 * time.Second)
	w.resend(c.text("id")).says(429, `{"message":"Too many messages to this phone number. Try again later.","code":"sms_challenge_rate_limited","retry_after":20}`)

	w.clock.Advance(20 * time.Second)
	r := w.resend(c.text("id"), onceKey).is(http.StatusCreated)
	if r.keys() != smsChallengeKeys || r.text("id") != c.text("id") || r.text("expires_at") != c.text("expires_at") ||
		r.at("sms.resends_left") != 2. || r.at("sms.status") != "queued" {
		t.Errorf("answered %s", r.body)
	}
	again := w.carrier.Last()
	if w.carrier.Sent() != 2 || again.Text.Reveal() != first.Text.Reveal() || again.Number != 2 || again.Avoid != "carrier" {
		t.Errorf("%d messages; the second has another text, or the number %d and avoids %q", w.carrier.Sent(), again.Number, again.Avoid)
	}
	if same := w.resend(c.text("id"), onceKey).is(http.StatusCreated); same.body != r.body || w.carrier.Sent() != 2 {
		t.Errorf("the same request again: %s, after %d messages", same.body, w.carrier.Sent())
	}
	if v := w.verify(c.text("id"), first.Code.Reveal()).is(201); v.at("valid") != true || v.at("challenge.code") != nil {
		t.Errorf("verified with %s", v.body)
	}
	w.resend(c.text("id")).is(422)
}

func TestACodeThatCannotBeSentAgainIsStillValid(t *testing.T) {
	w := newFixture(t, setup{})
	c := w.challenge(w.phone())
	w.clock.Advance(30 * time.Second)
	w.carrier.Fail(func(int) error { return errCarrier })
	w.resend(c.text("id"), onceKey).says(503, `{"message":"The message could not be delivered.","code":"sms_delivery_failed"}`)
	if got := w.get("/auth/challenges/" + c.text("id")).at("sms.resends_left"); got != 3. {
		t.Errorf("%v resends are left; want 3", got)
	}
	w.carrier.Fail(nil)
	w.resend(c.text("id"), onceKey).is(http.StatusCreated)
	if v := w.verify(c.text("id"), w.carrier.Last().Code.Reveal()).is(201); v.at("valid") != true {
		t.Error("the code is not valid")
	}
}

func TestTestNumbersOfASandbox(t *testing.T) {
	w := newFixture(t, setup{withoutSandbox: true})
	number := func(n string) string { return w.enroll(`{"type":"sms","phone_number":"` + n + `"}`) }
	for n, want := range map[string]string{
		"+15005550001": `503 sms_delivery_failed`,
		"+15005550003": `403 sms_country_not_allowed`,
		"+15005550004": `403 sms_number_type_not_allowed`,
		"+15005550008": `429 sms_challenge_rate_limited`,
		"+15005550009": `422 sms_recipient_refused`,
	} {
		r := w.post("/auth/factors/"+number(n)+"/challenge", `{}`)
		if got := fmt.Sprint(r.status, " ", r.text("code")); got != want {
			t.Errorf("%s: %s; want %s", n, got, want)
		}
	}
	for n, want := range map[string]string{"+15005550006": "delivered", "+15005550002": "undelivered", "+15005550007": "queued"} {
		c := w.challenge(number(n))
		if got := w.get("/auth/challenges/" + c.text("id")).at("sms.status"); got != want {
			t.Errorf("the message to %s is %v; want %s", n, got, want)
		}
		if v := w.verify(c.text("id"), "123456").is(201); v.at("valid") != true {
			t.Errorf("the code of %s is not valid", n)
		}
	}
}
