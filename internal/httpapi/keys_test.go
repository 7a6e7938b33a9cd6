package httpapi_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/httpapi"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

const unauthorized = `{"message":"Unauthorized"}`

func TestTheKeyIsAcceptedInEveryUsualForm(t *testing.T) {
	w := newFixture(t, setup{})
	for _, value := range []string{"Bearer KEY", "bearer KEY", "BEARER KEY", "Bearer  KEY", "Bearer    KEY  "} {
		w.get("/user_management/users/u/auth_factors", "Authorization: "+strings.Replace(value, "KEY", w.key, 1)).is(http.StatusOK)
	}
}

// badKeys are invalid values of Authorization. KEY means a valid key.
var badKeys = []string{
	"", "Bearer", "Bearer ", "KEY", "Basic KEY", "Token KEY", "BearerKEY", "Bearer\tKEY", "Bearer, KEY", "Bearer KEYx", "Bearer xKEY", "Bearer KEY KEY",
	"Bearer KEY,KEY", "Bearer \"KEY\"", "Bearer null", "Bearer undefined", "Bearer sk_test_", "Bearer sk_live_", "Bearer sk_", "Bearer \x00", "Bearer é", "Bearer \xff",
	"Bearer " + strings.Repeat("x", 10_000), "Bearer sk_test_" + strings.Repeat("x", 10_000), strings.Repeat("Bearer ", 1000), "Basic dXNlcjpwYXNz",
	"Bearer ' OR 1=1 --", "Bearer sk_test_%00",
}

func TestAnythingElseIs401(t *testing.T) {
	w := newFixture(t, setup{})
	values := append(badKeys, "Bearer "+strings.ToLower(w.key), "Bearer "+w.key[:len(w.key)-1], "Bearer "+strings.Replace(w.key, "test", "live", 1))
	for _, value := range values {
		value = strings.ReplaceAll(value, "KEY", w.key)
		r, err := http.NewRequest(http.MethodGet, "/user_management/users/u/auth_factors", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Authorization"] = []string{value} // Go's client would refuse to set some of these
		reply := w.direct(t, r)
		reply.says(401, unauthorized)
		if got := reply.header.Get("WWW-Authenticate"); got != "Bearer" {
			t.Errorf("WWW-Authenticate is %q", got)
		}
	}
	r, _ := http.NewRequest(http.MethodGet, "/user_management/users/u/auth_factors", nil)
	w.direct(t, r).says(401, unauthorized)
}

func TestWithoutAKeyAnAnswerShowsNothing(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.generic()
	c := w.challenge(id)
	for _, tc := range []struct{ method, path, body string }{
		{"GET", "/auth/factors/" + id, ``},
		{"GET", "/auth/factors/x", ``},
		{"DELETE", "/auth/factors/" + id, ``},
		{"POST", "/auth/factors/enroll", `{"type":"totp"}`},
		{"POST", "/auth/factors/enroll", `{`},
		{"POST", "/auth/factors/enroll", strings.Repeat("x", 100_000)},
		{"POST", "/auth/factors/" + id + "/challenge", ``},
		{"POST", "/auth/challenges/" + c.text("id") + "/verify", `{"code":"` + c.text("code") + `"}`},
		{"POST", "/auth/factors/challenge", `{}`},
		{"POST", "/auth/factors/verify", `{}`},
		{"GET", "/user_management/users/u/auth_factors?limit=x", ``},
		{"POST", "/user_management/users/u/auth_factors", `{"type":"totp"}`},
	} {
		w.do(tc.method, tc.path, tc.body, "Authorization:").says(401, unauthorized)
	}
	if v := w.verify(c.text("id"), c.text("code")).is(201); v.at("valid") != true || w.factors() != 1 {
		t.Error("a request without a key had an effect")
	}
}

func TestARevokedKeyIsRefusedWithinFiveSeconds(t *testing.T) {
	w := newFixture(t, setup{})
	key, id := w.newKey(w.sandbox)
	as := "Authorization: Bearer " + key
	w.get("/user_management/users/u/auth_factors", as).is(200)
	if err := w.access.Revoke(t.Context(), mfa.Caller{}, id); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(5 * time.Second)
	w.get("/user_management/users/u/auth_factors", as).says(401, unauthorized)
	w.get("/user_management/users/u/auth_factors").is(200)
}

func TestEveryKeyHasItsOwnRateLimit(t *testing.T) {
	w := newFixture(t, setup{api: httpapi.Options{RateLimit: 6}})
	other, _ := w.newKey(w.sandbox)
	for range 20 {
		w.get("/auth/factors/x", "Authorization: Bearer sk_test_wrong").is(401) // counts for no key
	}
	for range 6 {
		w.get("/auth/factors/x").is(404)
	}
	for _, r := range []reply{w.get("/auth/factors/x"), w.post("/auth/factors/enroll", `{"type":"totp"}`), w.delete("/auth/factors/x"), w.post("/auth/factors/enroll", `{`)} {
		r.says(429, `{"message":"Too many requests. Try again later.","code":"rate_limit_exceeded","retry_after":10}`)
		if got := r.header.Get("Retry-After"); got != "10" {
			t.Errorf("Retry-After is %q; want 10", got)
		}
	}
	w.get("/auth/factors/x", "Authorization: Bearer "+other).is(404)
	w.clock.Advance(9500 * time.Millisecond)
	if got := w.get("/auth/factors/x").is(429).header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After is %q; want 1, the half second rounded up", got)
	}
	w.clock.Advance(500 * time.Millisecond)
	w.get("/auth/factors/x").is(404)
	w.get("/auth/factors/x").is(429)
	if n := w.factors(); n != 0 {
		t.Errorf("%d factors were enrolled beyond the limit", n)
	}
}

// The limit is five messages in 10 minutes. In this test the wait after them starts at
// five minutes.
func TestAWaitOfMoreThanAMinuteIsOnlyInTheBody(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.phone()
	for range 5 {
		w.challenge(id)
		w.clock.Advance(time.Minute)
	}
	for _, tc := range []struct {
		pass   time.Duration
		body   float64
		header []string
	}{
		{0, 300, nil},
		{239 * time.Second, 61, nil},
		{time.Second, 60, []string{"60"}},
		{59 * time.Second, 1, []string{"1"}},
	} {
		w.clock.Advance(tc.pass)
		r := w.post("/auth/factors/"+id+"/challenge", `{}`).is(429)
		if got := r.header.Values("Retry-After"); !slices.Equal(got, tc.header) || r.at("retry_after") != tc.body {
			t.Errorf("Retry-After is %q and retry_after %v; want %q and %v", got, r.at("retry_after"), tc.header, tc.body)
		}
	}
}

func TestAFullLifeLogsNoSecret(t *testing.T) {
	var log safeBuffer
	w := newFixture(t, setup{log: &log})
	const user = "user_whom_nobody_logs"
	marks := []string{"sk_test_not_a_real_key_at_all", "marked body", "marked_template"}

	app := w.post("/user_management/users/"+user+"/auth_factors", `{"type":"totp","totp_issuer":"marked body","totp_user":"ada@example.com"}`, onceKey).is(201)
	w.post("/user_management/users/"+user+"/auth_factors", `{"type":"totp","totp_issuer":"marked body","totp_user":"ada@example.com"}`, onceKey).is(201)
	secret := app.text("authentication_factor.totp.secret")
	code := w.totpCode(secret)
	w.verify(app.text("authentication_challenge.id"), wrong+"9").is(201)
	w.verify(app.text("authentication_challenge.id"), code).is(201)
	w.verify(app.text("authentication_challenge.id"), code).is(422)
	imported := w.post("/auth/factors/enroll", `{"type":"totp","totp_secret":"JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"}`).is(201)
	w.post("/auth/factors/enroll", `{"type":"totp","totp_secret":"JBSWY3DPEHPK3PXP!"}`).is(422)

	phone := w.enroll(`{"type":"sms","phone_number":"+16073517112","user_id":"` + user + `"}`)
	w.post("/auth/factors/"+phone+"/challenge", `{"sms_template":"marked_template {{code}}"}`).is(201)
	w.post("/auth/factors/"+phone+"/challenge", `{"sms_template":"marked_template {{code}}"}`).is(429)
	message := w.carrier.Last()
	w.clock.Advance(time.Minute)
	w.carrier.Fail(func(int) error { return errCarrier })
	w.post("/auth/factors/"+phone+"/challenge", `{}`).is(503)
	w.carrier.Fail(func(int) error { panic("broken") })
	w.clock.Advance(time.Minute)
	w.post("/auth/factors/"+phone+"/challenge", `{}`).is(500)
	w.post("/auth/factors/enroll", `{"type":"sms","phone_number":"+1607351711299999999"}`).is(422)

	generic := w.challenge(w.generic())
	for range 6 {
		w.verify(generic.text("id"), wrong)
	}
	w.get("/user_management/users/" + user + "/auth_factors?after=" + phone).is(200)
	w.get("/auth/factors/" + phone + "?marked+body").is(200)
	w.get("/auth/factors/marked%20body").is(404)
	w.get("/marked%20body/" + message.Code.Reveal()).is(404)
	w.post("/auth/factors/enroll", `{"marked body"`).is(400)
	w.post("/auth/factors/enroll", `{"type":"marked body"}`).is(422)
	w.do("MARKED_BODY", "/auth/factors/enroll", "").is(405)
	w.get("/auth/factors/x", "Authorization: Bearer sk_test_not_a_real_key_at_all").is(401)
	w.get("/auth/factors/x", "Idempotency-Key: marked body", "User-Agent: marked body").is(404)
	w.delete("/auth/factors/" + phone).is(204)

	text := log.String()
	for _, secret := range append(marks,
		w.key, w.key[8:], secret, code, app.text("authentication_factor.totp.uri"), app.text("authentication_factor.totp.qr_code"), imported.text("totp.secret"), "JBSWY3DPEHPK3PXP",
		adasPhone, adasPhone[1:], "6073517112", message.Code.Reveal(), message.Text.Reveal(), generic.text("code"), "ada@example.com", "otpauth", "base64",
		user, "MARKED_BODY", "1607351711299999999", "5c1f6e0a-8d0b-4f7e-9a57-3f1f1c2f7f0e",
	) {
		whole := regexp.QuoteMeta(secret)
		if sixDigits.MatchString(secret) { // a time in the log may contain these digits by chance
			whole = `\b` + whole + `\b`
		}
		if at := regexp.MustCompile(whole).FindStringIndex(text); at != nil {
			t.Errorf("logged %q: %s", secret, text[max(0, at[0]-200):min(len(text), at[1]+200)])
		}
	}
	logcapture.Secret(t, message.Text.Reveal())
	if !strings.Contains(text, `"level":"INFO"`) || strings.Count(text, "\n") < 25 {
		t.Errorf("the log has only %d lines: it shows nothing", strings.Count(text, "\n"))
	}
}

// TestEveryRouteAndEveryScope compares all routes with the table below, so a new route needs
// a row.
func TestEveryRouteAndEveryScope(t *testing.T) {
	const api, events, both = "api", "events:read", "api events:read"
	want := map[string]string{
		"POST /auth/factors/enroll":                           api,
		"GET /auth/factors/{id}":                              api,
		"DELETE /auth/factors/{id}":                           api,
		"POST /auth/factors/{id}/challenge":                   api,
		"POST /auth/challenges/{id}/verify":                   api,
		"GET /auth/challenges/{id}":                           api,
		"POST /auth/challenges/{id}/resend":                   api,
		"POST /auth/factors/challenge":                        api,
		"POST /dev/webauthn/answer":                           api,
		"POST /auth/factors/verify":                           api,
		"POST /user_management/users/{user}/auth_factors":     api,
		"GET /user_management/users/{user}/auth_factors":      api,
		"POST /user_management/users/{user}/recovery_codes":   api,
		"GET /user_management/users/{user}/recovery_codes":    api,
		"DELETE /user_management/users/{user}/recovery_codes": api,
		"POST /user_management/users/{user}/verify":           api,
		"GET /events":                                events,
		"GET /events/stream":                         events,
		"GET /webhook_endpoints":                     both,
		"POST /webhook_endpoints":                    both,
		"PATCH /webhook_endpoints/{id}":              both,
		"DELETE /webhook_endpoints/{id}":             both,
		"POST /webhook_endpoints/{id}/rotate_secret": both,
		"POST /webhook_endpoints/{id}/replay":        both,
		"GET /webhook_endpoints/{id}/attempts":       both,
	}
	w := newFixture(t, setup{})
	keys := map[string]string{
		api:                 w.newScopedKey(w.sandbox, access.ScopeAPI),
		events:              w.newScopedKey(w.sandbox, access.ScopeEventsRead),
		both:                w.newScopedKey(w.sandbox, access.ScopeAPI, access.ScopeEventsRead),
		"none":              w.newScopedKey(mfa.Environment{}, access.ScopeOperatorRead, access.ScopeOperatorWrite),
		"of an environment": w.newScopedKey(w.sandbox, access.ScopeOperatorWrite),
	}
	routes := w.api.(*httpapi.API).Routes()
	if len(routes) != len(want) {
		t.Errorf("there are %d routes; want %d", len(routes), len(want))
	}
	for _, pattern := range routes {
		needs, ok := want[pattern]
		if !ok {
			t.Errorf("%s has no row in the table", pattern)
		}
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{id}", "x", "{user}", "x").Replace(path)
		if path == "/events/stream" {
			path += "?x" // which is refused; a stream would not end
		}
		for name, key := range keys {
			r := w.do(method, path, "", "Authorization: Bearer "+key)
			if allowed := name == both || name == needs; allowed != (r.status != http.StatusForbidden) {
				t.Errorf("%s with a key %s: %d %s", pattern, name, r.status, r.body)
			}
			if r.status != http.StatusForbidden || r.text("code") == "operator_key_not_allowed" {
				continue
			}
			missing := strings.TrimSpace(strings.Replace(needs, name, "", 1))
			if r.text("required_scope") != missing || !strings.Contains(r.header.Get("WWW-Authenticate"), `scope="`+missing+`"`) {
				t.Errorf("%s with a key %s: %s; want one that names %q", pattern, name, r.body, missing)
			}
		}
	}
}

func TestAnExpiredKeyIsUnauthorized(t *testing.T) {
	w := newFixture(t, setup{})
	key, _, err := w.access.CreateKey(t.Context(), mfa.Caller{Environment: w.sandbox}, access.KeyParams{ExpiresAt: w.clock.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	header := "Authorization: Bearer " + key.Reveal()
	w.get("/events", header).is(http.StatusOK)
	w.clock.Advance(time.Minute)
	w.get("/events", header).says(http.StatusUnauthorized, `{"message":"Unauthorized"}`)
}
