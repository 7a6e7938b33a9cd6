package httpapi_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/httpapi"
)

// direct sends a request to the handler without a network, and checks the reply against
// the document.
func (w *fixture) direct(t testing.TB, r *http.Request) reply {
	t.Helper()
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	// The header at the time when the status was sent.
	checkReply(t, document(t), r, rec.Code, rec.Header(), rec.Body.Bytes())
	return reply{t, rec.Code, canonical(rec.Header()), rec.Body.String()}
}

// fuzzed sends a request and fails the test if the server has a fault.
func (w *fixture) fuzzed(t *testing.T, r *http.Request) reply {
	t.Helper()
	w.clock.Advance(time.Minute)
	reply := w.direct(t, r)
	if reply.status >= 500 {
		t.Errorf("status %d %s", reply.status, reply.body)
	}
	if reply.status != http.StatusNoContent && !json.Valid([]byte(reply.body)) {
		t.Errorf("status %d with a body that is no JSON: %q", reply.status, reply.body)
	}
	return reply
}

func fuzzFixture(f *testing.F) *fixture {
	f.Helper()
	w := newFixture(f, setup{api: httpapi.Options{RateLimit: 1e9}})
	w.carrier.Secrets = nil // an F must not be called from its fuzz target
	return w
}

func (w *fixture) fuzzPost(t *testing.T, path string, body []byte) reply {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
	r.Header.Set("Authorization", "Bearer "+w.key)
	return w.fuzzed(t, r)
}

// addBodies adds the bodies of other tests, and fields with hostile values.
func addBodies(f *testing.F, fields ...string) {
	f.Helper()
	for _, body := range notObjects {
		f.Add([]byte(body))
	}
	for _, b := range challengeBodies {
		f.Add([]byte(b.body))
	}
	for _, field := range fields {
		for _, value := range hostileValues {
			f.Add([]byte(`{"` + field + `":` + value + `}`))
		}
	}
}

func FuzzDecodeEnroll(f *testing.F) {
	w := fuzzFixture(f)
	addBodies(f, "type", "totp_issuer", "phone_number", "user_id")
	for _, b := range enrollBodies {
		f.Add([]byte(b.totp))
		f.Add([]byte(b.sms))
		f.Add([]byte(b.generic))
	}
	f.Fuzz(func(t *testing.T, body []byte) { w.fuzzPost(t, "/auth/factors/enroll", body) })
}

func FuzzDecodeUserEnroll(f *testing.F) {
	w := fuzzFixture(f)
	addBodies(f, "type", "totp_secret")
	for _, b := range userEnrollBodies {
		f.Add([]byte(b.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) { w.fuzzPost(t, "/user_management/users/user_1/auth_factors", body) })
}

func FuzzDecodeChallenge(f *testing.F) {
	w := fuzzFixture(f)
	phone, generic := w.phone(), w.generic()
	addBodies(f, "sms_template", "authentication_factor_id")
	f.Add([]byte(`{"sms_template":"Foo Corp: {{code}}"}`))
	f.Add([]byte(`{"authentication_factor_id":"` + generic + `"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		w.fuzzPost(t, "/auth/factors/"+phone+"/challenge", body)
		w.fuzzPost(t, "/auth/factors/"+generic+"/challenge", body)
		w.fuzzPost(t, "/auth/factors/challenge", body)
	})
}

func FuzzDecodeVerify(f *testing.F) {
	w := fuzzFixture(f)
	generic := w.generic()
	addBodies(f, "code", "authentication_challenge_id")
	f.Add([]byte(`{"code":"123 456"}`))
	f.Add([]byte(`{"code":123456,"authentication_challenge_id":"auth_challenge_01FZ4WSWV0F5V37E3S3E28JT3M"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := w.fuzzPost(t, "/auth/factors/"+generic+"/challenge", nil)
		if id, ok := c.at("id").(string); ok { // fails if earlier wrong codes have locked the factor
			if v := w.fuzzPost(t, "/auth/challenges/"+id+"/verify", body); v.status == 201 && v.at("valid") == true && !strings.Contains(string(body), "code") {
				t.Errorf("%q is the right code", body)
			}
		}
		w.fuzzPost(t, "/auth/factors/verify", body)
	})
}

func FuzzPath(f *testing.F) {
	w := fuzzFixture(f)
	for _, id := range oddIDs {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		segment := escape(id)
		// net/http treats a segment that is one escaped slash as the end of the path.
		if id == "" || id == "/" || strings.HasPrefix(id, "auth_factor_") || strings.HasPrefix(id, "auth_challenge_") || len(id) > 10_000 {
			return
		}
		ask := func(method, path, body string) reply {
			r := httptest.NewRequest(method, path, strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+w.key)
			return w.fuzzed(t, r)
		}
		for _, r := range []reply{
			ask("GET", "/auth/factors/"+segment, ``), ask("DELETE", "/auth/factors/"+segment, ``),
			ask("POST", "/auth/factors/"+segment+"/challenge", ``), ask("POST", "/auth/challenges/"+segment+"/verify", `{"code":"1"}`),
		} {
			if r.status != http.StatusNotFound || utf8.ValidString(id) && r.at("entity_id") != id {
				t.Errorf("%q: %d %s", id, r.status, r.body)
			}
		}
		users := "/user_management/users/" + segment + "/auth_factors"
		switch r := ask("POST", users, `{"type":"totp"}`); r.status {
		case http.StatusCreated:
			if r.at("authentication_factor.user_id") != id {
				t.Errorf("%q was enrolled as %v", id, r.at("authentication_factor.user_id"))
			}
			ask("GET", users, ``).is(http.StatusOK)
		case http.StatusUnprocessableEntity:
			ask("GET", users, ``).is(http.StatusUnprocessableEntity)
		default:
			t.Errorf("%q: %d %s", id, r.status, r.body)
		}
	})
}

func FuzzTarget(f *testing.F) {
	w := fuzzFixture(f)
	for _, target := range []string{
		"/", "/auth/factors/x", "//auth/factors/enroll", "/auth/./factors/enroll", "/auth/factors/../x", "/%2e%2e/", "/healthz?x=%zz", "*", "http://x/healthz", "/user_management/users/u/auth_factors?limit=1&after=x;y", "A:0", "http:?", "x:",
	} {
		f.Add("GET", target)
		f.Add("POST", target)
		f.Add("OPTIONS", target)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		// The request as net/http would read it from the network.
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil || r.URL.Path == "/openapi.yaml" || r.Method == http.MethodConnect {
			return
		}
		r.Header.Set("Authorization", "Bearer "+w.key)
		w.fuzzed(t, r)
	})
}

var derived = regexp.MustCompile(`^retry-[0-9a-f]{64}$`)

func FuzzIdempotencyKey(f *testing.F) {
	w := fuzzFixture(f)
	for _, key := range []string{"", "x", onceKey[17:], deterministic[17:], strings.Repeat("k", 255), strings.Repeat("k", 256), "é", "a\tb", "\x00", "\xff"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		enroll := func() reply {
			r := httptest.NewRequest(http.MethodPost, "/auth/factors/enroll", strings.NewReader(`{"type":"generic_otp","user_id":"user_1"}`))
			r.Header["Authorization"] = []string{"Bearer " + w.key}
			r.Header["Idempotency-Key"] = []string{key}
			return w.direct(t, r)
		}
		first, second := enroll(), enroll()
		switch printable := !strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }); {
		case key == "":
			if first.is(201).text("id") == second.is(201).text("id") {
				t.Error("an empty key was recorded")
			}
		case len(key) > 255 || !printable:
			first.refuses("Idempotency-Key idempotency_key_invalid")
		case derived.MatchString(key):
			if first.is(201).body == second.is(201).body {
				t.Error("a key made of the request was honored")
			}
		default:
			if first.is(201).body != second.is(201).body {
				t.Error("it was done twice")
			}
		}
	})
}

func FuzzAuthorization(f *testing.F) {
	w := fuzzFixture(f)
	for _, value := range badKeys {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		r := httptest.NewRequest(http.MethodGet, "/auth/factors/x", nil)
		r.Header["Authorization"] = []string{value}
		if reply := w.fuzzed(t, r); !strings.Contains(value, w.key) {
			reply.says(http.StatusUnauthorized, unauthorized)
		}
	})
}
