package openapitest_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/openapitest"
)

const (
	factor = `{"object":"authentication_factor","id":"auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M",` +
		`"created_at":"2022-03-27T05:12:43.690Z","updated_at":"2022-03-27T05:12:43.690Z","type":"generic_otp","status":"unverified","last_used_at":null}`
	unknown = `{"message":"Authentication Factor not found: 'x'.","code":"entity_not_found","entity_id":"x"}`
	limited = `{"message":"Too many requests. Try again later.","code":"rate_limit_exceeded","retry_after":1}`
	invalid = `{"message":"Validation failed","code":"invalid_request_parameters","errors":[{"field":"type","code":"type_required","message":"type is required"}]}`
)

// reply returns an exchange. Headers are lines, "Name: value". A line without a value
// removes a header that every reply has.
func reply(method, target string, status int, body string, headers ...string) openapitest.Exchange {
	x := openapitest.Exchange{Method: method, Target: target, Status: status, Header: http.Header{
		"x-request-id": {"0b8f3a52-6f0e-4b4c-9d0a-2f6a8f1f5d11"},
		"Content-Type": {"application/json; charset=utf-8"},
	}, Body: []byte(body)}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ":")
		delete(x.Header, name)
		if value != "" {
			x.Header[name] = []string{strings.TrimSpace(value)}
		}
	}
	return x
}

func load(t *testing.T) *openapitest.Document {
	t.Helper()
	d, err := openapitest.Load("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCheckReply(t *testing.T) {
	d := load(t)
	for _, tc := range []struct {
		name  string
		x     openapitest.Exchange
		fault string // a part of the report; "" if there is no fault
	}{
		{"a correct reply", reply("GET", "/auth/factors/x", 200, factor), ""},
		{"with HTTP's own headers", reply("GET", "/auth/factors/x", 200, factor, "Date: now", "Content-Length: 1", "Cache-Control: no-store"), ""},
		{"to HEAD, without a body", reply("HEAD", "/auth/factors/x", 200, ""), ""},
		{"to an escaped path", reply("GET", "/auth/factors/a%2Fb?c=d", 404, unknown), ""},
		{"without a body", reply("DELETE", "/auth/factors/x", 204, "", "Content-Type:"), ""},
		{"a limit", reply("GET", "/auth/factors/x", 429, limited, "Retry-After: 1"), ""},
		{"a bad parameter", reply("POST", "/auth/factors/enroll", 422, invalid), ""},
		{"a replay", reply("POST", "/auth/factors/enroll", 201, factor, "Idempotency-Replayed: true"), ""},
		{"no such path", reply("GET", "/nowhere", 404, openapitest.NoRoute), ""},
		{"a path that is not clean", reply("GET", "/auth/factors/..", 404, openapitest.NoRoute), ""},
		{"no such method", reply("PUT", "/auth/factors/x", 405, openapitest.NoMethod, "Allow: GET, HEAD, DELETE"), ""},
		{"the inbox", reply("GET", "/dev/inbox", 200, "<html>", "Content-Type: text/html"), ""},
		{"a receipt", reply("POST", "/sms/receipts/twilio", 200, "", "Content-Type:"), ""},

		{"no request id", reply("GET", "/auth/factors/x", 200, factor, "x-request-id:"), "x-request-id"},
		{"a request id that is not a UUID", reply("GET", "/auth/factors/x", 200, factor, "x-request-id: 1"), "x-request-id"},
		{"a request id in capitals", reply("GET", "/auth/factors/x", 200, factor, "x-request-id:", "X-Request-Id: 0b8f3a52-6f0e-4b4c-9d0a-2f6a8f1f5d11"), "lower case"},
		{"another Content-Type", reply("GET", "/auth/factors/x", 200, factor, "Content-Type: application/json"), "Content-Type"},
		{"no body and a Content-Type", reply("DELETE", "/auth/factors/x", 204, ""), "204"},
		{"a body with 204", reply("DELETE", "/auth/factors/x", 204, "{}", "Content-Type:"), "204"},
		{"an extra header", reply("GET", "/auth/factors/x", 200, factor, "Server: x"), "no header Server"},
		{"a missing header", reply("GET", "/auth/factors/x", 429, limited), "Retry-After"},
		{"a header out of bounds", reply("GET", "/auth/factors/x", 429, limited, "Retry-After: 61"), "maximum"},
		{"a header that is not a number", reply("GET", "/auth/factors/x", 429, limited, "Retry-After: soon"), "integer"},
		{"a replay of a GET", reply("GET", "/auth/factors/x", 200, factor, "Idempotency-Replayed: true"), "no header Idempotency-Replayed"},
		{"another status", reply("GET", "/auth/factors/x", 418, factor), "no such reply"},
		{"no JSON", reply("GET", "/auth/factors/x", 200, "no"), "decoded"},
		{"no body", reply("GET", "/auth/factors/x", 200, ""), "empty"},
		{"a missing key", reply("GET", "/auth/factors/x", 200, strings.Replace(factor, `"object":"authentication_factor",`, "", 1)), "object"},
		{"an extra key", reply("GET", "/auth/factors/x", 200, strings.Replace(factor, `{`, `{"environment_id":"x",`, 1)), "environment_id"},
		{"null for an absent key", reply("GET", "/auth/factors/x", 200, strings.Replace(factor, `{`, `{"user_id":null,`, 1)), "user_id"},
		{"a time without milliseconds", reply("GET", "/auth/factors/x", 200, strings.ReplaceAll(factor, ".690", "")), "pattern"},
		{"a code of another operation", reply("GET", "/auth/factors/x", 404, strings.Replace(unknown, "entity_not_found", "idempotency_error", 1)), "idempotency_error"},
		{"a code without an example", reply("POST", "/auth/factors/enroll", 422, strings.Replace(invalid, "invalid_request_parameters", "odd", 1)), `no example with the code "odd"`},
		{"a field code that is not listed", reply("POST", "/auth/factors/enroll", 422, strings.Replace(invalid, "type_required", "odd", 1)), `no code "odd"`},
		{"a path that is not described", reply("GET", "/nowhere", 200, factor), "not described"},
		{"a method that is not described", reply("GET", "/auth/factors/enroll", 200, factor, "Allow: POST"), "not described"},
		{"another Allow", reply("PUT", "/auth/factors/x", 405, openapitest.NoMethod, "Allow: GET"), "Allow"},
		{"the reply for no such path on a described path", reply("GET", "/auth/factors/x", 404, openapitest.NoRoute), "entity_id"},
		{"the reply for no such method on a described method", reply("GET", "/auth/factors/x", 405, openapitest.NoMethod, "Allow: GET, HEAD, DELETE"), "no such reply"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			switch err := d.CheckReply(tc.x); {
			case tc.fault == "" && err != nil:
				t.Error(err)
			case tc.fault != "" && (err == nil || !strings.Contains(err.Error(), tc.fault)):
				t.Errorf("found %v; want one with %q", err, tc.fault)
			}
		})
	}
}

func TestCheckRequest(t *testing.T) {
	d := load(t)
	for _, tc := range []struct {
		name, method, target, body string
		allowed                    bool
	}{
		{"a factor", "POST", "/auth/factors/enroll", `{"type":"totp","totp_issuer":null,"totp_user":"","x":1}`, true},
		{"a phone", "POST", "/auth/factors/enroll", `{"type":"sms","phone_number":"16073517112"}`, true},
		{"an empty object", "POST", "/auth/factors/x/challenge", `{}`, true},
		{"an empty list", "POST", "/auth/factors/x/challenge", `[]`, true},
		{"null", "POST", "/auth/factors/x/challenge", `null`, true},
		{"nothing", "POST", "/auth/factors/x/challenge", ``, true},
		{"no body to read", "DELETE", "/auth/factors/x", `{}`, true},
		{"the inbox", "GET", "/dev/inbox?to=x", ``, true},
		{"no type", "POST", "/auth/factors/enroll", `{}`, false},
		{"an unknown type", "POST", "/auth/factors/enroll", `{"type":"voice"}`, false},
		{"no phone", "POST", "/auth/factors/enroll", `{"type":"sms"}`, false},
		{"no list", "POST", "/auth/factors/x/challenge", `[1]`, false},
		{"no template", "POST", "/auth/factors/x/challenge", `{"sms_template":"Hello"}`, false},
		{"a code", "POST", "/auth/challenges/x/verify", `{"code":"123456"}`, true},
		{"a credential", "POST", "/auth/challenges/x/verify", `{"credential":{"id":"x"}}`, true},
		{"a code and a credential", "POST", "/auth/challenges/x/verify", `{"code":"123456","credential":{"id":"x"}}`, true},
		{"no code", "POST", "/auth/challenges/x/verify", `{}`, false},
		{"nothing where a body is required", "POST", "/auth/challenges/x/verify", ``, false},
		{"no id", "POST", "/auth/factors/verify", `{"code":"123456"}`, false},
		{"a path that is not described", "POST", "/auth/factors/x", `{}`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := d.CheckRequest(openapitest.Exchange{Method: tc.method, Target: tc.target, RequestBody: []byte(tc.body)})
			if (err == nil) != tc.allowed {
				t.Errorf("found %v", err)
			}
		})
	}
}

func TestADocumentThatCannotBeUsedIsRefused(t *testing.T) {
	text, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no YAML":              "\t",
		"nothing":              "{}",
		"another version":      strings.Replace(string(text), "openapi: 3.1.0", "swagger: '2.0'", 1),
		"a dangling reference": strings.Replace(string(text), "    NotFound:", "    Other:", 1),
		"an unknown keyword":   strings.Replace(string(text), "minItems: 1", "uniqueItems: true", 1),
		"an unknown format":    strings.Replace(string(text), "format: uuid", "format: week", 1),
		"no codes of fields":   strings.Replace(string(text), "    FieldError:", "    Other:", 1),
	} {
		if _, err := openapitest.Parse([]byte(text)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := openapitest.Load("none.yaml"); err == nil {
		t.Error("a file that does not exist is accepted")
	}
}

func BenchmarkCheckReply(b *testing.B) {
	d, err := openapitest.Load("../../openapi.yaml")
	if err != nil {
		b.Fatal(err)
	}
	x := reply("GET", "/auth/factors/x", 200, factor)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := d.CheckReply(x); err != nil {
				b.Error(err)
			}
		}
	})
}
