package httpapi_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/httpapi"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

var challengeID = regexp.MustCompile(`^auth_challenge_[0-7][0-9A-HJKMNP-TV-Z]{25}$`)

// manyMessages are limits that tests of other things do not reach.
var manyMessages = mfa.Limits{SendSpacing: time.Nanosecond, Sends: []delivery.Window{{Count: 1000, Span: time.Hour}}}

func TestAChallengeHasTheKeysOfItsType(t *testing.T) {
	w := newFixture(t, setup{})
	app, _ := w.app()
	for _, tc := range []struct {
		name, factor, keys string
	}{
		{"totp", app, challengeKeys},
		{"sms", w.phone(), smsChallengeKeys},
		{"generic_otp", w.generic(), strings.Replace(challengeKeys, "expires_at", "expires_at code", 1)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			c := w.challenge(tc.factor)
			if got := c.keys(); got != tc.keys {
				t.Errorf("keys %s; want %s", got, tc.keys)
			}
			if c.text("object") != "authentication_challenge" || !challengeID.MatchString(c.text("id")) || c.text("authentication_factor_id") != tc.factor {
				t.Errorf("body %s", c.body)
			}
			if c.text("created_at") != "2026-03-27T12:00:00.432Z" || c.text("expires_at") != "2026-03-27T12:10:00.432Z" {
				t.Errorf("created %s, expires %s; want ten minutes", c.text("created_at"), c.text("expires_at"))
			}
			if code, ok := c.at("code").(string); ok && !sixDigits.MatchString(code) {
				t.Errorf("the code has not six digits")
			}
		})
	}
}

func TestTheExpiryOfTOTPChallengesCanBeLeftOut(t *testing.T) {
	w := newFixture(t, setup{api: httpapi.Options{OmitTOTPExpiry: true}})
	app, secret := w.app()
	without := strings.Replace(challengeKeys, "expires_at ", "", 1)
	c := w.challenge(app)
	if got := c.keys(); got != without {
		t.Errorf("challenged with the keys %s; want %s", got, without)
	}
	if v := w.verify(c.text("id"), w.totpCode(secret)).is(201); v.at("challenge.expires_at") != nil || v.at("valid") != true {
		t.Error("the verification has expires_at, or failed")
	}
	if r := w.post("/user_management/users/user_1/auth_factors", `{"type":"totp"}`).is(201); strings.Contains(r.body, "expires_at") {
		t.Error("the enrollment of a user has expires_at")
	}
	if got := w.challenge(w.phone()).keys(); got != smsChallengeKeys {
		t.Errorf("an sms challenge has the keys %s; want %s", got, smsChallengeKeys)
	}
	w.clock.Advance(10 * time.Minute)
	if late := w.challenge(app); late.status == 201 {
		w.clock.Advance(10 * time.Minute)
		w.verify(late.text("id"), w.totpCode(secret)).is(422) // the server enforces the expiry in any case
	}
}

func TestAVerificationHasTheChallengeAndItsResult(t *testing.T) {
	w := newFixture(t, setup{})
	app, secret := w.app()
	phone, generic := w.phone(), w.generic()
	for _, tc := range []struct {
		name, factor string
		code         func(challenge reply) string
	}{
		{"totp", app, func(reply) string { return w.totpCode(secret) }},
		{"sms", phone, func(reply) string { return w.carrier.Last().Code.Reveal() }},
		{"generic_otp", generic, func(c reply) string { return c.text("code") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			c := w.challenge(tc.factor)
			code := tc.code(c)
			var keys []string
			for key := range strings.SplitSeq(c.keys(), " ") {
				keys = append(keys, "challenge."+key)
			}
			for _, try := range []struct {
				code  string
				valid bool
			}{{wrong, false}, {code, true}} {
				w.clock.Advance(time.Millisecond)
				v := w.verify(c.text("id"), try.code).is(http.StatusCreated)
				if got, want := v.keys(), strings.Join(keys, " ")+" valid"; got != want {
					t.Errorf("keys %s; want %s", got, want)
				}
				if v.at("valid") != try.valid {
					t.Errorf("valid is %v; want %v", v.at("valid"), try.valid)
				}
				for _, same := range []string{"id", "created_at", "expires_at", "authentication_factor_id"} {
					if v.text("challenge."+same) != c.text(same) {
						t.Errorf("%s is %q; it was %q", same, v.text("challenge."+same), c.text(same))
					}
				}
				if got, want := v.text("challenge.updated_at"), w.clock.Now().Format("2006-01-02T15:04:05.000Z"); got != want {
					t.Errorf("updated at %s; want %s", got, want)
				}
			}
			w.verify(c.text("id"), code).says(422, `{"code":"authentication_challenge_previously_verified",
				"message":"The authentication challenge '`+c.text("id")+`' has already been verified."}`)
		})
	}
}

func TestAChallengeExpiresAfterTenMinutes(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.generic()
	first, second := w.challenge(id), w.challenge(id)
	w.clock.Advance(10*time.Minute - time.Millisecond)
	if v := w.verify(first.text("id"), first.text("code")).is(201); v.at("valid") != true {
		t.Error("the code was not valid in the last millisecond")
	}
	w.clock.Advance(time.Millisecond)
	w.verify(second.text("id"), second.text("code")).says(422, `{"code":"authentication_challenge_expired",
		"message":"The authentication challenge '`+second.text("id")+`' has expired."}`)
}

const tooMany = `{"code":"one_time_code_too_many_attempts","message":"Request could not be processed."}`

func TestGuessingIsRefusedAfterFiveCodes(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.generic()
	c := w.challenge(id)
	for range 5 {
		if v := w.verify(c.text("id"), wrong).is(201); v.at("valid") != false {
			t.Fatal("a wrong code is valid")
		}
	}
	r := w.verify(c.text("id"), c.text("code"))
	r.says(400, tooMany)
	if got := r.header.Get("Retry-After"); got != "" {
		t.Errorf("Retry-After is %q, but this challenge is over", got)
	}

	// The sixth wrong code in a row is checked, and then the factor has to wait.
	c = w.challenge(id)
	w.verify(c.text("id"), wrong).is(201)
	r = w.verify(c.text("id"), c.text("code"))
	r.says(400, strings.Replace(tooMany, "}", `,"retry_after":30}`, 1))
	if got := r.header.Get("Retry-After"); got != "30" {
		t.Errorf("Retry-After is %q; want 30", got)
	}
	w.clock.Advance(30 * time.Second)
	if v := w.verify(c.text("id"), c.text("code")).is(201); v.at("valid") != true {
		t.Error("the right code is not valid after the wait")
	}
}

func TestAMessageCarriesTheTemplate(t *testing.T) {
	w := newFixture(t, setup{mfa: mfa.Options{Limits: manyMessages}})
	id := w.phone()
	for _, tc := range []struct {
		name, body, before, after string
	}{
		{"none", `{}`, "Your verification code is: ", ""},
		{"empty", `{"sms_template":""}`, "Your verification code is: ", ""},
		{"null", `{"sms_template":null}`, "Your verification code is: ", ""},
		{"given", `{"sms_template":"Foo Corp: {{code}} \u2013 bis gleich"}`, "Foo Corp: ", " – bis gleich"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			w.clock.Advance(time.Second)
			w.post("/auth/factors/"+id+"/challenge", tc.body).is(http.StatusCreated)
			m := w.carrier.Last()
			if m.Text.Reveal() != tc.before+m.Code.Reveal()+tc.after || m.To.Text() != adasPhone {
				t.Error("another text, or to another number")
			}
		})
	}
	sent := w.carrier.Sent()
	for body, want := range map[string]string{
		`{"sms_template":"no place for a code"}`:                       "sms_template sms_template_missing_code",
		`{"sms_template":"{{ code }}"}`:                                "sms_template sms_template_missing_code",
		`{"sms_template":"{{code}} at example.com"}`:                   "sms_template sms_template_has_link",
		`{"locale":"not a language"}`:                                  "locale locale_invalid",
		`{"sms_template":7}`:                                           "sms_template sms_template_not_a_string",
		`{"sms_template":"{{code}}` + strings.Repeat("é", 1593) + `"}`: "sms_template sms_template_too_long",
	} {
		w.post("/auth/factors/"+id+"/challenge", body).refuses(want)
	}
	if w.carrier.Sent() != sent {
		t.Error("a refused template was sent")
	}
}

func TestWrongClientsAreRefused(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.generic()
	challenge := w.challenge(id).text("id")
	for body, want := range map[string]string{
		`"ip_address":"somewhere"`:       "ip_address ip_address_invalid",
		`"ip_address":"203.0.113.7:443"`: "ip_address ip_address_invalid",
		`"ip_address":"fe80::1%eth0"`:    "ip_address ip_address_invalid",
		`"ip_address":7`:                 "ip_address ip_address_not_a_string",
		`"user_agent":"two\nlines"`:      "user_agent user_agent_invalid_characters",
		`"user_agent":["Firefox"]`:       "user_agent user_agent_not_a_string",
	} {
		w.post("/auth/factors/"+id+"/challenge", `{`+body+`}`).refuses(want)
		w.post("/auth/challenges/"+challenge+"/verify", `{"code":"000000",`+body+`}`).refuses(want)
	}
	for _, body := range []string{
		`"ip_address":"203.0.113.7","user_agent":"Firefox/140"`, `"ip_address":"2001:db8::7"`, `"ip_address":"","user_agent":null`,
		`"user_agent":"` + strings.Repeat("x", 5000) + `"`,
	} {
		w.post("/auth/factors/"+id+"/challenge", `{`+body+`}`).is(http.StatusCreated)
		w.post("/auth/challenges/"+challenge+"/verify", `{"code":"000000",`+body+`}`).is(http.StatusCreated)
	}
}

func TestMessagesToOneNumberHaveAMinimumInterval(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.phone()
	w.challenge(id)
	w.clock.Advance(500 * time.Millisecond)
	r := w.post("/auth/factors/"+id+"/challenge", `{}`)
	r.says(429, `{"message":"Too many messages to this phone number. Try again later.","code":"sms_challenge_rate_limited","retry_after":30}`)
	if got := r.header.Get("Retry-After"); got != "30" {
		t.Errorf("Retry-After is %q; want 30, the 29.5 s rounded up", got)
	}
}

func TestOlderPathsDoTheSame(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.generic()
	c := w.post("/auth/factors/challenge", `{"authentication_factor_id":"`+id+`","sms_template":""}`).is(http.StatusCreated)
	if got, want := c.keys(), w.challenge(id).keys(); got != want {
		t.Errorf("challenged with the keys %s; want %s", got, want)
	}
	verify := func(code string) reply {
		return w.post("/auth/factors/verify", `{"authentication_challenge_id":"`+c.text("id")+`","code":"`+code+`"}`)
	}
	if v := verify(wrong).is(201); v.at("valid") != false {
		t.Error("a wrong code is valid")
	}
	if v := verify(c.text("code")).is(201); v.at("valid") != true {
		t.Error("the right code is not valid")
	}
	verify(c.text("code")).says(422, `{"code":"authentication_challenge_previously_verified",
		"message":"The authentication challenge '`+c.text("id")+`' has already been verified."}`)

	w.post("/auth/factors/challenge", `{"authentication_factor_id":"nope"}`).says(404, notFound("Factor", "nope"))
	w.post("/auth/factors/verify", `{"authentication_challenge_id":"nope","code":"123456"}`).says(404, notFound("Challenge", "nope"))
	for _, body := range []string{``, `{}`, `{"authentication_factor_id":null,"authentication_challenge_id":""}`} {
		w.post("/auth/factors/challenge", body).refuses("authentication_factor_id authentication_factor_id_required")
		w.post("/auth/factors/verify", body).refuses("authentication_challenge_id authentication_challenge_id_required")
	}
	w.post("/auth/factors/challenge", `{"authentication_factor_id":1}`).refuses("authentication_factor_id authentication_factor_id_not_a_string")
	w.post("/auth/factors/verify", `{"authentication_challenge_id":[]}`).refuses("authentication_challenge_id authentication_challenge_id_not_a_string")
}
