package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/httpapi"
)

// raw sends text on a new connection and returns everything that the server sends.
func (w *fixture) raw(text string) string {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	go io.WriteString(conn, text) // the reply may come before the end of text
	reply, err := io.ReadAll(conn)
	// A server that does not read the rest of a request may close the connection after its reply.
	if err != nil && len(reply) == 0 {
		w.t.Errorf("read: %v", err)
	}
	return string(reply)
}

// rawRequest returns the text of a request that asks to close the connection.
func (w *fixture) rawRequest(method, target, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		method, target, w.key, len(body), body)
}

// rawDo sends the request of rawRequest and returns the reply.
func (w *fixture) rawDo(method, target, body string) reply {
	w.t.Helper()
	return w.parse(w.raw(w.rawRequest(method, target, body)))
}

func (w *fixture) parse(text string) reply {
	w.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		w.t.Errorf("%.200q: %v", text, err)
		return reply{t: w.t}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Error(err)
	}
	return newReply(w.t, resp.StatusCode, resp.Header, string(body))
}

func TestHeadersOnTheWire(t *testing.T) {
	w := newFixture(t, setup{api: httpapi.Options{RateLimit: 8}})
	id := w.generic()
	const limited = "limited"
	for _, tc := range []struct {
		name, method, target, body string
		status                     int
	}{
		{"201", "POST", "/auth/factors/enroll", `{"type":"generic_otp"}`, 201},
		{"200", "GET", "/auth/factors/" + id, ``, 200},
		{"204", "DELETE", "/auth/factors/" + id, ``, 204},
		{"an unknown factor", "GET", "/auth/factors/" + id, ``, 404},
		{"an unknown path", "GET", "/nowhere", ``, 404},
		{"a method too many", "PUT", "/auth/factors/enroll", ``, 405},
		{"a bad body", "POST", "/auth/factors/enroll", `{`, 400},
		{"a long body", "POST", "/auth/factors/enroll", strings.Repeat(" ", 64<<10+1), 413},
		{"a bad parameter", "POST", "/auth/factors/enroll", `{}`, 422},
		{"too many requests", "GET", "/auth/factors/" + limited, ``, 429},
		{"no key", "GET", "/auth/factors/x", ``, 401},
		{"health", "GET", "/healthz", ``, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			if strings.HasSuffix(tc.target, limited) {
				for w.get("/auth/factors/x").status != 429 {
				}
			}
			request := w.rawRequest(tc.method, tc.target, tc.body)
			if tc.status == 401 {
				request = strings.Replace(request, "Bearer", "Basic", 1)
			}
			text := w.raw(request)
			head, body, _ := strings.Cut(text, "\r\n\r\n")
			if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", tc.status)) {
				t.Fatalf("%s; want %d", head, tc.status)
			}
			lines := strings.Split(head, "\r\n")[1:]
			one := func(name string) string {
				var found []string
				for _, line := range lines {
					if n, value, _ := strings.Cut(line, ": "); strings.EqualFold(n, name) {
						found = append(found, n+": "+value)
					}
				}
				return strings.Join(found, " and ")
			}
			if name, value, _ := strings.Cut(one("x-request-id"), ": "); name != "x-request-id" || !uuid.MatchString(value) {
				t.Errorf("%q; want a UUID as x-request-id, in lower case", one("x-request-id"))
			}
			want, length := "Content-Type: application/json; charset=utf-8", fmt.Sprintf("Content-Length: %d", len(body))
			if tc.status == 204 {
				want, length = "", ""
				if body != "" {
					t.Errorf("204 has the body %q", body)
				}
			}
			if got := one("Content-Type"); got != want {
				t.Errorf("%q; want %q", got, want)
			}
			if got := one("Content-Length"); got != length {
				t.Errorf("%q; want %q", got, length)
			}
			if got := one("Transfer-Encoding"); got != "" {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestEveryReplyHasItsOwnRequestID(t *testing.T) {
	w := newFixture(t, setup{})
	seen := map[string]bool{}
	for range 100 {
		// The client may send any host.
		seen[w.get("/healthz", "X-Request-Id: 00000000-0000-4000-8000-000000000000").header.Get("X-Request-Id")] = true
	}
	if len(seen) != 100 || seen["00000000-0000-4000-8000-000000000000"] {
		t.Errorf("100 replies had %d ids", len(seen))
	}
}

func TestUnknownPathsAre404(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.generic()
	for _, path := range []string{
		"/", "/auth", "/auth/", "/auth/factors", "/auth/factors/", "/auth/factors/enroll/", "/auth/factors/" + id + "/",
		"/auth/factors/" + id + "/challenge/", "/auth/factors/" + id + "/verify", "/auth/factors//challenge", "/auth//factors/enroll",
		"/auth/factors/enroll//", "/auth/challenges/x/verify/", "/AUTH/factors/enroll", "/auth/factors/%2F/x/challenge",
		"/user_management/users/auth_factors/", "/user_management/users//auth_factors", "/user_management/users/a/b/auth_factors",
		"/user_management/users/u/auth_factors/", "/v1/auth/factors/enroll", "/favicon.ico", "/healthz/", "/dev/inbox",
	} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			w.do(method, path, "").says(404, noRoute)
			w.do(method, path, "", "Authorization:").says(404, noRoute)
		}
	}
}

func TestUncleanPathsAre404(t *testing.T) {
	w := newFixture(t, setup{})
	for _, target := range []string{
		"//auth/factors/enroll", "/auth/./factors/enroll", "/auth/factors/../factors/enroll", "/./auth/factors/enroll",
		"/auth/factors/x/../enroll", "/../auth/factors/enroll", "/auth/factors/enroll/.", "/auth/factors/enroll/..", "/healthz/../healthz",
		"///", "/..", "/.", "/user_management/users/../auth_factors", "/user_management/users/./auth_factors",
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(method+" "+target, func(t *testing.T) {
				w := w.on(t)
				r := w.rawDo(method, target, `{"type":"generic_otp"}`)
				r.says(404, noRoute)
				if !uuid.MatchString(r.header.Get("X-Request-Id")) {
					t.Errorf("x-request-id is %q", r.header.Get("X-Request-Id"))
				}
			})
		}
	}
	if n := w.factors(); n != 0 {
		t.Errorf("%d factors were enrolled", n)
	}
}

// oddIDs are ids of no object, before they are escaped for a path.
var oddIDs = []string{
	"x", "a/b", "//", "..", ".", "%", "%2F", "%00", "\x00", "a\x00b", "a b", "a+b", "ünïcödé", "日本", "😀", "'", `"`, `\`, "<script>", "&", "\u2028", "\r\n",
	"?", "#", ";", "a;b=c", "{id}", "auth_factor_", "auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M ", "auth_factor_01fz4wmxxa09xf6nk1xmknwb3m",
	"auth_factor_81FZ4WMXXA09XF6NK1XMKNWB3M", "auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3U", "auth_challenge_01FZ4WSWV0F5V37E3S3E28JT3M",
	"enroll ", "https://example.com/x", strings.Repeat("x", 4000),
}

func TestOddIDsAreNotFoundAndComeBackUnchanged(t *testing.T) {
	w := newFixture(t, setup{})
	for _, id := range oddIDs {
		at := "/auth/factors/" + escape(id)
		for _, r := range []reply{w.get(at), w.delete(at), w.post(at+"/challenge", `{}`)} {
			r.says(404, notFound("Factor", quoted(id)))
		}
		w.post("/auth/challenges/"+escape(id)+"/verify", `{"code":"123456"}`).says(404, notFound("Challenge", quoted(id)))
		w.post("/auth/factors/challenge", `{"authentication_factor_id":"`+quoted(id)+`"}`).says(404, notFound("Factor", quoted(id)))
		w.post("/auth/factors/verify", `{"authentication_challenge_id":"`+quoted(id)+`","code":"1"}`).says(404, notFound("Challenge", quoted(id)))
	}
	// Bytes that are not valid UTF-8 cannot come back unchanged.
	w.get("/auth/factors/%ff").is(http.StatusNotFound)
}

// escape returns text as one segment of a path. It also escapes dots, because a segment of
// one or two dots would be a relative path.
func escape(text string) string {
	return strings.ReplaceAll(url.PathEscape(text), ".", "%2E")
}

// quoted returns text in the form within a JSON string.
func quoted(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < ' ' || r == '"' || r == '\\' {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func TestAUserMayHaveAnyName(t *testing.T) {
	w := newFixture(t, setup{})
	for _, user := range []string{
		"user_01FZ4TKQ7XH8W1YJ5V9C2D3EBA", "ada@example.com", "ada+1", "a b", "a/b", "//", "https://id.example.com/users//7", "auth0|5f7c8ec7c33c6c004bbafe82",
		"..", ".", "%", "%2F", "ünïcödé", "日本", "😀", `"`, `\`, "?", "#", ";", "a=b&c=d", "{user}", "auth_factors", "<b>", strings.Repeat("x", 256), strings.Repeat("é", 128),
	} {
		t.Run(user, func(t *testing.T) {
			w := w.on(t)
			path := "/user_management/users/" + escape(user) + "/auth_factors"
			r := w.post(path, `{"type":"totp"}`).is(http.StatusCreated)
			if got := r.text("authentication_factor.user_id"); got != user {
				t.Errorf("enrolled for %q", got)
			}
			if p := w.page(escape(user), ""); len(p.ids) != 1 || p.ids[0] != r.text("authentication_factor.id") {
				t.Errorf("lists %q", p.ids)
			}
			// The same user, named in the body.
			w.enroll(`{"type":"generic_otp","user_id":"` + quoted(user) + `"}`)
			if p := w.page(escape(user), ""); len(p.ids) != 2 {
				t.Errorf("lists %q after one more", p.ids)
			}
		})
	}
}

func TestANameThatIsNotPlainTextIsRefused(t *testing.T) {
	w := newFixture(t, setup{})
	for user, code := range map[string]string{
		"%00": "invalid_characters", "a%0Ab": "invalid_characters", "%7F": "invalid_characters", "%C2%85": "invalid_characters", "%FF": "invalid_characters",
		"%C0%AF": "invalid_characters", strings.Repeat("x", 257): "too_long",
	} {
		path := "/user_management/users/" + user + "/auth_factors"
		w.post(path, `{"type":"totp"}`).refuses("user_id user_id_" + code)
		if r := w.get(path); r.status != 422 || r.at("code") != "invalid_request_parameters" {
			t.Errorf("%s is listed: %d %s", user, r.status, r.body)
		}
	}
}

func TestHEADIsGETWithoutItsBody(t *testing.T) {
	w := newFixture(t, setup{})
	for _, path := range []string{"/auth/factors/" + w.generic(), "/auth/factors/x", "/user_management/users/u/auth_factors", "/healthz", "/readyz", "/nowhere"} {
		get, head := w.get(path), w.do(http.MethodHead, path, "")
		if head.status != get.status || head.body != "" || head.header.Get("Content-Length") != get.header.Get("Content-Length") {
			t.Errorf("HEAD %s is %d with %q; GET is %d", path, head.status, head.body, get.status)
		}
	}
}

func TestOPTIONSIsNotAllowed(t *testing.T) {
	w := newFixture(t, setup{})
	r := w.do(http.MethodOptions, "/auth/factors/enroll", "", "Authorization:", "Origin: https://example.com", "Access-Control-Request-Method: POST")
	r.says(405, noMethod)
	for name := range r.header {
		if strings.HasPrefix(name, "Access-Control") {
			t.Errorf("a browser may read it: %s", name)
		}
	}
}

func TestHealthNeedsNoKeyAndHasNoLimit(t *testing.T) {
	w := newFixture(t, setup{api: httpapi.Options{RateLimit: 1}})
	for range 5 {
		w.get("/healthz", "Authorization:").says(200, `{"status":"ok"}`)
		w.get("/readyz", "Authorization: Bearer nonsense").says(200, `{"status":"ok"}`)
	}
}
