package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
)

const webPage = "http://localhost:3000"

func TestPasskeyOverTheAPI(t *testing.T) {
	w := newFixture(t, setup{})
	factor := w.post("/auth/factors/enroll", `{"type":"webauthn","user_id":"user_42","webauthn_user":"ada@example.com"}`).is(201)
	if factor.text("webauthn.status") != "pending" || factor.text("webauthn.rp_id") != "localhost" || factor.text("webauthn.user") != "ada@example.com" {
		t.Errorf("the factor is %s", factor.body)
	}
	path := "/auth/factors/" + factor.text("id")
	c := w.post(path+"/challenge", `{"user_verification":"required","origin":"`+webPage+`"}`).is(201)
	if c.text("webauthn.ceremony") != "create" || c.text("webauthn.options.rp.id") != "localhost" {
		t.Errorf("the challenge is %s", c.body)
	}
	if got := w.get("/auth/challenges/" + c.text("id")); got.text("code") != c.text("code") {
		t.Errorf("GET shows %s", got.body)
	}
	key, response := passkeytest.Create(t, []byte(c.text("code")), webPage)
	v := w.post("/auth/challenges/"+c.text("id")+"/verify", `{"code":"`+quoted(string(response))+`"}`).is(201)
	if !strings.Contains(v.body, `"valid":true,"webauthn":{"user_verified":true,"backup_eligible":false,"backed_up":false,"sign_count":1,"aaguid":"00000000-0000-0000-0000-000000000000","attachment":"platform"}`) {
		t.Errorf("the verification is %s", v.body)
	}
	for _, form := range []func([]byte) string{
		func(b []byte) string { return `{"credential":` + string(b) + `}` },
		func(b []byte) string { return `{"code":null,"credential":"` + quoted(string(b)) + `"}` },
	} {
		c = w.post(path+"/challenge", ``).is(201)
		if c.text("webauthn.ceremony") != "get" || c.text("webauthn.options.rpId") != "localhost" {
			t.Errorf("the challenge is %s", c.body)
		}
		body := form(key.Get(t, []byte(c.text("code"))))
		first := w.do("POST", "/auth/challenges/"+c.text("id")+"/verify", body, "Idempotency-Key: "+c.text("id")).is(201)
		again := w.do("POST", "/auth/challenges/"+c.text("id")+"/verify", body, "Idempotency-Key: "+c.text("id")).is(201)
		if !strings.Contains(first.body, `"valid":true,"webauthn"`) || first.body != again.body {
			t.Errorf("the verification is\n%s\n%s", first.body, again.body)
		}
	}
	if f := w.get(path); f.text("webauthn.status") != "registered" || !strings.Contains(f.body, `"sign_count":3`) {
		t.Errorf("the factor is %s", f.body)
	}
	if list := w.get("/user_management/users/user_42/auth_factors"); !strings.Contains(list.body, `"status":"registered"`) {
		t.Errorf("the list is %s", list.body)
	}
}

func TestRepeatedChallengeOfAPasskeyIsTheSame(t *testing.T) {
	w := newFixture(t, setup{})
	factor := w.post("/auth/factors/enroll", `{"type":"webauthn","user_id":"user_42"}`).is(201)
	first := w.do("POST", "/auth/factors/"+factor.text("id")+"/challenge", `{}`, "Idempotency-Key: once").is(201)
	again := w.do("POST", "/auth/factors/"+factor.text("id")+"/challenge", `{}`, "Idempotency-Key: once").is(201)
	if first.body != again.body {
		t.Errorf("the challenges are\n%s\n%s", first.body, again.body)
	}
}

func TestResponseThatIsNotReadableCounts(t *testing.T) {
	w := newFixture(t, setup{})
	factor := w.post("/auth/factors/enroll", `{"type":"webauthn","user_id":"user_42"}`).is(201)
	c := w.post("/auth/factors/"+factor.text("id")+"/challenge", ``).is(201)
	for _, body := range []string{`{"code":"{"}`, `{"code":""}`, `{"code":[1]}`, `{"credential":{}}`, `{"credential":7}`} {
		v := w.post("/auth/challenges/"+c.text("id")+"/verify", body).is(201)
		if !strings.Contains(v.body, `"valid":false`) {
			t.Errorf("the verification is %s", v.body)
		}
	}
	w.post("/auth/challenges/"+c.text("id")+"/verify", `{"code":"{"}`).is(400)
	c = w.post("/auth/factors/"+factor.text("id")+"/challenge", ``).is(201)
	w.post("/auth/challenges/"+c.text("id")+"/verify", `{"credential":null}`).refuses("code code_required")
}

func TestUnknownPasskeyIsSignaled(t *testing.T) {
	w := newFixture(t, setup{})
	factor := w.post("/auth/factors/enroll", `{"type":"webauthn","user_id":"user_42"}`).is(201)
	c := w.post("/auth/factors/"+factor.text("id")+"/challenge", ``).is(201)
	key, response := passkeytest.Create(t, []byte(c.text("code")), webPage)
	w.post("/auth/challenges/"+c.text("id")+"/verify", `{"credential":`+string(response)+`}`).is(201)
	c = w.post("/auth/factors/"+factor.text("id")+"/challenge", ``).is(201)
	response = key.Get(t, []byte(c.text("code")), func(a *passkeytest.Answer) { a.ID = []byte("a deleted credential") })
	v := w.post("/auth/challenges/"+c.text("id")+"/verify", `{"credential":`+string(response)+`}`).is(201)
	if !strings.Contains(v.body, `"valid":false,"signal":{"unknown_credential":{"rpId":"localhost","credentialId":"YSBkZWxldGVkIGNyZWRlbnRpYWw"}}`) {
		t.Errorf("the verification is %s", v.body)
	}
}

func TestWrongParametersOfPasskeys(t *testing.T) {
	w := newFixture(t, setup{})
	w.post("/auth/factors/enroll", `{"type":"webauthn","webauthn_user":"`+strings.Repeat("a", 257)+`"}`).refuses("webauthn_user webauthn_user_too_long")
	w.post("/user_management/users/user_42/auth_factors", `{"type":"webauthn"}`).refuses("type type_unsupported")
	factor := w.post("/auth/factors/enroll", `{"type":"webauthn","user_id":"user_42"}`).is(201)
	path := "/auth/factors/" + factor.text("id") + "/challenge"
	w.post(path, `{"origin":"https://evil.example"}`).refuses("origin origin_unknown")
	w.post(path, `{"user_verification":"always"}`).refuses("user_verification user_verification_unknown")
	w.post(path, `{"user_verification":true,"origin":[]}`).refuses("origin origin_not_a_string", "user_verification user_verification_not_a_string")
	live, _ := w.newKey(w.environment("Acme", true))
	w.do("POST", "/auth/factors/enroll", `{"type":"webauthn"}`, "Authorization: Bearer "+live).refuses("type type_webauthn_not_configured")
}

func TestPagesOfPasskeysAreServedByHost(t *testing.T) {
	w := newFixture(t, setup{})
	_, err := w.access.ChangeSettings(t.Context(), mfa.Caller{Environment: w.sandbox},
		map[string]string{"webauthn_rp_id": "example.com", "webauthn_origins": "https://example.de,https://example.com,http://localhost:3000"})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(host string) reply {
		r, err := http.NewRequest(http.MethodGet, w.url+"/.well-known/webauthn", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		return w.send(r)
	}
	for _, host := range []string{"example.com", "example.com:8443", "EXAMPLE.com."} {
		r := ask(host)
		r.says(http.StatusOK, `{"origins":["https://example.com","https://example.de"]}`)
		if got := r.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
			t.Errorf("Content-Type is %q", got)
		}
		if got := r.header.Get("Cache-Control"); got != "public, max-age=300" {
			t.Errorf("Cache-Control is %q", got)
		}
	}
	for _, host := range []string{"", "example.de", "login.example.com", "localhost", "[::1]:80", "example.com:x"} {
		r := ask(host)
		if host == "example.com:x" && r.status == http.StatusBadRequest {
			continue // net/http refuses it
		}
		r.says(http.StatusNotFound, `{"message":"No environment has this host as its webauthn_rp_id with a page under https.","code":"entity_not_found"}`)
	}
}
