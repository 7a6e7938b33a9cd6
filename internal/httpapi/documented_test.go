package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/httpapi"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/openapitest"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
)

// A call is a valid request for an operation. A test changes the request or the fixture to
// provoke an error.
type call struct {
	*fixture
	method, path, body string
	factor, challenge  string // the ids in the path and the body
	endpoint           string // the id of a webhook endpoint in the path
}

// newCall returns a fixture with a request for an operation.
func newCall(t *testing.T, operation string) *call {
	w := newFixture(t, setup{
		api: httpapi.Options{RateLimit: 100, StreamsPerKey: 1},
		mfa: mfa.Options{Limits: mfa.Limits{FreeFailures: 10, FactorFailures: 10}, SMS: delivery.Rules{
			Countries: []string{"US"}, Daily: 1, Pumping: delivery.Pumping{Sends: 1},
		}},
	})
	c := &call{fixture: w, factor: w.phone()}
	c.challenge = w.challenge(c.factor).text("id")
	w.clock.Advance(time.Minute) // the phone may now get another message
	c.endpoint = w.endpoint(takenURL).text("id")
	what := map[string][2]string{
		"POST /auth/factors/enroll":                              {"/auth/factors/enroll", `{"type":"totp"}`},
		"GET /auth/factors/{id}":                                 {"/auth/factors/" + c.factor, ``},
		"DELETE /auth/factors/{id}":                              {"/auth/factors/" + c.factor, ``},
		"POST /auth/factors/{id}/challenge":                      {"/auth/factors/" + c.factor + "/challenge", `{}`},
		"POST /auth/challenges/{id}/verify":                      {"/auth/challenges/" + c.challenge + "/verify", `{"code":"12345"}`},
		"GET /auth/challenges/{id}":                              {"/auth/challenges/" + c.challenge, ``},
		"POST /auth/challenges/{id}/resend":                      {"/auth/challenges/" + c.challenge + "/resend", `{}`},
		"POST /auth/factors/challenge":                           {"/auth/factors/challenge", `{"authentication_factor_id":"` + c.factor + `"}`},
		"POST /auth/factors/verify":                              {"/auth/factors/verify", `{"authentication_challenge_id":"` + c.challenge + `","code":"12345"}`},
		"POST /user_management/users/{user_id}/auth_factors":     {"/user_management/users/user_1/auth_factors", `{"type":"totp"}`},
		"GET /user_management/users/{user_id}/auth_factors":      {"/user_management/users/user_1/auth_factors", ``},
		"POST /user_management/users/{user_id}/recovery_codes":   {"/user_management/users/user_1/recovery_codes", `{"allow_sole":true}`},
		"GET /user_management/users/{user_id}/recovery_codes":    {"/user_management/users/user_1/recovery_codes", ``},
		"DELETE /user_management/users/{user_id}/recovery_codes": {"/user_management/users/user_1/recovery_codes", ``},
		"POST /user_management/users/{user_id}/verify":           {"/user_management/users/user_1/verify", `{"code":"12345"}`},
		"GET /events":                                {"/events", ``},
		"GET /events/stream":                         {"/events/stream", ``},
		"GET /webhook_endpoints":                     {"/webhook_endpoints", ``},
		"POST /webhook_endpoints":                    {"/webhook_endpoints", `{"endpoint_url":"https://example.com/new","events":["factor.locked"]}`},
		"PATCH /webhook_endpoints/{id}":              {"/webhook_endpoints/" + c.endpoint, `{"endpoint_url":"https://example.com/new"}`},
		"DELETE /webhook_endpoints/{id}":             {"/webhook_endpoints/" + c.endpoint, ``},
		"POST /webhook_endpoints/{id}/rotate_secret": {"/webhook_endpoints/" + c.endpoint + "/rotate_secret", `{}`},
		"POST /webhook_endpoints/{id}/replay":        {"/webhook_endpoints/" + c.endpoint + "/replay", `{"from":"2026-03-27T00:00:00Z"}`},
		"GET /webhook_endpoints/{id}/attempts":       {"/webhook_endpoints/" + c.endpoint + "/attempts", ``},
		"POST /dev/webauthn/answer":                  {"/dev/webauthn/answer", ``}, // see below
		"GET /.well-known/webauthn":                  {"/.well-known/webauthn", ``},
	}
	request, ok := what[operation]
	if !ok {
		t.Fatal("no request is known for this operation")
	}
	c.method, _, _ = strings.Cut(operation, " ")
	c.path, c.body = request[0], request[1]
	if c.path == "/dev/webauthn/answer" {
		c.factor = w.enroll(`{"type":"webauthn"}`)
		c.challenge = w.challenge(c.factor).text("id")
		c.body = `{"challenge_id":"` + c.challenge + `"}`
	}
	return c
}

func (c *call) send(headers ...string) reply {
	c.t.Helper()
	return c.do(c.method, c.path, c.body, headers...)
}

// takenURL is the URL of a webhook endpoint.
const takenURL = "https://example.com/taken"

// replace changes an id in the request.
func (c *call) replace(id, with string) {
	c.path, c.body = strings.Replace(c.path, id, with, 1), strings.Replace(c.body, id, with, 1)
}

// moveToProduction changes the request to one for a phone number in production. The limits
// of messages do not apply in a sandbox, which sends no message to a real phone.
func (c *call) moveToProduction(number string) *call {
	c.key, _ = c.newKey(c.environment("Acme", true))
	factor := c.post("/auth/factors/enroll", `{"type":"sms","phone_number":"`+number+`"}`).is(http.StatusCreated).text("id")
	c.replace(c.factor, factor)
	c.factor = factor
	return c
}

// sendOnce sends a message in production and moves the clock a long time forward.
func (c *call) sendOnce(ago time.Duration) *call {
	challenge := c.fixture.challenge(c.factor).text("id")
	c.replace(c.challenge, challenge)
	c.clock.Advance(ago)
	return c
}

// provocations has a function for each error code that makes an operation answer it.
var provocations = map[string]func(*call) reply{
	"": func(c *call) reply { return c.send("Authorization:") },
	"insufficient_scope": func(c *call) reply {
		c.key = c.newScopedKey(c.sandbox, access.ScopeAPI)
		if !strings.Contains(c.path, "/events") && !strings.Contains(c.path, "/webhook_endpoints") {
			c.key = c.newScopedKey(c.sandbox, access.ScopeEventsRead)
		}
		return c.send()
	},
	"receipts_not_configured": func(c *call) reply {
		if strings.HasPrefix(c.path, "/user_management/users/") {
			c.body = `{"code":"1","receipt":{"aud":"a"}}` // no other key is known
			return c.send()
		}
		c.body = `{"code":"1","authentication_factor_id":"` + c.factor + `","authentication_challenge_id":"` + c.challenge + `","receipt":{"aud":"a"}}`
		return c.send()
	},
	"operator_key_not_allowed": func(c *call) reply {
		c.key = c.newScopedKey(mfa.Environment{}, access.ScopeOperatorWrite)
		return c.send()
	},
	"webhook_endpoint_disabled": func(c *call) reply {
		c.do("PATCH", "/webhook_endpoints/"+c.endpoint, `{"status":"disabled"}`).is(http.StatusOK)
		return c.send()
	},
	"invalid_json": func(c *call) reply {
		c.body = `{"type"`
		return c.send()
	},
	"request_too_large": func(c *call) reply {
		c.body = strings.Repeat(" ", 64<<10+1)
		return c.send()
	},
	"invalid_request_parameters": func(c *call) reply {
		switch {
		case c.method == http.MethodGet, c.method == http.MethodDelete && strings.Contains(c.path, "recovery_codes"):
			c.path += "?limit=0"
		case c.path == "/dev/webauthn/answer":
			c.body = `{}`
		case c.method == http.MethodDelete:
			c.set("delete_requires_challenge", "10m")
			c.path += "?authentication_challenge_id=x"
		case strings.Contains(c.path, "webhook_endpoints"):
			c.body = `{"events":["user.created"],"overlap_seconds":-1,"from":1}`
		}
		return c.send("Idempotency-Key: " + strings.Repeat("k", 256))
	},
	"invalid_phone_number": func(c *call) reply {
		c.body = `{"type":"sms","phone_number":"foo"}`
		return c.send()
	},
	"invalid_url": func(c *call) reply {
		c.body = `{"endpoint_url":"ftp://example.com","events":["factor.locked"]}`
		return c.send()
	},
	"duplicate_endpoint": func(c *call) reply {
		if c.method == http.MethodPatch {
			c.replace(c.endpoint, c.fixture.endpoint("https://example.com/other").text("id"))
		}
		c.body = `{"endpoint_url":"` + takenURL + `","events":["factor.locked"]}`
		return c.send()
	},
	"webhook_endpoint_limit_reached": func(c *call) reply {
		for i := range 31 {
			c.fixture.endpoint(fmt.Sprint(takenURL, i))
		}
		return c.send()
	},
	"replay_in_progress": func(c *call) reply {
		c.send().is(http.StatusAccepted)
		return c.send()
	},
	"idempotency_error": func(c *call) reply {
		if strings.HasSuffix(c.path, "/user_1/verify") {
			c.totpOf("user_1") // "not found" is not recorded
		}
		c.send(onceKey)
		c.body += " "
		return c.send(onceKey)
	},
	"entity_not_found": func(c *call) reply {
		for id, unknown := range map[string]string{
			c.factor:    "auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M",
			c.challenge: "auth_challenge_01FZ4WSWV0F5V37E3S3E28JT3M",
			c.endpoint:  "we_01FZ4WMXXA09XF6NK1XMKNWB3M",
		} {
			c.replace(id, unknown)
		}
		return c.send()
	},
	"authentication_challenge_expired": func(c *call) reply {
		c.clock.Advance(10 * time.Minute)
		return c.send()
	},
	"sandbox_only": func(c *call) reply {
		c.key, _ = c.newKey(c.environment("Acme", true))
		return c.send()
	},
	"webauthn_not_simulated": func(c *call) reply {
		options := c.get("/auth/challenges/" + c.challenge).is(http.StatusOK).text("code")
		_, response := passkeytest.Create(c.t, []byte(options), webPage)
		c.post("/auth/challenges/"+c.challenge+"/verify", `{"credential":`+string(response)+`}`).is(http.StatusCreated)
		c.replace(c.challenge, c.fixture.challenge(c.factor).text("id"))
		return c.send()
	},
	"authentication_challenge_previously_verified": func(c *call) reply {
		if c.path == "/dev/webauthn/answer" {
			c.post("/auth/challenges/"+c.challenge+"/verify", c.send().is(http.StatusOK).body).is(http.StatusCreated)
			return c.send()
		}
		c.verify(c.challenge, c.carrier.Last().Code.Reveal()).is(http.StatusCreated)
		return c.send()
	},
	// After ten wrong codes only an operator can unlock the factor.
	"one_time_code_too_many_attempts": func(c *call) reply {
		if c.path == "/dev/webauthn/answer" {
			for range 5 {
				c.verify(c.challenge, wrong).is(http.StatusCreated)
			}
			return c.send()
		}
		if strings.HasSuffix(c.path, "/user_1/verify") {
			c.totpOf("user_1")
			for range 10 {
				c.send().is(http.StatusOK)
			}
			return c.send()
		}
		for range 2 {
			id := c.fixture.challenge(c.factor).text("id")
			for range 5 {
				c.verify(id, wrong).is(http.StatusCreated)
			}
			c.clock.Advance(time.Minute)
		}
		return c.send()
	},
	"authentication_factor_suspended": func(c *call) reply {
		if strings.HasSuffix(c.path, "/user_1/verify") {
			c.factor = c.totpOf("user_1")
		}
		id, err := mfa.ParseFactorID(c.factor)
		if err != nil {
			c.t.Fatal(err)
		}
		o := operator.NewService(c.store, c.store, operator.Options{Now: c.clock.Now})
		if err := o.SuspendFactor(c.t.Context(), operator.By{Operator: "ada", Reason: "ticket 4711"}, id); err != nil {
			c.t.Fatal(err)
		}
		return c.send()
	},
	"recovery_codes_sole_factor": func(c *call) reply {
		c.body = `{}`
		return c.send()
	},
	"recovery_codes_rate_limited": func(c *call) reply {
		for range 10 {
			c.send().is(http.StatusCreated)
		}
		return c.send()
	},
	"sms_country_not_allowed":     func(c *call) reply { return c.moveToProduction("+4915123456789").send() },
	"sms_number_type_not_allowed": func(c *call) reply { return c.moveToProduction("+19002345678").send() },
	"sms_challenge_quota_reached": func(c *call) reply { return c.moveToProduction("+16073517112").sendOnce(time.Minute).send() },
	"sms_prefix_paused":           func(c *call) reply { return c.moveToProduction("+16073517112").sendOnce(5 * time.Minute).send() },
	"sms_sandbox_number_not_allowed": func(c *call) reply {
		w := newFixture(c.t, setup{withoutSandbox: true})
		c.replace(c.factor, w.phone())
		c.fixture = w
		return c.send()
	},
	"sms_resend_limit_exceeded": func(c *call) reply {
		for range 3 {
			c.send().is(http.StatusCreated)
			c.clock.Advance(time.Minute)
		}
		return c.send()
	},
	"authentication_challenge_not_sent": func(c *call) reply {
		c.replace(c.challenge, c.fixture.challenge(c.generic()).text("id"))
		return c.send()
	},
	"sms_challenge_rate_limited": func(c *call) reply {
		c.fixture.challenge(c.factor)
		return c.send()
	},
	"sms_delivery_failed": func(c *call) reply {
		c.carrier.Fail(func(int) error { return errCarrier })
		return c.send()
	},
	"sms_recipient_refused": func(c *call) reply {
		c.carrier.Fail(func(int) error { return numberRefusal{} })
		return c.send()
	},
	"too_many_streams": func(c *call) reply {
		c.stream("")
		return c.send()
	},
	"rate_limit_exceeded": func(c *call) reply {
		for c.get("/auth/factors/x").status != http.StatusTooManyRequests {
		}
		return c.send()
	},
	"unavailable": func(c *call) reply {
		if err := c.store.Close(); err != nil {
			c.t.Fatal(err)
		}
		return c.send()
	},
	"internal_error": func(c *call) reply {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.Header.Set("Authorization", "Bearer "+c.key)
		return c.direct(c.t, r.WithContext(broken{r.Context()}))
	},
}

// numberRefusal is the error of a provider that refuses the phone number.
type numberRefusal struct{}

func (numberRefusal) Error() string   { return "opted out (21610)" }
func (numberRefusal) Is(e error) bool { return e == delivery.ErrRecipientRefused }

// broken is the context of a request that fails.
type broken struct{ context.Context }

func (broken) Done() <-chan struct{} { panic("something broke") }

func TestEveryDocumentedErrorIsAnswered(t *testing.T) {
	for _, p := range document(t).Problems() {
		if p.Operation == "GET /readyz" {
			continue // its 503 is a regular answer; faults_test.go tests it
		}
		t.Run(p.Operation+" "+p.Status+" "+p.Code, func(t *testing.T) {
			provoke := provocations[p.Code]
			if provoke == nil {
				t.Fatalf("nothing is known that brings %q about", p.Code)
			}
			r := provoke(newCall(t, p.Operation))
			code, _ := r.at("code").(string)
			if strconv.Itoa(r.status) != p.Status || code != p.Code {
				t.Errorf("answered %d %s", r.status, r.body)
			}
			if got, want := shape(r.text("message")), shape(p.Message); got != want {
				t.Errorf("the message is %q; the document shows %q", got, want)
			}
		})
	}
}

// shape is a message without the parts that differ between requests.
func shape(message string) string {
	return regexp.MustCompile(`'.*'|byte \d+`).ReplaceAllString(message, "…")
}

func TestEveryErrorIsDocumented(t *testing.T) {
	problems := document(t).Problems()
	text := string(document(t).Text)
	for _, code := range httpapi.Codes() {
		switch {
		case code == "": // 401 and 404 have only a message
		case !strings.Contains(text, "| `"+code+"`") && !strings.Contains(text, ", `"+code+"`"):
			t.Errorf("%s is not in the table of the schema Error", code)
		case code == "method_not_allowed": // no operation answers it
		case !slices.ContainsFunc(problems, func(p openapitest.Problem) bool { return p.Code == code }):
			t.Errorf("%s is shown with no operation", code)
		}
	}
}

func TestEveryDocumentedCodeOfAFieldIsAnswered(t *testing.T) {
	w := newFixture(t, setup{mfa: mfa.Options{PublicURL: "https://mfa.example.com"}})
	c := &call{fixture: w, factor: w.generic()}
	c.challenge = w.challenge(c.factor).text("id")
	bound := w.post("/auth/factors/"+c.factor+"/challenge", `{"receipt":{"aud":"a"}}`).is(http.StatusCreated).text("id")
	endpoint := w.endpoint(takenURL).text("id")
	long := strings.Repeat("x", 2000)
	var seen []string
	for _, tc := range []struct{ method, path, body string }{
		{"POST", "/auth/factors/enroll", `{}`},
		{"POST", "/auth/factors/enroll", `{"type":"x"}`},
		{"POST", "/auth/factors/enroll", `{"type":"sms"}`},
		{"POST", "/auth/factors/enroll", `{"type":1,"totp_issuer":1,"totp_user":1,"totp_secret":1,"user_id":1}`},
		{"POST", "/auth/factors/enroll", `{"type":"totp","totp_issuer":"\n","totp_user":"\n","user_id":"\n"}`},
		{"POST", "/auth/factors/enroll", `{"type":"totp","totp_issuer":"` + long + `","totp_user":"` + long + `","user_id":"` + long + `"}`},
		{"POST", "/auth/factors/enroll", `{"type":"totp","totp_issuer":"a:b","totp_user":"a:b"}`},
		{"POST", "/auth/factors/enroll", `{"type":"totp","totp_algorithm":"MD5","totp_digits":7,"totp_period":1}`},
		{"POST", "/auth/factors/enroll", `{"type":"totp","totp_algorithm":1}`},
		{"POST", "/auth/factors/enroll", `{"type":"generic_otp","name":1}`},
		{"POST", "/auth/factors/enroll", `{"type":"generic_otp","name":"\n"}`},
		{"POST", "/auth/factors/enroll", `{"type":"generic_otp","name":"` + long + `"}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"receipt":"x"}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"receipt":{"nonse":"x"}}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"receipt":{"aud":1,"nonce":1,"first_factor":1,"expires_in":"x","action":1}}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"receipt":{"expires_in":1,"first_factor":"mfa","action":{"sha256":"x"}}}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"receipt":{"aud":"` + long + `","nonce":"` + long + `","action":{"title":"` + long + `","details":"` + long + long + `"}}}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"receipt":{"aud":"\n","nonce":"\n","action":{"title":"\n","details":"\t"}}}`},
		{"POST", "/auth/challenges/" + c.challenge + "/verify", `{"code":"1","receipt":{"aud":"a","action":{"title":1,"details":1,"sha256":1}}}`},
		{"POST", "/auth/challenges/" + c.challenge + "/verify", `{"code":"1","receipt":{"aud":"a","action":{"titel":"x"}}}`},
		{"POST", "/auth/factors/enroll", `{"type":"webauthn","webauthn_user":"\n"}`},
		{"POST", "/auth/factors/enroll", `{"type":"webauthn","webauthn_user":"` + long + `"}`},
		{"POST", "/auth/factors/enroll", `{"type":"webauthn","webauthn_user":1}`},
		{"POST", "/dev/webauthn/answer", `{}`},
		{"POST", "/dev/webauthn/answer", `{"challenge_id":1}`},
		{"POST", "/dev/webauthn/answer", `{"challenge_id":"` + c.challenge + `"}`},
		{"POST", "/auth/factors/" + w.enroll(`{"type":"webauthn"}`) + "/challenge", `{"user_verification":"x"}`},
		{"POST", "/auth/factors/" + w.enroll(`{"type":"webauthn"}`) + "/challenge", `{"origin":"x"}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"origin":1,"user_verification":1}`},
		{"POST", "/auth/challenges/" + w.challenge(w.enroll(`{"type":"webauthn"}`)).text("id") + "/verify", `{"code":"1","receipt":{"aud":"a"}}`},
		{"POST", "/auth/challenges/" + bound + "/verify", `{"code":"1","receipt":{"aud":"b"}}`},
		{"POST", "/auth/challenges/" + c.challenge + "/resend", `{"user_id":"user_1"}`},
		{"POST", "/auth/challenges/" + c.challenge + "/resend?x=y", ``},
		{"POST", "/auth/factors/enroll", `{"type":"totp","totp_secret":"A"}`},
		{"POST", "/auth/factors/enroll", `{"type":"totp","totp_secret":"1"}`},
		{"POST", "/auth/factors/enroll", `{"type":"totp","totp_secret":"` + strings.Repeat("A", 300) + `"}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"sms_template":"x"}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"sms_template":1}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"sms_template":"{{code}}` + long + `"}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"sms_template":"{{code}} example.com","locale":1}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"sms_template":"{{code}} example.com","locale":"?"}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"ip_address":1,"user_agent":1}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"ip_address":"x","user_agent":"` + long + `"}`},
		{"POST", "/auth/challenges/" + c.challenge + "/verify", `{"code":"1","user_agent":"\n"}`},
		{"POST", "/auth/factors/challenge", `{}`},
		{"POST", "/auth/factors/challenge", `{"authentication_factor_id":1}`},
		{"POST", "/auth/factors/verify", `{}`},
		{"POST", "/auth/factors/verify", `{"authentication_challenge_id":1}`},
		{"POST", "/auth/challenges/" + c.challenge + "/verify", `{}`},
		{"GET", "/user_management/users/user_1/auth_factors?after=x&before=x", ``},
		{"GET", "/user_management/users/user_1/auth_factors?limit=0&order=x&types=totp", ``},
		{"POST", "/user_management/users/user_1/recovery_codes", `{"allow_sole":"x"}`},
		{"POST", "/auth/factors/" + c.factor + "/challenge", `{"accept_recovery":1}`},
		{"GET", "/user_management/users/user_1/auth_factors?limit=%", ``},
		{"GET", "/events?events=x&range_start=x&range_end=x&factor_id=x&challenge_id=x&caller=x&organization_id=x", ``},
		{"GET", "/events?range_start=2026-03-28T00:00:00Z&range_end=2026-03-27T00:00:00Z", ``},
		{"POST", "/webhook_endpoints", `{"events":["factor.locked"]}`},
		{"POST", "/webhook_endpoints", `{"endpoint_url":1,"events":[1]}`},
		{"POST", "/webhook_endpoints", `{"endpoint_url":"https://example.com"}`},
		{"POST", "/webhook_endpoints", `{"endpoint_url":"https://example.com","events":["x"]}`},
		{"PATCH", "/webhook_endpoints/" + endpoint, `{"status":1}`},
		{"PATCH", "/webhook_endpoints/" + endpoint, `{"status":"x"}`},
		{"POST", "/webhook_endpoints/" + endpoint + "/rotate_secret", `{"overlap_seconds":1.5}`},
		{"POST", "/webhook_endpoints/" + endpoint + "/rotate_secret", `{"overlap_seconds":604801}`},
		{"POST", "/webhook_endpoints/" + endpoint + "/replay", `{}`},
		{"POST", "/webhook_endpoints/" + endpoint + "/replay", `{"from":"x","to":1,"only_failed":"x"}`},
		{"POST", "/webhook_endpoints/" + endpoint + "/replay", `{"from":"2099-01-01T00:00:00Z"}`},
		{"POST", "/webhook_endpoints/" + endpoint + "/replay", `{"from":"2026-01-02T00:00:00Z","to":"2026-01-01T00:00:00Z"}`},
		{"GET", "/webhook_endpoints?after=x&before=x", ``},
		{"GET", "/webhook_endpoints/" + endpoint + "/attempts?after=x&limit=101", ``},
	} {
		r := w.do(tc.method, tc.path, tc.body).is(http.StatusUnprocessableEntity)
		for _, e := range r.at("errors").([]any) {
			seen = append(seen, e.(map[string]any)["code"].(string))
		}
	}
	r := w.post("/auth/factors/enroll", `{"type":"totp"}`, "Idempotency-Key: é")
	seen = append(seen, r.at("errors").([]any)[0].(map[string]any)["code"].(string))
	r = w.get("/events/stream", "Last-Event-ID: x").is(http.StatusUnprocessableEntity)
	seen = append(seen, r.at("errors").([]any)[0].(map[string]any)["code"].(string))
	live, _ := w.newKey(w.environment("Acme", true))
	r = w.post("/auth/factors/enroll", `{"type":"sms","phone_number":"+15005550006"}`, "Authorization: Bearer "+live).is(http.StatusUnprocessableEntity)
	seen = append(seen, r.at("errors").([]any)[0].(map[string]any)["code"].(string))
	r = w.post("/auth/factors/enroll", `{"type":"webauthn"}`, "Authorization: Bearer "+live).is(http.StatusUnprocessableEntity)
	seen = append(seen, r.at("errors").([]any)[0].(map[string]any)["code"].(string))
	strict := w.environment("Strict", false)
	if _, err := w.access.ChangeSettings(t.Context(), mfa.Caller{Environment: strict}, map[string]string{"webauthn_user_verification": "required"}); err != nil {
		t.Fatal(err)
	}
	strictKey, _ := w.newKey(strict)
	passkey := w.post("/auth/factors/enroll", `{"type":"webauthn"}`, "Authorization: Bearer "+strictKey).is(http.StatusCreated).text("id")
	r = w.post("/auth/factors/"+passkey+"/challenge", `{"user_verification":"preferred"}`, "Authorization: Bearer "+strictKey).is(http.StatusUnprocessableEntity)
	seen = append(seen, r.at("errors").([]any)[0].(map[string]any)["code"].(string))
	w.set("duplicate_seed", "refuse")
	w.enroll(`{"type":"totp","user_id":"user_3","totp_secret":"JBSWY3DPEHPK3PXP"}`)
	r = w.post("/auth/factors/enroll", `{"type":"totp","user_id":"user_3","totp_secret":"JBSWY3DPEHPK3PXP"}`).is(http.StatusUnprocessableEntity)
	seen = append(seen, r.at("errors").([]any)[0].(map[string]any)["code"].(string))
	w.set("max_factors_per_user", "1")
	w.enroll(`{"type":"generic_otp","user_id":"user_2"}`)
	r = w.post("/auth/factors/enroll", `{"type":"generic_otp","user_id":"user_2"}`).is(http.StatusUnprocessableEntity)
	seen = append(seen, r.at("errors").([]any)[0].(map[string]any)["code"].(string))
	w.set("delete_requires_challenge", "10m")
	verified := w.challenge(c.factor)
	w.post("/auth/challenges/"+verified.text("id")+"/verify", `{"code":"`+verified.text("code")+`"}`).is(http.StatusCreated)
	for _, query := range []string{"", "?authentication_challenge_id=x", "?authentication_challenge_id=" + verified.text("id")} {
		r = w.do("DELETE", "/auth/factors/"+c.factor+query, "").is(http.StatusUnprocessableEntity)
		seen = append(seen, r.at("errors").([]any)[0].(map[string]any)["code"].(string))
	}
	slices.Sort(seen)
	if got, want := slices.Compact(seen), document(t).FieldCodes(); !slices.Equal(got, want) {
		t.Errorf("answered:\n%s\ndocumented:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
