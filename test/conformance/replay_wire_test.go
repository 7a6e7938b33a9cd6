package conformance_test

import (
	"encoding/json"
	"testing"
	"time"
)

// TestWireBytes compares the tables with the bytes that the HTTP stacks of those
// languages were observed to send for the same headers and body.
func TestWireBytes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		wire         *wire
		method, path string
		body, key    string
		want         string
	}{
		{
			"Net::HTTP of Ruby 3.1, GET", &ruby5, "GET", "/auth/factors/f?", "", "",
			"GET /auth/factors/f? HTTP/1.1\r\n" +
				"Content-Type: application/json\r\nAccept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3\r\nAccept: */*\r\n" +
				"User-Agent: WorkOS; ruby/3.1.7; x86_64-linux-gnu; v5.31.1\r\nAuthorization: Bearer k\r\n" +
				"Connection: close\r\nHost: localhost\r\n\r\n",
		},
		{
			"Net::HTTP of Ruby 3.1, POST", &ruby10, "POST", "/p", `{"code":` + plainJSON("é/<&>\n") + `}`, "x",
			"POST /p HTTP/1.1\r\n" +
				"Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3\r\nAccept: */*\r\n" +
				"User-Agent: workos-ruby/10.2.1 ruby/3.1.7 (x86_64-linux-gnu)\r\nAuthorization: Bearer k\r\n" +
				"Content-Type: application/json\r\nIdempotency-Key: x\r\nHost: localhost\r\nContent-Length: 19\r\n\r\n" +
				"{\"code\":\"é/<&>\\n\"}",
		},
		{
			"curl of PHP 8.2, POST", &php4, "POST", "/p", `{"a":null,"b":` + asciiJSON("é/<&>\n{{code}}🔑") + `}`, "",
			"POST /p HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: WorkOS PHP/4.31.0\r\nAuthorization: Bearer k\r\n" +
				"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n" +
				`{"a":null,"b":"\u00e9\/<&>\n{{code}}\ud83d\udd11"}`,
		},
		{
			"curl of PHP 8.2, DELETE", &php4, "DELETE", "/p", "", "",
			"DELETE /p HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: WorkOS PHP/4.31.0\r\nAuthorization: Bearer k\r\n\r\n",
		},
		{
			"Fuel 2.3.1 on Java 17, DELETE", &java4, "DELETE", "/p", "", "",
			"DELETE /p HTTP/1.1\r\nUser-Agent: workos-kotlin/4.18.1\r\nContent-Type: application/json\r\nAuthorization: Bearer k\r\n" +
				"TE: gzip, deflate; q=0.5\r\nHost: localhost\r\nAccept: text/html, image/gif, image/jpeg, */*; q=0.2\r\n" +
				"Connection: keep-alive\r\nContent-Length: 0\r\n\r\n",
		},
		{
			"net/http of Go 1.26, POST", &go10, "POST", "/p", "null", "x",
			"POST /p HTTP/1.1\r\nHost: localhost\r\nUser-Agent: workos-go/10.1.1\r\nContent-Length: 4\r\nAuthorization: Bearer k\r\n" +
				"Content-Type: application/json\r\nIdempotency-Key: x\r\nAccept-Encoding: gzip\r\n\r\nnull",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(tc.wire.request(tc.method, tc.path, "localhost", "k", tc.body, tc.key)); got != tc.want {
				t.Errorf("sends\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// TestWireTypes checks that a type refuses a value that the library could not read.
func TestWireTypes(t *testing.T) {
	t.Parallel()
	const challenge = `"id":"c","created_at":"2022-03-27T05:15:26.432Z","updated_at":"2022-03-27T05:15:26.432Z","authentication_factor_id":"f"`
	for _, tc := range []struct {
		name  string
		wire  *wire
		typ   string
		reply string
		ok    bool
	}{
		{"Java 4 without expires_at", &java4, "Challenge", `{` + challenge + `}`, false},
		{"Java 4 with null for it", &java4, "Challenge", `{"expires_at":null,` + challenge + `}`, false},
		{"Java 4 with it", &java4, "Challenge", `{"expires_at":"2022-03-27T05:25:26.432Z",` + challenge + `}`, true},
		{"Ruby 5 without anything", &ruby5, "Challenge", `{}`, true},
		{"Ruby 5 with null", &ruby5, "Challenge", `null`, false},
		{"Ruby 2 without id", &ruby2, "Factor", `{"object":"o","type":"t","created_at":"c","updated_at":"u"}`, false},
		{"PHP 9 with a time of microseconds", &php9, "AuthenticationChallenge", `{"id":"c","authentication_factor_id":"f","created_at":"2022-03-27T05:15:26.432000Z"}`, false},
		{"PHP 9 with a type that it does not know", &php9, "AuthenticationFactor", `{"object":"o","id":"f","type":"email"}`, false},
		{"PHP 9 with a number for an id", &php9, "AuthenticationFactor", `{"object":"o","id":1,"type":"totp"}`, false},
		{"PHP 9 without a secret", &php9, "Totp", `{"issuer":"i","user":"u","qr_code":"q","uri":"u"}`, false},
		{"Go 10 with a string for valid", &go10, "AuthenticationChallengeVerifyResponse", `{"valid":"true"}`, false},
		{"Go 10 with an object for a list", &go10, "listResponse", `{"data":{}}`, false},
		{"Go 10 with a null in a list", &go10, "listResponse", `{"data":[null]}`, false},
		{".NET 6 with an unknown property", &dotnet6, "Sms", `{"phone_number":"+1","carrier":[]}`, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var said any
			if err := json.Unmarshal([]byte(tc.reply), &said); err != nil {
				t.Fatal(err)
			}
			if value, err := tc.wire.read(tc.typ, said); (err == nil) != tc.ok {
				t.Errorf("read = %v, %v", value, err)
			}
		})
	}
}

// TestWireReplies checks the requirements for every reply.
func TestWireReplies(t *testing.T) {
	t.Parallel()
	id := [2]string{"x-request-id", "bff8a2b9-159d-4677-bb7a-c988d3788fd7"}
	jsonType := [2]string{"Content-Type", "application/json; charset=utf-8"}
	for _, tc := range []struct {
		name  string
		reply reply
		ok    bool
	}{
		{"a good one", reply{200, [][2]string{id, jsonType}, []byte(`{}`)}, true},
		{"a refusal", reply{422, [][2]string{id, jsonType}, []byte(`{"message":"m","errors":[{"field":"f","code":"c"}]}`)}, true},
		{"nothing", reply{204, [][2]string{id}, nil}, true},
		{"nothing, as JSON", reply{204, [][2]string{id, jsonType}, nil}, false},
		{"X-Request-Id", reply{200, [][2]string{{"X-Request-Id", id[1]}, jsonType}, []byte(`{}`)}, false},
		{"no request id", reply{401, [][2]string{jsonType}, []byte(`{"message":"m"}`)}, false},
		{"compressed", reply{200, [][2]string{id, jsonType, {"content-encoding", "gzip"}}, []byte(`{}`)}, false},
		{"text", reply{200, [][2]string{id, {"Content-Type", "text/plain"}}, []byte(`{}`)}, false},
		{"a refusal without a body", reply{404, [][2]string{id, jsonType}, nil}, false},
		{"a refusal without a message", reply{404, [][2]string{id, jsonType}, []byte(`{"code":"c"}`)}, false},
		{"a refusal that is an array", reply{404, [][2]string{id, jsonType}, []byte(`[]`)}, false},
		{"errors that are strings", reply{422, [][2]string{id, jsonType}, []byte(`{"message":"m","errors":["e"]}`)}, false},
		{"an error without a code", reply{422, [][2]string{id, jsonType}, []byte(`{"message":"m","errors":[{"field":"f"}]}`)}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := lawful(tc.reply); (err == nil) != tc.ok {
				t.Errorf("lawful = %v", err)
			}
		})
	}
}

// TestWireSignatures checks how headers are split.
func TestWireSignatures(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := newDelivery(now)
	for _, tc := range []struct {
		name   string
		wire   *wire
		header func(t, v1 string) string
		ok     bool
	}{
		{"Ruby 5, without the space", &ruby5, func(t, v1 string) string { return "t=" + t + ",v1=" + v1 }, false},
		{"Ruby 5, with a third part", &ruby5, func(t, v1 string) string { return "t=" + t + ", v1=" + v1 + ", v0=" }, false},
		{"Ruby 10, without the space", &ruby10, func(t, v1 string) string { return "t=" + t + ",v1=" + v1 }, true},
		{"Java 4, with two spaces", &java4, func(t, v1 string) string { return "t=" + t + ",  v1=" + v1 }, true},
		{"Java 4, without a comma", &java4, func(t, v1 string) string { return "t=" + t }, false},
		{".NET 2, in upper case", &dotnet2, func(t, v1 string) string { return "T=" + t + ", V1=" + v1 }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at, v1, err := splitExactly(", ")(d.Signature)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tc.wire.accept(d.Body, tc.header(at, v1), d.Secret, now); (err == nil) != tc.ok {
				t.Errorf("accept = %v", err)
			}
		})
	}
	for _, w := range []*wire{&ruby10, &go10, &dotnet6} {
		_, err := w.accept(d.Body, d.Signature, d.Secret, now.Add(-10*time.Minute))
		if (err != nil) != w.webhook.bothWays {
			t.Errorf("%s %s, from ten minutes ahead: %v", w.language, w.version, err)
		}
	}
}
