package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/httpapi"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// totpOf enrolls a totp factor of a user and returns its id.
func (w *fixture) totpOf(user string) string {
	w.t.Helper()
	return w.enroll(`{"type":"totp","user_id":"` + user + `"}`)
}

// recoveryCodes creates the recovery codes of a user.
func (w *fixture) recoveryCodes(user string) (reply, []string) {
	w.t.Helper()
	r := w.post("/user_management/users/"+user+"/recovery_codes", `{"allow_sole":true}`).is(http.StatusCreated)
	return r, w.codesOf(r)
}

// codesOf returns the recovery codes that a reply shows. No log may contain them.
func (w *fixture) codesOf(r reply) (codes []string) {
	w.t.Helper()
	for _, c := range r.at("codes").([]any) {
		code := c.(string)
		logcapture.Secret(w.t, code)
		logcapture.Secret(w.t, strings.ReplaceAll(code, "-", ""))
		codes = append(codes, code)
	}
	return codes
}

func TestRecoveryCodesOnTheWire(t *testing.T) {
	w := newFixture(t, setup{})
	path := "/user_management/users/ada/recovery_codes"
	w.get(path).is(http.StatusNotFound)
	w.post(path, ``).is(http.StatusConflict)
	made, codes := w.recoveryCodes("ada")
	seen := w.get(path).is(http.StatusOK)
	if len(codes) != 10 || seen.text("id") != made.text("id") || seen.text("created_at") != made.text("created_at") || strings.Contains(seen.body, "codes\":[") {
		t.Errorf("created %s, then read %s", made.body, seen.body)
	}
	factor := w.get("/auth/factors/" + made.text("id")).is(http.StatusOK)
	if factor.text("type") != "recovery_codes" || factor.at("recovery_codes.remaining") != 10.0 {
		t.Errorf("the factor: %s", factor.body)
	}
	c := w.challenge(made.text("id"))
	if v := w.verify(c.text("id"), strings.ToLower(codes[0])).is(http.StatusCreated); v.at("valid") != true || v.at("recovery.remaining") != 9.0 {
		t.Errorf("verified: %s", v.body)
	}
	list := "/user_management/users/ada/auth_factors"
	if all, usual := w.get(list+"?types=all").is(http.StatusOK), w.get(list).is(http.StatusOK); !strings.Contains(all.body, "recovery_codes") || strings.Contains(usual.body, "recovery_codes") {
		t.Errorf("with types=all %s, and without %s", all.body, usual.body)
	}
	w.delete(path).is(http.StatusNoContent)
	w.delete(path).is(http.StatusNotFound)
	w.get("/auth/factors/" + made.text("id")).is(http.StatusNotFound)
}

func TestRecoveryCodesCannotBeEnrolledAsAFactor(t *testing.T) {
	w := newFixture(t, setup{})
	for _, path := range []string{"/auth/factors/enroll", "/user_management/users/ada/auth_factors"} {
		if r := w.post(path, `{"type":"recovery_codes","user_id":"ada"}`).is(http.StatusUnprocessableEntity); !strings.Contains(r.body, "type_unsupported") {
			t.Errorf("%s: %s", path, r.body)
		}
	}
}

func TestOneInputTakesRecoveryCodes(t *testing.T) {
	w := newFixture(t, setup{})
	factor := w.totpOf("ada")
	_, codes := w.recoveryCodes("ada")
	usual := w.challenge(factor)
	if v := w.verify(usual.text("id"), codes[0]).is(http.StatusCreated); v.at("valid") != false || strings.Contains(v.body, "recovery") {
		t.Errorf("without accept_recovery: %s", v.body)
	}
	c := w.post("/auth/factors/"+factor+"/challenge", `{"accept_recovery":true}`).is(http.StatusCreated)
	v := w.verify(c.text("id"), codes[0]).is(http.StatusCreated)
	if v.at("valid") != true || v.at("recovery.used") != true || v.text("challenge.authentication_factor_id") != factor {
		t.Errorf("with accept_recovery: %s", v.body)
	}
}

func TestRepeatedRequestShowsTheSameRecoveryCodesForMinutes(t *testing.T) {
	w := newFixture(t, setup{})
	path, body := "/user_management/users/ada/recovery_codes", `{"allow_sole":true}`
	first := w.post(path, body, onceKey).is(http.StatusCreated)
	w.codesOf(first)
	if again := w.post(path, body, onceKey).is(http.StatusCreated); again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("repeated: %s; want %s", again.body, first.body)
	}
	w.clock.Advance(11 * time.Minute)
	if r := w.post(path, body, onceKey).is(http.StatusUnprocessableEntity); r.text("code") != "idempotency_error" {
		t.Errorf("after 11 minutes: %s", r.body)
	}
	w.recoveryCodes("ada") // without a key: erases the recorded answer with the old codes
}

func TestUseOfARecoveryCodeIsRepeatedWithItsAnswer(t *testing.T) {
	w := newFixture(t, setup{})
	made, codes := w.recoveryCodes("ada")
	path, body := "/auth/challenges/"+w.challenge(made.text("id")).text("id")+"/verify", `{"code":"`+codes[0]+`"}`
	first := w.post(path, body, onceKey).is(http.StatusCreated)
	if again := w.post(path, body, onceKey).is(http.StatusCreated); again.body != first.body || again.at("recovery.remaining") != 9.0 {
		t.Errorf("repeated: %s; want %s", again.body, first.body)
	}
}

func TestOneCallOnTheWire(t *testing.T) {
	w := newFixture(t, setup{})
	r := w.post("/auth/factors/enroll", `{"type":"totp","user_id":"ada"}`).is(http.StatusCreated)
	set, codes := w.recoveryCodes("ada")
	path := "/user_management/users/ada/verify"
	body := `{"code":"` + w.totpCode(r.text("totp.secret")) + `","ip_address":"203.0.113.7","user_agent":"RADIUS"}`
	v := w.post(path, body, onceKey).is(http.StatusOK)
	if v.at("valid") != true || v.text("authentication_factor_id") != r.text("id") || v.text("type") != "totp" {
		t.Errorf("a right code: %s", v.body)
	}
	if again := w.post(path, body, onceKey).is(http.StatusOK); again.body != v.body {
		t.Errorf("repeated: %s; want %s", again.body, v.body)
	}
	if v := w.post(path, body).is(http.StatusOK); v.at("valid") != false || v.at("authentication_factor_id") != nil {
		t.Errorf("a spent code: %s", v.body)
	}
	if v := w.post(path, `{"code":"`+codes[0]+`"}`).is(http.StatusOK); v.text("authentication_factor_id") != set.text("id") || v.at("recovery.remaining") != 9.0 {
		t.Errorf("a recovery code: %s", v.body)
	}
	if n := w.events(mfa.ChallengeSucceeded); n != 2 {
		t.Errorf("%d events of right codes; want 2", n)
	}
	w.post(path, `{}`).is(http.StatusUnprocessableEntity)
	w.post(path, `{"code":"1","pin":"2"}`).is(http.StatusUnprocessableEntity)
	w.post("/user_management/users/grace/verify", `{"code":"123456"}`).is(http.StatusNotFound)
}

// The answers about a user without factors do not depend on the code.
func TestOneCallTellsNoMoreThanTheList(t *testing.T) {
	w := newFixture(t, setup{api: httpapi.Options{}})
	var first string
	for _, code := range []string{"123456", "0000-0000-0000-0000", "0123456789", "x", ""} {
		r := w.post("/user_management/users/nobody/verify", `{"code":"`+code+`"}`).is(http.StatusNotFound)
		if first == "" {
			first = r.body
		}
		if r.body != first {
			t.Errorf("%q: %s; want %s", code, r.body, first)
		}
	}
}

func TestOneCallReturnsTheReceiptThatItIsAskedFor(t *testing.T) {
	w := newFixture(t, receipts)
	_, codes := w.recoveryCodes("ada")
	path := "/user_management/users/ada/verify"
	for _, wrong := range []string{`{}`, `{"aud":"https://pay.example.com","nonse":"5"}`, `"x"`} {
		r := w.post(path, `{"code":"`+codes[0]+`","receipt":`+wrong+`}`).is(http.StatusUnprocessableEntity)
		if !strings.Contains(r.body, "receipt") {
			t.Errorf("the error does not name the key: %s", r.body)
		}
	}
	if v := w.post(path, `{"code":"`+codes[0]+`","receipt":{"aud":"https://pay.example.com"}}`).is(http.StatusOK); v.at("valid") != true || strings.Count(fmt.Sprint(v.at("receipt")), ".") != 2 {
		t.Errorf("a right code: %s; want a receipt", v.body)
	}
	if v := w.post(path, `{"code":"`+codes[0]+`","receipt":{"aud":"https://pay.example.com"}}`).is(http.StatusOK); v.at("valid") != false || strings.Contains(v.body, "receipt") {
		t.Errorf("a code again: %s; want no receipt", v.body)
	}
	if v := w.post(path, `{"code":"`+codes[1]+`"}`).is(http.StatusOK); v.at("valid") != true || strings.Contains(v.body, "receipt") {
		t.Errorf("without a request: %s; want no receipt", v.body)
	}
}
