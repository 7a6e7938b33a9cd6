package operatorapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operatorapi"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// direct sends a request without a network.
func direct(w *fixture, method, target, body string) *httptest.ResponseRecorder {
	path, query, _ := strings.Cut(target, "?")
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.URL = &url.URL{Path: operatorapi.Prefix + path, RawQuery: query}
	r.Header.Set("Authorization", "Bearer "+w.key)
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	return rec
}

// lastEvent returns the newest event of a type.
func (w *fixture) lastEvent(typ mfa.EventType) (last mfa.Event) {
	w.t.Helper()
	for _, e := range storetest.Events(w.t, w.store) {
		if e.Type == typ {
			last = e
		}
	}
	if last.Type == "" {
		w.t.Fatalf("there is no event %s", typ)
	}
	return last
}

// TestSettingsAreChanged changes settings, and requires that a key of the environment has them.
func TestSettingsAreChanged(t *testing.T) {
	w := newFixture(t)
	const path = "/environments/Acme"
	r := w.do("PATCH", path, `{"settings":{"max_factors_per_user":5,"delete_requires_challenge":"120m"},"reason":"ticket 4711"}`).is(http.StatusOK)
	for _, want := range []string{`"max_factors_per_user":5`, `"delete_requires_challenge":"2h"`} {
		if !strings.Contains(r.body, want) {
			t.Errorf("the answer %s lacks %s", r.body, want)
		}
	}
	if e := w.lastEvent(mfa.EnvironmentUpdated); e.Reason != "delete_requires_challenge max_factors_per_user" || !strings.HasPrefix(e.Caller, "key_") || e.Request == "" {
		t.Errorf("the event is %+v", e)
	}
	text, _ := w.newKey(w.acme.env, access.ScopeAPI)
	if k, err := w.access.Authenticate(t.Context(), text); err != nil || k.Environment.Settings.Values().MaxFactorsPerUser != 5 {
		t.Errorf("the settings of a key are %v, %v", k.Environment.Settings, err)
	}
	w.do("PATCH", path, `{"settings":{"max_factors_per_user":7,"delete_requires_challenge":null}}`).is(http.StatusOK)
	for range 2 { // the second one changes nothing and leaves no event
		r = w.do("PATCH", path, `{"settings":{"max_factors_per_user":null}}`).is(http.StatusOK)
	}
	if got := w.do("GET", path, "").is(http.StatusOK); got.body != r.body || !strings.Contains(got.body, `"delete_requires_challenge":"off","duplicate_seed":"allow","max_factors_per_user":20`) {
		t.Errorf("read %s after %s", got.body, r.body)
	}
	updates := 0
	for _, e := range storetest.Events(t, w.store) {
		if e.Type == mfa.EnvironmentUpdated {
			updates++
		}
	}
	if updates != 3 {
		t.Errorf("%d events of changed settings; want 3", updates)
	}
	one, _ := w.newKey(w.other.env, access.ScopeOperatorWrite)
	w.do("PATCH", path, `{"settings":{}}`, "Authorization: Bearer "+one).is(http.StatusNotFound)
}

// TestEnvironmentsHaveDifferentIssuers gives one environment the issuer of another one, with a key that can only
// change this one. The receipts of all environments have the same keys.
func TestEnvironmentsHaveDifferentIssuers(t *testing.T) {
	w := newFixture(t)
	key, _ := w.newKey(w.other.env, access.ScopeOperatorWrite)
	change := func(env, issuer string, header ...string) reply {
		return w.do("PATCH", "/environments/"+url.PathEscape(env), `{"settings":{"receipt_issuer":"`+issuer+`"}}`, header...)
	}
	own := "https://mfa.example.com/environments/"
	change("Acme", "https://acme.example").is(http.StatusOK)
	change("Acme", "https://acme.example").is(http.StatusOK)
	change("Acme", own+"Acme").is(http.StatusOK)
	change("Acme", "https://acme.example").is(http.StatusOK)
	for _, issuer := range []string{"https://acme.example", own + "Acme", own + "one%20that%20does%20not%20exist%20yet"} {
		got := change(w.other.env.Name, issuer, "Authorization: Bearer "+key)
		if got.is(http.StatusUnprocessableEntity); !strings.Contains(got.body, "receipt_issuer must not be the issuer of another environment") {
			t.Errorf("%s: %s", issuer, got.body)
		}
	}
	change(w.other.env.Name, "https://other.example", "Authorization: Bearer "+key).is(http.StatusOK)
}

func TestEnvironmentsAndKeys(t *testing.T) {
	w := newFixture(t)
	env := w.do("POST", "/environments", `{"name":"Acme staging","kind":"sandbox"}`).is(http.StatusCreated)
	const settings = `{"accept_recovery":false,"delete_requires_challenge":"off","duplicate_seed":"allow","max_factors_per_user":20,"receipt_issuer":"","recovery_profile":"default","unverified_expiry":"off","webauthn_aaguids":[],"webauthn_attestation":"none","webauthn_name":"","webauthn_origins":[],"webauthn_rp_id":"","webauthn_user_verification":"preferred"}`
	if want := `{"object":"environment","name":"Acme staging","kind":"sandbox","settings":` + settings + `}`; env.body != want {
		t.Errorf("created %s; want %s", env.body, want)
	}
	if got := w.do("GET", "/environments/Acme%20staging", "").is(http.StatusOK); got.body != env.body {
		t.Errorf("read %s; want %s", got.body, env.body)
	}
	w.do("POST", "/environments", `{"name":"Acme staging","kind":"production"}`).says(http.StatusConflict, "environment_exists")

	made := w.do("POST", "/keys", `{"name":"archive","environment":"Acme staging","scopes":["events:read"],"expires_at":"2099-01-01T00:00:00Z"}`).is(http.StatusCreated)
	key, id := made.text("key"), made.text("id")
	logcapture.Secret(t, key)
	if !strings.HasPrefix(key, "sk_test_") || made.text("name") != "archive" || made.text("expires_at") != "2099-01-01T00:00:00.000Z" {
		t.Errorf("created a key with %d characters: %s", len(key), strings.ReplaceAll(made.body, key, "KEY"))
	}
	if got := w.do("GET", "/keys/"+id, "").is(http.StatusOK); got.body != strings.Replace(made.body, `,"key":"`+key+`"`, "", 1) {
		t.Errorf("read %s", got.body)
	}
	if e := w.lastEvent(mfa.KeyCreated); !strings.HasPrefix(e.Caller, "key_") || e.Reason != id || e.Request == "" {
		t.Errorf("the event is %+v", e)
	}
	if k, err := w.access.Authenticate(t.Context(), key); err != nil || k.Scopes != access.ScopesOf(access.ScopeEventsRead) {
		t.Errorf("the key is %+v, %v", k, err)
	}
	w.do("DELETE", "/keys/"+id, "").is(http.StatusNoContent)
	w.do("DELETE", "/keys/"+id, "").is(http.StatusNoContent)
	if got := w.do("GET", "/keys/"+id, "").is(http.StatusOK); got.text("revoked_at") == "" {
		t.Errorf("after the revocation: %s", got.body)
	}
	w.do("DELETE", "/keys/key_0000000000000000", "").says(http.StatusNotFound, "entity_not_found")

	short := w.do("POST", "/keys", `{"name":"migration","scopes":["operator:write"],"expires_at":"2099-01-01T00:00:00Z"}`).is(http.StatusCreated)
	full := w.key
	w.key = short.text("key")
	logcapture.Secret(t, w.key)
	for _, expires := range []string{``, `,"expires_at":"2099-01-01T00:00:00.001Z"`} {
		if r := w.do("POST", "/keys", `{"scopes":["operator:write"]`+expires+`}`).is(http.StatusUnprocessableEntity); !strings.Contains(r.body, "expires_at_out_of_range") {
			t.Errorf("a key that outlives its maker: %s", r.body)
		}
	}
	logcapture.Secret(t, w.do("POST", "/keys", `{"scopes":["operator:write"],"expires_at":"2099-01-01T00:00:00Z"}`).is(http.StatusCreated).text("key"))
	w.key = full

	all := w.do("POST", "/keys", `{"name":"terraform","scopes":["operator:write"]}`).is(http.StatusCreated)
	w.key = all.text("key")
	logcapture.Secret(t, w.key)
	if me := w.do("GET", "/me", "").is(http.StatusOK); me.text("key_id") != all.text("id") || me.at("environment") != nil || !strings.Contains(me.body, `"keys:manage"`) {
		t.Errorf("me: %s", me.body)
	}
}

func TestListsHavePages(t *testing.T) {
	w := newFixture(t)
	for _, name := range []string{"e3", "e4", "e5"} {
		w.do("POST", "/environments", `{"name":"`+name+`","kind":"sandbox"}`).is(http.StatusCreated)
	}
	for _, tc := range []struct{ query, want, before, after string }{ // "": any cursor after
		{"", "e5 e4 e3", "", ""},
		{"?limit=2", "e5 e4", "", "e4"},
		{"?limit=2&after=e4", "e3", "e3", ""},
		{"?limit=1&before=e3", "e4", "e4", "e4"},
		{"?limit=2&order=asc&after=e3", "e4 e5", "e4", ""},
		{"?limit=2&order=asc&after=e3&before=e5", "e4", "e4", "e4"},
	} {
		r := w.do("GET", "/environments"+tc.query, "").is(http.StatusOK)
		var got []string
		for _, v := range r.at("data").([]any) {
			if name := v.(map[string]any)["name"].(string); name[0] == 'e' {
				got = append(got, name)
			}
		}
		cursors := r.at("list_metadata").(map[string]any)
		before, _ := cursors["before"].(string)
		after, _ := cursors["after"].(string)
		if strings.Join(got, " ") != tc.want || before != tc.before || tc.after != "" && after != tc.after {
			t.Errorf("%s: %s", tc.query, r.body)
		}
	}
}

func TestActionsOnPeople(t *testing.T) {
	w := newFixture(t)
	by := mfa.Caller{Environment: w.acme.env}
	wrong := func() {
		id, err := mfa.ParseChallengeID(w.acme.challenge)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.service.Verify(t.Context(), by, id, mfa.VerifyParams{Code: "12345"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	factor, user := "/factors/"+w.acme.factor, "/environments/Acme/users/"+adaUser
	const reason = `{"reason":"ticket 4711"}`
	w.do("POST", factor+"/unlock", reason).says(http.StatusConflict, "not_locked")
	w.do("POST", user+"/unlock", reason).says(http.StatusConflict, "not_locked")
	for range 3 {
		wrong()
	}
	if r := w.do("GET", factor, "").is(http.StatusOK); r.text("state") != "locked" {
		t.Errorf("the factor is %s", r.body)
	}
	if r := w.do("GET", "/challenges/"+w.acme.challenge, "").is(http.StatusOK); r.at("attempts") != 3.0 {
		t.Errorf("the challenge is %s", r.body)
	}
	if r := w.do("POST", factor+"/unlock", reason).is(http.StatusOK); r.text("state") == "locked" {
		t.Errorf("the unlocked factor is %s", r.body)
	}
	if e := w.lastEvent(mfa.FactorUnlocked); e.Reason != "ticket 4711" || !strings.HasPrefix(e.Caller, "key_") || e.Request == "" {
		t.Errorf("the event is %+v", e)
	}
	if r := w.do("POST", factor+"/suspend", reason).is(http.StatusOK); r.text("state") != "suspended" || r.text("suspended_at") == "" ||
		!strings.HasPrefix(r.text("suspended_by"), "key_") || r.text("suspension_reason") != "ticket 4711" {
		t.Errorf("the suspended factor is %s", r.body)
	}
	w.do("POST", factor+"/suspend", reason).says(http.StatusConflict, "factor_suspended")
	w.do("POST", factor+"/resume", reason).is(http.StatusOK)
	w.do("POST", factor+"/resume", reason).says(http.StatusConflict, "factor_not_suspended")
	if r := w.do("GET", user, "").is(http.StatusOK); r.text("id") != adaUser || len(r.at("factors").([]any)) != 1 {
		t.Errorf("the user is %s", r.body)
	}
	w.do("POST", user+"/erase", reason).is(http.StatusNoContent)
	if r := w.do("GET", factor, ""); r.status != http.StatusNotFound && r.text("state") != "deleted" {
		t.Errorf("after the erasure, the factor is %d %s", r.status, r.body)
	}
	w.do("POST", "/environments/Acme/users/nobody/unlock", reason).says(http.StatusNotFound, "entity_not_found")
}

func TestBypassCodes(t *testing.T) {
	w := newFixture(t)
	path := "/environments/Acme/users/" + adaUser + "/bypass_code"
	const reason = `{"reason":"lost phone"}`
	w.do("GET", path, "").says(http.StatusNotFound, "entity_not_found")
	w.do("POST", path+"/revoke", reason).says(http.StatusConflict, "no_bypass_code")
	made := w.do("POST", path, reason).is(http.StatusCreated)
	code := made.text("code")
	logcapture.Secret(t, code)
	if len(code) < 9 || !strings.HasPrefix(made.text("created_by"), "key_") || made.text("reason") != "lost phone" {
		t.Errorf("created a code of %d characters by %s", len(code), made.text("created_by"))
	}
	if r := w.do("GET", path, "").is(http.StatusOK); strings.Contains(r.body, code) {
		t.Error("the code is shown again")
	}
	for _, shown := range []string{"/environments/Acme/users/" + adaUser, "/factors/" + w.acme.factor} {
		r := w.do("GET", shown, "").is(http.StatusOK)
		if b, ok := r.at("bypass_code").(map[string]any); !ok || b["reason"] != "lost phone" || b["code"] != nil || strings.Contains(r.body, code) {
			t.Errorf("%s shows the bypass code %v", shown, b)
		}
	}
	id, err := mfa.ParseChallengeID(w.acme.challenge)
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.service.Verify(t.Context(), mfa.Caller{Environment: w.acme.env}, id, mfa.VerifyParams{Code: strings.ReplaceAll(code, " ", "")}, nil)
	if err != nil || !v.Valid {
		t.Errorf("the code verifies %v, %v", v.Valid, err)
	}
	w.do("GET", path, "").says(http.StatusNotFound, "entity_not_found")
	logcapture.Secret(t, w.do("POST", path, reason).is(http.StatusCreated).text("code"))
	w.do("POST", path+"/revoke", reason).is(http.StatusNoContent)
	w.do("POST", "/environments/Acme/users/nobody/bypass_code", reason).says(http.StatusNotFound, "entity_not_found")
	factor := "/factors/" + w.acme.factor
	w.do("POST", factor+"/suspend", reason).is(http.StatusOK)
	w.do("POST", path, reason).says(http.StatusConflict, "factors_suspended")
	w.do("POST", factor+"/remove", reason).is(http.StatusNoContent)
	w.do("POST", path, reason).says(http.StatusNotFound, "entity_not_found")
	if e := w.lastEvent(mfa.FactorDeleted); !strings.HasPrefix(e.Caller, "key_") || e.Reason != "lost phone" {
		t.Errorf("the event is %+v", e)
	}
}

func TestAViewerSeesNoSecretOfAnEndpoint(t *testing.T) {
	w := newFixture(t)
	path := "/environments/Acme/webhook_endpoints/" + w.acme.endpoint
	secret := w.do("GET", path, "").is(http.StatusOK).text("secret")
	if !strings.HasPrefix(secret, "whsec_") {
		t.Fatal("an admin sees no secret")
	}
	w.key, _ = w.newKey(w.acme.env, access.ScopeOperatorRead)
	for _, p := range []string{path, "/environments/Acme/webhook_endpoints", path + "/attempts"} {
		if r := w.do("GET", p, "").is(http.StatusOK); strings.Contains(r.body, "whsec_") {
			t.Errorf("%s shows a secret to a viewer", p)
		}
	}
}

func TestAnIdempotencyKeyMakesOneEffect(t *testing.T) {
	w := newFixture(t)
	const once = "Idempotency-Key: 7f3c"
	body := `{"environment":"Acme","name":"once"}`
	first := w.do("POST", "/keys", body, once).is(http.StatusCreated)
	logcapture.Secret(t, first.text("key"))
	again := w.do("POST", "/keys", body, once).is(http.StatusCreated)
	if again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Error("the same request again has another answer")
	}
	w.do("POST", "/keys", `{"environment":"Acme","name":"other"}`, once).says(http.StatusUnprocessableEntity, "idempotency_error")
	// An error changes nothing and is not recorded.
	suspend := "/factors/" + w.acme.factor
	w.do("POST", suspend+"/resume", `{"reason":"x"}`, once).says(http.StatusConflict, "factor_not_suspended")
	w.do("POST", suspend+"/suspend", `{"reason":"x"}`, once).is(http.StatusOK)
	w.do("POST", suspend+"/suspend", `{"reason":"x"}`, once).is(http.StatusOK)
	w.do("POST", suspend+"/resume", `{"reason":"x"}`, once).is(http.StatusOK)
	// A secret is shown again for ten minutes only; after a day the key is free.
	w.clock.Advance(10 * time.Minute)
	w.do("POST", "/keys", body, once).says(http.StatusUnprocessableEntity, "idempotency_error")
	w.clock.Advance(24 * time.Hour)
	if r := w.do("POST", "/keys", body, once).is(http.StatusCreated); r.text("id") == first.text("id") {
		t.Error("after a day the answer is the old one")
	}
	// A factor and a path are part of the scope, and another API key is another scope.
	w.key, _ = w.newKey(mfa.Environment{}, access.ScopeOperatorWrite)
	if r := w.do("POST", "/keys", body, once).is(http.StatusCreated); r.header.Get("Idempotency-Replayed") != "" {
		t.Error("another key gets the answer")
	}
}

// TestEventsOfEndpointsHaveTheReason gives a reason for each change of a webhook endpoint.
func TestEventsOfEndpointsHaveTheReason(t *testing.T) {
	w := newFixture(t)
	const hooks = "/environments/Acme/webhook_endpoints"
	created := w.do("POST", hooks, `{"endpoint_url":"https://example.com/new","events":["factor.locked"],"reason":"ticket: 1"}`).is(http.StatusCreated)
	logcapture.Secret(t, created.text("secret"))
	id := created.text("id")
	w.do("POST", hooks+"/"+id+"/replay", `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","reason":"ticket 0"}`).is(http.StatusOK)
	w.do("PATCH", hooks+"/"+id, `{"status":"disabled","events":["factor.unlocked"],"reason":"ticket 2"}`).is(http.StatusOK)
	rotated := w.do("POST", hooks+"/"+id+"/rotate_secret", `{"overlap_seconds":0,"reason":"ticket 3"}`).is(http.StatusOK)
	logcapture.Secret(t, rotated.text("secret"))
	for typ, want := range map[mfa.EventType]string{
		mfa.EndpointCreated: "ticket: 1", mfa.EndpointUpdated: "ticket 2", mfa.EndpointDisabled: "requested: ticket 2", mfa.EndpointSecretRotated: "ticket 3",
		mfa.EndpointReplayed: "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z: ticket 0",
	} {
		r := w.do("GET", "/environments/Acme/events?limit=100&events="+string(typ), "").is(http.StatusOK)
		list := r.at("data").([]any)
		data := list[len(list)-1].(map[string]any)["data"].(map[string]any)
		if data["reason"] != want || data["webhook_endpoint_id"] != id {
			t.Errorf("%s has %v; want the reason %q", typ, data, want)
		}
	}
	w.do("PATCH", hooks+"/"+id, `{"status":"enabled","reason":"a\nb"}`).says(http.StatusUnprocessableEntity, "invalid_request_parameters")
}

func TestAKeyIsRenamed(t *testing.T) {
	w := newFixture(t)
	path := "/keys/" + string(w.acme.apiKey.ID)
	if r := w.do("PATCH", path, `{"name":"checkout","reason":"ticket 4711"}`).is(http.StatusOK); r.text("name") != "checkout" {
		t.Errorf("the answer is %s", r.body)
	}
	if e := w.lastEvent(mfa.KeyRenamed); e.Reason != string(w.acme.apiKey.ID)+":ticket 4711" || e.Environment != w.acme.env.ID {
		t.Errorf("the event is %+v", e)
	}
	if r := w.do("PATCH", path, `{}`).is(http.StatusOK); r.text("name") != "checkout" {
		t.Errorf("without a name, the answer is %s", r.body)
	}
	if r := w.do("PATCH", path, `{"name":""}`).is(http.StatusOK); r.text("name") != "" {
		t.Errorf("with an empty name, the answer is %s", r.body)
	}
	_, own := w.newKey(mfa.Environment{}, access.ScopeOperatorRead)
	if r := w.do("PATCH", "/keys/"+string(own.ID), `{"name":"dashboard"}`).is(http.StatusOK); r.text("name") != "dashboard" || r.text("object") != "operator_key" {
		t.Errorf("an operator key: %s", r.body)
	}
}
