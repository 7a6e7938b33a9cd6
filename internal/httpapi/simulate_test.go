package httpapi_test

import (
	"net/http"
	"testing"
)

func TestPasskeyFlowWithoutABrowser(t *testing.T) {
	w := newFixture(t, setup{})
	factor := w.enroll(`{"type":"webauthn","user_id":"user_42"}`)
	for _, ceremony := range []string{"create", "get", "get"} {
		c := w.challenge(factor)
		if got := c.text("webauthn.ceremony"); got != ceremony {
			t.Errorf("the ceremony is %q; want %q", got, ceremony)
		}
		answer := w.post("/dev/webauthn/answer", `{"challenge_id":"`+c.text("id")+`"}`).is(http.StatusOK)
		if answer.text("credential.type") != "public-key" || answer.text("credential.response.clientDataJSON") == "" {
			t.Errorf("the answer is %s", answer.body)
		}
		v := w.post("/auth/challenges/"+c.text("id")+"/verify", answer.body).is(http.StatusCreated)
		if v.at("valid") != true || v.at("webauthn.sign_count") != 0.0 || v.at("webauthn.user_verified") != true || v.at("webauthn.backup_eligible") != false {
			t.Errorf("the verification is %s", v.body)
		}
	}
	if f := w.get("/auth/factors/" + factor); f.text("webauthn.status") != "registered" {
		t.Errorf("the factor is %s", f.body)
	}
}

func TestSimulatedPasskeyNeedsASandbox(t *testing.T) {
	w := newFixture(t, setup{})
	c := w.challenge(w.enroll(`{"type":"webauthn"}`)).text("id")
	live, _ := w.newKey(w.environment("Acme", true))
	other, _ := w.newKey(w.environment("Other", false))
	body := `{"challenge_id":"` + c + `"}`
	w.post("/dev/webauthn/answer", body, "Authorization: Bearer "+live).says(http.StatusForbidden, `{"message":"This is only possible with an API key of a sandbox.","code":"sandbox_only"}`)
	w.post("/dev/webauthn/answer", body, "Authorization: Bearer "+other).is(http.StatusNotFound)
	w.post("/dev/webauthn/answer", body, "Authorization:").says(http.StatusUnauthorized, unauthorized)
	w.post("/dev/webauthn/answer", `{}`).refuses("challenge_id challenge_id_required")
	w.post("/dev/webauthn/answer", `{"challenge_id":"`+w.challenge(w.generic()).text("id")+`"}`).refuses("challenge_id challenge_id_not_webauthn")
	w.post("/dev/webauthn/answer", body).is(http.StatusOK)
}
