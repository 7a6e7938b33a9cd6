package httpapi_test

import (
	"encoding/base64"
	"image/png"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	factorKeys    = "object id created_at updated_at type status last_used_at"
	enrolledTOTP  = " totp.issuer totp.user totp.secret totp.qr_code totp.uri"
	challengeKeys = "object id created_at updated_at expires_at authentication_factor_id"

	smsChallengeKeys = challengeKeys + " sms.status sms.segments sms.resends_left sms.updated_at"
)

var factorID = regexp.MustCompile(`^auth_factor_[0-7][0-9A-HJKMNP-TV-Z]{25}$`)

func TestAFactorHasTheKeysOfItsType(t *testing.T) {
	w := newFixture(t, setup{})
	for _, tc := range []struct {
		name, body, enrolled, read string
	}{
		{"totp", `{"type":"totp","totp_issuer":"Foo Corp","totp_user":"ada"}`, factorKeys + enrolledTOTP, factorKeys + " totp.issuer totp.user"},
		{"totp of a user", `{"type":"totp","totp_issuer":"Foo Corp","totp_user":"ada","user_id":"user_1"}`, factorKeys + " user_id" + enrolledTOTP, factorKeys + " user_id totp.issuer totp.user"},
		{"totp without names", `{"type":"totp"}`, factorKeys + enrolledTOTP, factorKeys + " totp.issuer totp.user"},
		{"sms", `{"type":"sms","phone_number":"+16073517112"}`, factorKeys + " sms.phone_number", factorKeys + " sms.phone_number"},
		{"sms of a user", `{"type":"sms","phone_number":"+16073517112","user_id":"user_1"}`, factorKeys + " user_id sms.phone_number", factorKeys + " user_id sms.phone_number"},
		{"generic_otp", `{"type":"generic_otp"}`, factorKeys, factorKeys},
		{"generic_otp with a name", `{"type":"generic_otp","name":" Work phone "}`, factorKeys + " name", factorKeys + " name"},
		{"totp with a name", `{"type":"totp","name":"Phone","user_id":"user_1"}`, factorKeys + " user_id name" + enrolledTOTP, factorKeys + " user_id name totp.issuer totp.user"},
		{"generic_otp without a name", `{"type":"generic_otp","name":null}`, factorKeys, factorKeys},
		{"generic_otp of a user", `{"type":"generic_otp","user_id":"user_1"}`, factorKeys + " user_id", factorKeys + " user_id"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			enrolled := w.post("/auth/factors/enroll", tc.body).is(http.StatusCreated)
			if got := enrolled.keys(); got != tc.enrolled {
				t.Errorf("enrolled with the keys %s; want %s", got, tc.enrolled)
			}
			read := w.get("/auth/factors/" + enrolled.text("id")).is(http.StatusOK)
			if got := read.keys(); got != tc.read {
				t.Errorf("read with the keys %s; want %s", got, tc.read)
			}
			for _, r := range []reply{enrolled, read} {
				if r.text("object") != "authentication_factor" || !factorID.MatchString(r.text("id")) {
					t.Errorf("object is %q and id %q", r.text("object"), r.text("id"))
				}
				if r.text("created_at") != "2026-03-27T12:00:00.432Z" || r.text("updated_at") != "2026-03-27T12:00:00.432Z" {
					t.Errorf("created %s, updated %s; want the time of the clock", r.text("created_at"), r.text("updated_at"))
				}
			}
		})
	}
}

func TestTimesAlwaysHaveThreeDigitsAndZ(t *testing.T) {
	w := newFixture(t, setup{})
	w.clock.Advance(-432 * time.Millisecond)
	for _, tc := range []struct {
		later time.Duration
		want  string
	}{
		{0, "2026-03-27T12:00:00.000Z"},
		{100 * time.Millisecond, "2026-03-27T12:00:00.100Z"},
		{899999 * time.Microsecond, "2026-03-27T12:00:00.999Z"}, // truncated, not rounded
	} {
		w.clock.Advance(tc.later)
		if got := w.post("/auth/factors/enroll", `{"type":"generic_otp"}`).text("created_at"); got != tc.want {
			t.Errorf("created at %s; want %s", got, tc.want)
		}
	}
}

func TestATOTPFactorHasTheDataForAnApp(t *testing.T) {
	w := newFixture(t, setup{})
	r := w.post("/auth/factors/enroll", `{"type":"totp","totp_issuer":"Foo Corp","totp_user":"user@foo-corp.com"}`).is(http.StatusCreated)

	secret := r.text("totp.secret")
	if !regexp.MustCompile(`^[A-Z2-7]{32}$`).MatchString(secret) {
		t.Error("the secret is not 32 characters of upper-case base32")
	}
	if want := "otpauth://totp/Foo%20Corp:user@foo-corp.com?secret=" + secret + "&issuer=Foo%20Corp"; r.text("totp.uri") != want {
		t.Error("the uri is not otpauth://totp/Foo%20Corp:user@foo-corp.com?secret=SECRET&issuer=Foo%20Corp")
	}
	encoded, ok := strings.CutPrefix(r.text("totp.qr_code"), "data:image/png;base64,")
	if !ok {
		t.Fatal("the QR code is not a PNG in a data URI")
	}
	// Decode accepts standard base64 with padding, and fails at a line break.
	if strings.ContainsAny(encoded, "\r\n") {
		t.Error("the QR code spans lines")
	}
	if _, err := png.Decode(base64.NewDecoder(base64.StdEncoding, strings.NewReader(encoded))); err != nil {
		t.Errorf("the QR code: %v", err)
	}
	if r.text("totp.issuer") != "Foo Corp" || r.text("totp.user") != "user@foo-corp.com" {
		t.Errorf("issuer %q, user %q", r.text("totp.issuer"), r.text("totp.user"))
	}
}

func TestIssuerAndUserAreNeverEmpty(t *testing.T) {
	w := newFixture(t, setup{})
	for _, tc := range []struct {
		name, path, body, issuer, user string
	}{
		{"neither", "/auth/factors/enroll", `{"type":"totp"}`, "Acme Test", "user"},
		{"empty", "/auth/factors/enroll", `{"type":"totp","totp_issuer":"","totp_user":""}`, "Acme Test", "user"},
		{"null", "/auth/factors/enroll", `{"type":"totp","totp_issuer":null,"totp_user":null,"user_id":null}`, "Acme Test", "user"},
		{"with a user", "/auth/factors/enroll", `{"type":"totp","user_id":"user_1"}`, "Acme Test", "user_1"},
		{"both", "/auth/factors/enroll", `{"type":"totp","totp_issuer":"Foo & Söhne <1>","totp_user":"ada+1@example.com"}`, "Foo & Söhne <1>", "ada+1@example.com"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			r := w.post(tc.path, tc.body).is(http.StatusCreated)
			for _, r := range []reply{r, w.get("/auth/factors/" + r.text("id"))} {
				if r.text("totp.issuer") != tc.issuer || r.text("totp.user") != tc.user {
					t.Errorf("issuer %q, user %q; want %q, %q", r.text("totp.issuer"), r.text("totp.user"), tc.issuer, tc.user)
				}
			}
		})
	}
}

func TestASecretIsImportedInAllUsualForms(t *testing.T) {
	w := newFixture(t, setup{})
	const plain = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	for _, form := range []string{plain, "jbsw y3dp ehpk 3pxp jbsw y3dp ehpk 3pxp", plain + "====", "JBSWY3DP-EHPK3PXP-JBSWY3DP-EHPK3PXP", " " + plain + " "} {
		r := w.post("/auth/factors/enroll", `{"type":"totp","totp_secret":"`+form+`"}`).is(http.StatusCreated)
		if r.text("totp.secret") != plain {
			t.Errorf("%q was imported as another secret", form)
		}
	}
	for form, want := range map[string]string{
		"JBSWY3DP1":              "totp_secret totp_secret_not_base32",
		"JBSWY3DP":               "totp_secret totp_secret_too_short",
		strings.Repeat("A", 500): "totp_secret totp_secret_too_long",
	} {
		w.post("/auth/factors/enroll", `{"type":"totp","totp_secret":"`+form+`"}`).refuses(want)
	}
}

func TestAPhoneNumberComesBackInE164(t *testing.T) {
	w := newFixture(t, setup{})
	for _, given := range []string{`"+16073517112"`, `"16073517112"`, `"+1 (607) 351-7112"`, `"0016073517112"`, `16073517112`} {
		r := w.post("/auth/factors/enroll", `{"type":"sms","phone_number":`+given+`}`).is(http.StatusCreated)
		if got := r.text("sms.phone_number"); got != adasPhone {
			t.Errorf("%s came back as %q", given, got)
		}
	}
}

func TestInvalidPhoneNumbersAreRefused(t *testing.T) {
	w := newFixture(t, setup{})
	w.post("/auth/factors/enroll", `{"type":"sms","phone_number":"foo"}`).
		says(422, `{"message":"Phone number is invalid: 'foo'","code":"invalid_phone_number"}`)
	for _, given := range []string{`" "`, `"+"`, `"12"`, `true`, `{}`, `[]`, `-1`, `1e400`, `"\u0000"`, `"<b>&\u2028"`} {
		r := w.post("/auth/factors/enroll", `{"type":"sms","phone_number":`+given+`}`)
		if r.status != 422 || r.at("code") != "invalid_phone_number" {
			t.Errorf("%s: %d %s", given, r.status, r.body)
		}
	}
	if n := w.factors(); n != 0 {
		t.Errorf("%d factors were enrolled", n)
	}
}

func TestEveryWrongParameterIsNamed(t *testing.T) {
	w := newFixture(t, setup{})
	for _, tc := range []struct {
		name, body string
		errs       []string
	}{
		{"nothing", ``, []string{"type type_required"}},
		{"an empty object", `{}`, []string{"type type_required"}},
		{"an unknown type", `{"type":"hotp"}`, []string{"type type_unsupported"}},
		{"a type in capitals", `{"type":"TOTP"}`, []string{"type type_unsupported"}},
		{"sms without a number", `{"type":"sms","phone_number":null}`, []string{"phone_number phone_number_required"}},
		{"sms with an empty number", `{"type":"sms","phone_number":""}`, []string{"phone_number phone_number_required"}},
		{"every field of the wrong type", `{"type":1,"totp_issuer":true,"totp_user":{},"totp_secret":[],"user_id":2.5}`, []string{
			"type type_not_a_string", "totp_issuer totp_issuer_not_a_string", "totp_user totp_user_not_a_string",
			"totp_secret totp_secret_not_a_string", "user_id user_id_not_a_string",
		}},
		{"two that are too long", `{"type":"totp","totp_issuer":"` + strings.Repeat("a", 129) + `","totp_user":"` + strings.Repeat("a", 257) + `"}`, []string{"totp_issuer totp_issuer_too_long", "totp_user totp_user_too_long"}},
		{"control characters", `{"type":"totp","totp_issuer":"a\u0000","user_id":"a\nb"}`, []string{"user_id user_id_invalid_characters", "totp_issuer totp_issuer_invalid_characters"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			w.post("/auth/factors/enroll", tc.body).refuses(tc.errs...)
		})
	}
	w.post("/user_management/users/user_1/auth_factors", `{"type":"sms","phone_number":"+16073517112"}`).refuses("type type_unsupported")
	if n := w.factors(); n != 0 {
		t.Errorf("%d factors were enrolled", n)
	}
}

func TestDeletingAFactorAlsoDeletesItsChallenges(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.generic()
	c := w.challenge(id)
	r := w.delete("/auth/factors/" + id).is(http.StatusNoContent)
	if r.body != "" || r.header.Get("Content-Type") != "" {
		t.Errorf("204 with Content-Type %q and the body %q", r.header.Get("Content-Type"), r.body)
	}
	gone := notFound("Factor", id)
	w.delete("/auth/factors/"+id).says(404, gone)
	w.get("/auth/factors/"+id).says(404, gone)
	w.post("/auth/factors/"+id+"/challenge", `{}`).says(404, gone)
	w.verify(c.text("id"), c.text("code")).says(404, notFound("Challenge", c.text("id")))
}

// notFound is the reply for an id that does not exist. The id must need no escape.
func notFound(entity, id string) string {
	return `{"message":"Authentication ` + entity + ` not found: '` + id + `'.","code":"entity_not_found","entity_id":"` + id + `"}`
}

func TestNothingOfOneEnvironmentIsVisibleInAnother(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.enroll(`{"type":"generic_otp","user_id":"user_1"}`)
	c := w.challenge(id)
	other, _ := w.newKey(w.environment("Acme", true))
	as := "Authorization: Bearer " + other
	if !strings.HasPrefix(other, "sk_live_") {
		t.Fatal("the key of a production environment does not say so")
	}

	w.get("/auth/factors/"+id, as).says(404, notFound("Factor", id))
	w.delete("/auth/factors/"+id, as).says(404, notFound("Factor", id))
	w.post("/auth/factors/"+id+"/challenge", `{}`, as).says(404, notFound("Factor", id))
	w.post("/auth/factors/challenge", `{"authentication_factor_id":"`+id+`"}`, as).says(404, notFound("Factor", id))
	w.post("/auth/challenges/"+c.text("id")+"/verify", `{"code":"`+c.text("code")+`"}`, as).says(404, notFound("Challenge", c.text("id")))
	w.post("/auth/factors/verify", `{"authentication_challenge_id":"`+c.text("id")+`","code":"`+c.text("code")+`"}`, as).says(404, notFound("Challenge", c.text("id")))
	w.get("/user_management/users/user_1/auth_factors", as).says(200, emptyList)

	if r := w.verify(c.text("id"), c.text("code")).is(201); r.at("valid") != true {
		t.Error("what the other environment tried counted here")
	}
}
