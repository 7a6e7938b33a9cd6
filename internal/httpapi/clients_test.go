package httpapi_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// The bodies of each generation of client libraries, with all their keys.
var enrollBodies = []struct{ client, totp, sms, generic string }{
	{"curl, node, python 5 and 10, ruby 10, php 5 and later, dotnet, java, kotlin, go 10",
		`{"type":"totp","totp_issuer":"Foo Corp","totp_user":"ada"}`, `{"type":"sms","phone_number":"+16073517112"}`, `{"type":"generic_otp"}`},
	{"go 1 and 4",
		`{"type":"totp","totp_issuer":"Foo Corp","totp_user":"ada","phone_number":""}`,
		`{"type":"sms","totp_issuer":"","totp_user":"","phone_number":"+16073517112"}`,
		`{"type":"generic_otp","totp_issuer":"","totp_user":"","phone_number":""}`},
	{"python 4, ruby 2 and 5, php 4",
		`{"type": "totp", "totp_issuer": "Foo Corp", "totp_user": "ada", "phone_number": null}`,
		`{"type": "sms", "totp_issuer": null, "totp_user": null, "phone_number": "+16073517112"}`,
		`{"type": "generic_otp", "totp_issuer": null, "totp_user": null, "phone_number": null}`},
	{"current ones with user_id, and keys that nobody knows",
		`{"type":"totp","totp_issuer":"Foo Corp","totp_user":"ada","user_id":"user_1","User":"user_2","x":{"y":[1]}}`,
		`{"type":"sms","phone_number":"+16073517112","user_id":"user_1","":null}`,
		`{"type":"generic_otp","user_id":"user_1","expires_in":600}`},
}

func TestEveryClientEnrolls(t *testing.T) {
	w := newFixture(t, setup{})
	for _, tc := range enrollBodies {
		t.Run(tc.client, func(t *testing.T) {
			w := w.on(t)
			for kind, body := range map[string]string{"totp": tc.totp, "sms": tc.sms, "generic_otp": tc.generic} {
				if r := w.post("/auth/factors/enroll", body).is(http.StatusCreated); r.text("type") != kind {
					t.Errorf("%s enrolled a factor of type %s", body, r.text("type"))
				}
				w.allowed("/auth/factors/enroll", body)
			}
		})
	}
}

var userEnrollBodies = []struct{ client, body string }{
	{"node, go 10, current ones", `{"type":"totp","totp_issuer":"Foo Corp","totp_user":"ada"}`},
	{"go 4", `{"User":"user_1","type":"totp","totp_issuer":"Foo Corp","totp_user":"ada"}`},
	{"go 4 for another user", `{"User":"user_2","type":"totp","totp_issuer":"","totp_user":""}`},
	{"python 4", `{"type": "totp", "totp_issuer": "Foo Corp", "totp_user": "ada", "totp_secret": null}`},
	{"ruby 5", `{"type":"totp","totp_issuer":null,"totp_user":null,"totp_secret":null}`},
	{"an import", `{"type":"totp","totp_secret":"jbsw y3dp ehpk 3pxp jbsw y3dp ehpk 3pxp"}`},
	{"a user_id that the path overrules", `{"type":"totp","user_id":"user_2"}`},
}

func TestEveryClientEnrollsForAUser(t *testing.T) {
	w := newFixture(t, setup{})
	for _, tc := range userEnrollBodies {
		t.Run(tc.client, func(t *testing.T) {
			w := w.on(t)
			r := w.post("/user_management/users/user_1/auth_factors", tc.body).is(http.StatusCreated)
			w.allowed("/user_management/users/user_1/auth_factors", tc.body)
			if got := r.text("authentication_factor.user_id"); got != "user_1" {
				t.Errorf("enrolled for %q", got)
			}
		})
	}
}

var challengeBodies = []struct{ client, body string }{
	{"node, python 5 and 10, ruby 10, php 9, dotnet, java, kotlin", `{}`},
	{"go 1 and 4", `{"sms_template":""}`},
	{"go 10", `null`},
	{"python 4, ruby 2 and 5, php 4", `{"sms_template":null}`},
	{"php 5 to 7", `[]`},
	{"curl without a body", ``},
	{"white space", " \r\n\t"},
	{"an array with white space", "[ \n ]"},
	{"unknown keys", `{"authentication_factor_id":"auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M","x":1}`},
}

func TestEveryClientChallenges(t *testing.T) {
	w := newFixture(t, setup{mfa: mfa.Options{Limits: manyMessages}})
	app, _ := w.app()
	for kind, id := range map[string]string{"totp": app, "sms": w.phone(), "generic_otp": w.generic()} {
		for _, tc := range challengeBodies {
			t.Run(kind+" by "+tc.client, func(t *testing.T) {
				w := w.on(t)
				w.clock.Advance(time.Second)
				w.post("/auth/factors/"+id+"/challenge", tc.body).is(http.StatusCreated)
				w.allowed("/auth/factors/"+id+"/challenge", strings.TrimSpace(tc.body))
			})
		}
	}
}

func TestOddHeadersDoNotMatter(t *testing.T) {
	w := newFixture(t, setup{})
	for _, tc := range []struct {
		name    string
		headers []string
	}{
		{"no Content-Type", []string{"Content-Type:"}},
		{"kotlin's charset", []string{"Content-Type: application/json; charset=utf-8"}},
		{"another Content-Type", []string{"Content-Type: application/x-www-form-urlencoded"}},
		{"no Content-Type at all", []string{"Content-Type: ;;"}},
		{"dotnet's Accept-Encoding", []string{"Accept-Encoding: utf-8"}},
		{"gzip is not forced on anybody", []string{"Accept-Encoding: gzip"}},
		{"nothing acceptable", []string{"Accept: text/html", "Accept-Language: xx", "Accept-Charset: ebcdic"}},
		{"node's user agent", []string{"User-Agent: workos-node/10.9.0"}},
		{"no user agent", []string{"User-Agent:"}},
		{"a condition", []string{"If-None-Match: *", "If-Match: \"x\"", "Range: bytes=0-1"}},
		{"expecting to continue", []string{"Expect: 100-continue"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			id := w.post("/auth/factors/enroll", `{"type":"generic_otp"}`, tc.headers...).is(http.StatusCreated).text("id")
			c := w.post("/auth/factors/"+id+"/challenge", `{}`, tc.headers...).is(http.StatusCreated)
			w.post("/auth/challenges/"+c.text("id")+"/verify", `{"code":"`+c.text("code")+`"}`, tc.headers...).is(http.StatusCreated)
			r := w.get("/auth/factors/"+id, tc.headers...).is(http.StatusOK)
			if got := r.header.Get("Content-Encoding"); got != "" {
				t.Errorf("Content-Encoding is %q", got)
			}
			w.delete("/auth/factors/"+id, tc.headers...).is(http.StatusNoContent)
		})
	}
}

func TestUnexpectedBodiesAreIgnored(t *testing.T) {
	w := newFixture(t, setup{})
	for _, body := range []string{`{}`, `{"x":1}`, `nonsense`, strings.Repeat("x", 100<<10)} {
		id := w.generic()
		w.do(http.MethodGet, "/auth/factors/"+id, body).is(http.StatusOK)
		w.do(http.MethodDelete, "/auth/factors/"+id, body).is(http.StatusNoContent)
	}
}

func TestRightCodesAreAcceptedInEveryForm(t *testing.T) {
	w := newFixture(t, setup{})
	form := func(put string) func(code string) string {
		return func(code string) string {
			return strings.NewReplacer("ABC", code[:3], "DEF", code[3:]).Replace(put)
		}
	}
	for _, tc := range []struct {
		name string
		form func(code string) string
	}{
		{"six digits", form(`"ABCDEF"`)},
		{"in two groups", form(`"ABC DEF"`)},
		{"with a hyphen", form(`"ABC-DEF"`)},
		{"with space around", form(`" \tABCDEF\n"`)},
		{"with a space that does not break", form(`"ABC\u00a0DEF"`)},
		{"a number", form(`ABCDEF`)},
		{"escaped", form(`"\u0041BCDEF"`)},
		{"in digits of another width", func(code string) string {
			return `"` + strings.Map(func(r rune) rune { return r - '0' + '０' }, code) + `"`
		}},
		{"beside other keys", func(code string) string { return `"` + code + `","sms_template":5,"x":"y"` }},
		{"the last of two", func(code string) string { return `"000000","code":"` + code + `"` }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			id := w.generic()
			c := w.challenge(id)
			for c.text("code")[0] == '0' { // TestANumberHasNoLeadingZeros tests such codes
				c = w.challenge(id)
			}
			body := strings.Replace(`{"code":`+tc.form(c.text("code"))+`}`, `\u0041BC`, `\u003`+c.text("code")[:3], 1)
			if v := w.post("/auth/challenges/"+c.text("id")+"/verify", body).is(http.StatusCreated); v.at("valid") != true {
				t.Error("not valid")
			}
		})
	}
}

// A program that stores codes as numbers sends 59491 for 059491.
func TestANumberHasNoLeadingZeros(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.generic()
	c := w.challenge(id)
	for c.text("code")[0] != '0' {
		c = w.challenge(id)
		w.clock.Advance(time.Second) // to stay below the rate limit
	}
	number, err := strconv.Atoi(c.text("code"))
	if err != nil {
		t.Fatal(err)
	}
	at := "/auth/challenges/" + c.text("id") + "/verify"
	for _, wrong := range []string{`-%d`, `%d.0`, `%de0`, `[%d]`} { // the fifth attempt is the last
		if v := w.post(at, fmt.Sprintf(`{"code":`+wrong+`}`, number)).is(http.StatusCreated); v.at("valid") != false {
			t.Errorf("%s is valid", wrong)
		}
	}
	if v := w.post(at, fmt.Sprintf(`{"code":%d}`, number)).is(http.StatusCreated); v.at("valid") != true {
		t.Error("a number is not valid")
	}
}

func TestAnImpossibleCodeIsNotValid(t *testing.T) {
	w := newFixture(t, setup{})
	for _, code := range []string{
		`""`, `"12345"`, `"1234567"`, `"abcdef"`, `"ａｂｃ"`, `true`, `false`, `[]`, `{}`, `["123456"]`, `{"code":"123456"}`, `1.5`, `-1`, `1e400`,
		`"\u0000"`, `"\ud800"`, `"' OR 1=1 --"`, `"` + strings.Repeat("1", 60_000) + `"`, strings.Repeat("1", 60_000),
	} {
		c := w.challenge(w.generic())
		v := w.post("/auth/challenges/"+c.text("id")+"/verify", `{"code":`+code+`}`)
		if v.status != http.StatusCreated || v.at("valid") != false {
			t.Errorf("%.40s: %d %s; want valid:false", code, v.status, v.body)
		}
		if v := w.verify(c.text("id"), c.text("code")).is(http.StatusCreated); v.at("valid") != true {
			t.Errorf("%.40s made the challenge unusable", code)
		}
	}
}

func TestAVerificationWithoutACodeIsRefused(t *testing.T) {
	w := newFixture(t, setup{})
	c := w.challenge(w.generic())
	for _, body := range []string{``, `null`, `[]`, `{}`, `{"code":null}`, `{"x":"123456"}`} {
		for range 6 { // more than the allowed attempts
			w.post("/auth/challenges/"+c.text("id")+"/verify", body).refuses("code code_required")
		}
	}
	if v := w.verify(c.text("id"), c.text("code")).is(http.StatusCreated); v.at("valid") != true {
		t.Error("the right code is not valid: the refused requests counted")
	}
}

func TestABodyThatIsNotAJSONObjectIs400(t *testing.T) {
	w := newFixture(t, setup{})
	c := w.challenge(w.generic())
	for _, path := range []string{
		"/auth/factors/enroll", "/auth/factors/" + w.generic() + "/challenge", "/auth/challenges/" + c.text("id") + "/verify",
		"/auth/factors/challenge", "/auth/factors/verify", "/user_management/users/user_1/auth_factors",
	} {
		for _, body := range notObjects {
			r := w.post(path, body)
			if r.status != http.StatusBadRequest || r.at("code") != "invalid_json" || r.at("errors") != nil {
				t.Errorf("%s %.40q: %d %s", path, body, r.status, r.body)
			}
		}
	}
	if n := w.factors(); n != 2 {
		t.Errorf("%d factors; want the two that were enrolled", n)
	}
}

var notObjects = []string{
	`{`, `}`, `[`, `]`, `"`, `{"type"}`, `{"type":}`, `{"type":"totp",}`, `{'type':'totp'}`, `{type:"totp"}`, `[1]`, `[{}]`, `[[]]`,
	`"totp"`, `1`, `true`, `nul`, `{} {}`, `{}x`, "\x00", "\xff\xfe{\x00}\x00", "\xef\xbb\xbf\xef\xbb\xbf{}", "type=totp&totp_user=ada", `<xml/>`,
	strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 10_000), `{"type":"` + "\x01" + `"}`, `{"a":01}`, `{"a":NaN}`,
}
