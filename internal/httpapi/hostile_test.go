package httpapi_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
)

const tooLarge = `{"message":"The request body is larger than 64 KiB.","code":"request_too_large"}`

func TestABodyMayHave64KiB(t *testing.T) {
	w := newFixture(t, setup{})
	padded := func(n int) string {
		return `{"type":"generic_otp"` + strings.Repeat(" ", n-len(`{"type":"generic_otp"}`)) + `}`
	}
	w.post("/auth/factors/enroll", padded(64<<10)).is(http.StatusCreated)
	w.post("/auth/factors/enroll", padded(64<<10+1)).says(http.StatusRequestEntityTooLarge, tooLarge)
	for _, path := range []string{
		"/auth/factors/x/challenge", "/auth/challenges/x/verify", "/auth/factors/challenge", "/auth/factors/verify", "/user_management/users/u/auth_factors",
	} {
		w.post(path, strings.Repeat(" ", 64<<10+1)).says(http.StatusRequestEntityTooLarge, tooLarge)
	}
	if n := w.factors(); n != 1 {
		t.Errorf("%d factors; want one", n)
	}
}

func TestABodyOfUnknownLengthMayHave64KiB(t *testing.T) {
	w := newFixture(t, setup{})
	chunked := func(n int) string {
		head := "POST /auth/factors/enroll HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + w.key + "\r\nTransfer-Encoding: chunked\r\n\r\n"
		body := `{"type":"generic_otp"` + strings.Repeat(" ", n-len(`{"type":"generic_otp"}`)) + `}`
		return fmt.Sprintf("%s%x\r\n%s\r\n0\r\n\r\n", head, len(body), body)
	}
	w.parse(w.raw(chunked(64 << 10))).is(http.StatusCreated)
	w.parse(w.raw(chunked(64<<10+1))).says(http.StatusRequestEntityTooLarge, tooLarge)
	w.parse(w.raw(chunked(10<<20))).says(http.StatusRequestEntityTooLarge, tooLarge)
}

func TestHugeBodiesDoNotFillTheMemory(t *testing.T) {
	const n, size = 64, 10 << 20
	w := newFixture(t, setup{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	mfatest.Together(n, func(i int) {
		r, err := http.NewRequest(http.MethodPost, w.url+"/auth/factors/enroll", io.LimitReader(endless{}, size))
		if err != nil {
			t.Error(err)
			return
		}
		if i%2 == 0 {
			r.ContentLength = size // otherwise the body is chunked
		}
		r.Header.Set("Authorization", "Bearer "+w.key)
		resp, err := w.client.Do(r)
		if err != nil {
			return // the server closed the connection while the client was still sending
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
	runtime.ReadMemStats(&after)
	// Client and server together need buffers, and at most twice 64 KiB.
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 1<<20 {
		t.Errorf("each request of %d bytes allocated %d bytes", size, each)
	}
	w.generic() // the server still serves requests
}

// endless is a body of spaces.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func TestTheLastOfTwoEqualKeysCounts(t *testing.T) {
	w := newFixture(t, setup{})
	r := w.post("/auth/factors/enroll", `{"type":"totp","totp_issuer":"one","type":"generic_otp","type":"totp","totp_issuer":"two"}`).is(http.StatusCreated)
	if got := r.text("totp.issuer"); got != "two" {
		t.Errorf("issuer is %q; want the last", got)
	}
	w.post("/auth/factors/enroll", `{"type":"totp","type":7}`).refuses("type type_not_a_string")
	w.post("/auth/factors/enroll", `{"type":7,"type":"totp"}`).is(http.StatusCreated)
}

// hostileValues are values for every field.
var hostileValues = []string{
	`null`, `""`, `0`, `-0`, `1e999999`, `123456789012345678901234567890`, `0.000000000000000000000000001`, `true`, `[]`, `{}`, `[[[[[[[[]]]]]]]]`, `{"a":{"a":{"a":null}}}`,
	`"\u0000"`, `"\ud800"`, `"\udfff\ud800"`, `"\uffff"`, "\"\xff\xfe\"", "\"\xc0\xaf\"", `"'; DROP TABLE factors; --"`, `"{{code}}{{code}}"`, `"%s%n%x"`, `"../../etc/passwd"`,
	`"` + strings.Repeat("a", 60_000) + `"`, `"` + strings.Repeat("{{code}}", 7_000) + `"`, strings.Repeat("9", 60_000), strings.Repeat("[", 500) + strings.Repeat("]", 500), `"\u202e\u200b"`,
}

func TestNoValueOfAnyFieldIsAFault(t *testing.T) {
	w := newFixture(t, setup{})
	for _, tc := range []struct {
		path   string
		fields []string
		rest   string
	}{
		{"/auth/factors/enroll", []string{"type", "totp_issuer", "totp_user", "totp_secret", "user_id"}, `"type":"totp"`},
		{"/auth/factors/enroll", []string{"phone_number", "user_id"}, `"type":"sms"`},
		{"/user_management/users/u/auth_factors", []string{"type", "totp_issuer", "totp_user", "totp_secret", "user_id", "User"}, `"type":"totp"`},
		{"/auth/factors/" + w.phone() + "/challenge", []string{"sms_template"}, `"x":1`},
		{"/auth/factors/challenge", []string{"authentication_factor_id", "sms_template"}, `"authentication_factor_id":"` + w.generic() + `"`},
		{"/auth/challenges/" + w.challenge(w.generic()).text("id") + "/verify", []string{"code"}, `"x":1`},
		{"/auth/factors/verify", []string{"authentication_challenge_id", "code"}, `"authentication_challenge_id":"x"`},
	} {
		for _, field := range tc.fields {
			for _, value := range hostileValues {
				r := w.post(tc.path, `{`+tc.rest+`,"`+field+`":`+value+`}`)
				if r.status < 200 || r.status >= 500 {
					t.Errorf("%s with %s = %.40s: %d %s", tc.path, field, value, r.status, r.body)
				}
				w.clock.Advance(time.Second) // to stay below the rate limit
			}
		}
	}
}

func TestFloodsOfHeadersAndParametersAreNoFault(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.generic()
	flood := func(headers string) string {
		return "GET /auth/factors/" + id + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + w.key + "\r\n" + headers + "\r\n"
	}
	var many strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&many, "X-%d: %d\r\n", i, i)
	}
	for name, headers := range map[string]string{
		"many":           many.String(),
		"one of 500 kB":  "X: " + strings.Repeat("x", 500_000) + "\r\n",
		"many cookies":   strings.Repeat("Cookie: a=b\r\n", 5000),
		"many keys":      strings.Repeat("Idempotency-Key: k\r\n", 5000),
		"many encodings": "Accept-Encoding: " + strings.Repeat("gzip, ", 50_000) + "\r\n",
	} {
		if r := w.parse(w.raw(flood(headers))); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	// net/http does not read a header of 2 MB.
	if r := w.parse(w.raw(flood("X: " + strings.Repeat("x", 2<<20) + "\r\n"))); r.status != 431 || r.at("code") != "malformed_request" {
		t.Errorf("2 MB of header: %d %.100s", r.status, r.body)
	}
	for _, query := range []string{strings.Repeat("a=b&", 5000), strings.Repeat("limit=1&", 5000), strings.Repeat("after=x&", 5000), strings.Repeat("%", 5000), strings.Repeat("a[", 5000)} {
		if r := w.get("/user_management/users/u/auth_factors?" + query); r.status != 200 && r.status != 422 {
			t.Errorf("?%.20s...: %d", query, r.status)
		}
		w.get("/auth/factors/" + id + "?" + query).is(200)
	}
}

func TestATruncatedBodyIs400(t *testing.T) {
	w := newFixture(t, setup{})
	head := "POST /auth/factors/enroll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.key + "\r\n"
	for _, text := range []string{
		head + "Content-Length: 100\r\n\r\n{\"type\":\"generic_otp\"}",
		head + "Transfer-Encoding: chunked\r\n\r\n16\r\n{\"type\":\"generic_otp\"}\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
		head + "Content-Length: 1\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(conn) // ends only if the server closes the connection too
		if err != nil {
			t.Error(err)
		}
		conn.Close()
		if r := w.parse(string(all)); r.status != http.StatusBadRequest || r.at("code") != "invalid_json" {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if n := w.factors(); n != 0 {
		t.Errorf("%d factors were enrolled", n)
	}
}

func TestTheErrorOfALateBodyShowsNoAddresses(t *testing.T) {
	w := newFixture(t, setup{})
	server := httptest.NewUnstartedServer(checked(t, w.api))
	server.Config.ReadTimeout = 100 * time.Millisecond
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /auth/factors/enroll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", w.key)
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	r := w.parse(string(all)).is(http.StatusServiceUnavailable)
	if r.at("code") != "unavailable" || r.header.Get("Retry-After") == "" {
		t.Errorf("the answer does not say that a retry may help: %s", r.body)
	}
	if strings.Contains(r.body, "127.0.0.1") || strings.Contains(r.body, "tcp") {
		t.Errorf("the answer shows addresses: %s", r.body)
	}
}

func TestManyConnectionsAtOnceAreServed(t *testing.T) {
	w := newFixture(t, setup{})
	const n = 300
	texts := make([]string, n)
	mfatest.Together(n, func(i int) {
		requests := []string{
			w.rawRequest("POST", "/auth/factors/enroll", `{"type":"generic_otp"}`),
			w.rawRequest("POST", "/auth/factors/enroll", `{"type":`),
			w.rawRequest("GET", "/auth/factors/x", ``),
		}
		texts[i] = w.raw(requests[i%len(requests)])
	})
	for i, want := range []string{"201", "400", "404"} {
		for ; i < n; i += 3 {
			if !strings.HasPrefix(texts[i], "HTTP/1.1 "+want) {
				t.Errorf("%.200s; want %s", texts[i], want)
			}
		}
	}
	if got := w.factors(); got != n/3 {
		t.Errorf("%d factors; want %d", got, n/3)
	}
}
