package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/httpapi"
	"github.com/countersign-mfa/countersign/internal/web"
)

// A safeBuffer is a log in memory. It is safe for concurrent use.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// linesOf returns the lines with the id of a request.
func (s *safeBuffer) linesOf(request string) string {
	var found []string
	for line := range strings.Lines(s.String()) {
		if strings.Contains(line, `"request":"`+request+`"`) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

const internal = `{"message":"Internal Server Error","code":"internal_error"}`

func TestAPanicIsLoggedAndNotShown(t *testing.T) {
	var log safeBuffer
	w := newFixture(t, setup{log: &log})
	id := w.phone()
	w.carrier.Fail(func(int) error { panic("the carrier broke") })
	r := w.post("/auth/factors/"+id+"/challenge", `{}`)
	r.says(http.StatusInternalServerError, internal)
	line := log.linesOf(r.header.Get("X-Request-Id"))
	for _, want := range []string{`"level":"ERROR"`, "panic: the carrier broke", "faults_test.go", `"status":500`} {
		if !strings.Contains(line, want) {
			t.Errorf("%s is missing in the log: %s", want, line)
		}
	}
	w.get("/auth/factors/" + id).is(http.StatusOK) // the server still serves requests
}

func TestARefusedMessageIs503(t *testing.T) {
	var log safeBuffer
	w := newFixture(t, setup{log: &log})
	id := w.phone()
	w.carrier.Fail(func(int) error { return errCarrier })
	r := w.post("/auth/factors/"+id+"/challenge", `{}`)
	r.says(http.StatusServiceUnavailable, `{"message":"The message could not be delivered.","code":"sms_delivery_failed"}`)
	if line := log.linesOf(r.header.Get("X-Request-Id")); !strings.Contains(line, "no network") {
		t.Errorf("the log does not say why: %s", line)
	}
	w.carrier.Fail(nil)
	w.challenge(id) // the failed message does not count
}

func TestAClosedStoreIs503(t *testing.T) {
	var log safeBuffer
	w := newFixture(t, setup{log: &log})
	w.client.Timeout = 5 * time.Second
	id := w.generic()
	c := w.challenge(id)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ method, path, body string }{
		{"POST", "/auth/factors/enroll", `{"type":"totp"}`},
		{"POST", "/auth/factors/enroll", `{"type":"totp","user_id":"user_1"}`},
		{"POST", "/auth/factors/" + id + "/challenge", ``},
		{"POST", "/auth/challenges/" + c.text("id") + "/verify", `{"code":"` + c.text("code") + `"}`},
		{"POST", "/auth/factors/challenge", `{"authentication_factor_id":"` + id + `"}`},
		{"POST", "/auth/factors/verify", `{"authentication_challenge_id":"` + c.text("id") + `","code":"1"}`},
		{"POST", "/user_management/users/user_1/auth_factors", `{"type":"totp"}`},
		{"DELETE", "/auth/factors/" + id, ``},
		{"GET", "/auth/factors/" + id, ``},
		{"GET", "/user_management/users/user_1/auth_factors", ``},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			w := w.on(t)
			for _, headers := range [][]string{nil, {onceKey}} {
				r := w.do(tc.method, tc.path, tc.body, headers...)
				r.says(http.StatusServiceUnavailable, `{"message":"The service cannot take this request now. Try again.","code":"unavailable","retry_after":1}`)
				if r.status != 0 && r.header.Get("Retry-After") != "1" {
					t.Errorf("Retry-After is %q", r.header.Get("Retry-After"))
				}
			}
		})
	}
	t.Run("with a key that was not seen before", func(t *testing.T) {
		r := w.on(t).get("/auth/factors/"+id, "Authorization: Bearer sk_test_ABCDEFGHIJKLMNOPQRSTUVWXYZ")
		if r.status != http.StatusServiceUnavailable {
			t.Errorf("status %d %s; want 503, because the key cannot be checked", r.status, r.body)
		}
	})
	w.get("/healthz").is(http.StatusOK)
	if !strings.Contains(log.String(), `"level":"ERROR"`) {
		t.Error("the log has no error")
	}
}

func TestReadinessIsTheResultOfReady(t *testing.T) {
	var log safeBuffer
	var ready error
	w := newFixture(t, setup{log: &log, api: httpapi.Options{Ready: func(context.Context) error { return ready }}})
	w.get("/readyz", "Authorization:").says(http.StatusOK, `{"status":"ok"}`)
	ready = errors.New("no store")
	r := w.get("/readyz", "Authorization:")
	r.says(http.StatusServiceUnavailable, `{"status":"unavailable"}`)
	if strings.Contains(r.body, "no store") || !strings.Contains(log.linesOf(r.header.Get("X-Request-Id")), "no store") {
		t.Error("the reason is shown, or not logged")
	}
}

func TestEveryRequestLeavesOneLine(t *testing.T) {
	var log safeBuffer
	w := newFixture(t, setup{log: &log})
	for _, tc := range []struct {
		reply reply
		want  []string
	}{
		{w.get("/auth/factors/x"), []string{`"status":404`, `"method":"GET"`, `"route":"GET /auth/factors/{id}"`, `"key":"key_`, `"took_ms":0,`}},
		{w.post("/auth/factors/enroll", `{"type":"totp"}`), []string{`"status":201`, `"route":"POST /auth/factors/enroll"`}},
		{w.get("/nowhere"), []string{`"status":404`, `"route":""`}},
		{w.do("BREW", "/healthz", ""), []string{`"status":405`, `"method":"other"`}},
	} {
		id := tc.reply.header.Get("X-Request-Id")
		line := log.linesOf(id)
		if strings.Count(line, "\n") != 1 {
			t.Errorf("the request left the lines %q", line)
		}
		for _, want := range tc.want {
			if !strings.Contains(line, want) {
				t.Errorf("%s is missing in %s", want, line)
			}
		}
	}
}

func TestALineNamesTheErrorAndItsSubject(t *testing.T) {
	var log safeBuffer
	w := newFixture(t, setup{log: &log, api: httpapi.Options{Remote: web.Remote{Form: web.FullAddr}}})
	factor := w.generic()
	created := w.challenge(factor)
	challenge := created.text("id")
	about := []string{`"environment":"Acme Test"`, `"factor":"` + factor + `"`, `"remote_addr":"127.0.0.1"`}
	aboutBoth := append(slices.Clone(about), `"challenge":"`+challenge+`"`)
	notCode := []string{`"code":`}
	key := func(n string) string { return "Idempotency-Key: " + n }
	w.post("/auth/factors/"+factor+"/challenge", ``, key("a"))
	w.post("/auth/challenges/"+challenge+"/verify", `{"code":"`+wrong+`"}`, key("b"))
	w.post("/auth/factors/enroll", `{"type":"none"}`, key("c"))
	user := w.post("/user_management/users/u/auth_factors", `{"type":"totp","totp_issuer":"i","totp_user":"u"}`, key("d"))
	userFactor, userChallenge := user.text("authentication_factor.id"), user.text("authentication_challenge.id")
	for _, tc := range []struct {
		name       string
		reply      reply
		want, lack []string
	}{
		{"a challenge", created, aboutBoth, notCode},
		{"a factor", w.get("/auth/factors/" + factor), about, append(notCode, `"challenge":`)},
		{"a wrong code", w.verify(challenge, wrong), aboutBoth, notCode},
		{"a challenge that is read", w.get("/auth/challenges/" + challenge), aboutBoth, notCode},
		{"a recorded answer", w.post("/auth/factors/"+factor+"/challenge", ``, key("a")), append(about, `"challenge":"auth_challenge_`), notCode},
		{"a recorded verification", w.post("/auth/challenges/"+challenge+"/verify", `{"code":"`+wrong+`"}`, key("b")), aboutBoth, notCode},
		{"a recorded error", w.post("/auth/factors/enroll", `{"type":"none"}`, key("c")), []string{`"code":"invalid_request_parameters"`}, []string{`"factor":`}},
		{"an enrollment", user, []string{userFactor, userChallenge}, notCode},
		{"a recorded enrollment", w.post("/user_management/users/u/auth_factors", `{"type":"totp","totp_issuer":"i","totp_user":"u"}`, key("d")), []string{userFactor, userChallenge}, notCode},
		{"an unknown factor", w.get("/auth/factors/auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M"), []string{`"code":"entity_not_found"`, `"factor":"auth_factor_01FZ4W`}, nil},
		{"an id that is none", w.get("/auth/factors/483920"), []string{`"code":"entity_not_found"`, `"environment":"Acme Test"`}, []string{"483920", `"factor":`}},
		{"no key", w.get("/auth/factors/"+factor, "Authorization:"), []string{`"status":401`, `"remote_addr":"127.0.0.1"`}, []string{`"environment":`, `"factor":`}},
	} {
		line := log.linesOf(tc.reply.header.Get("X-Request-Id"))
		for _, want := range tc.want {
			if !strings.Contains(line, want) {
				t.Errorf("%s: %s is missing in %s", tc.name, want, line)
			}
		}
		for _, lack := range tc.lack {
			if strings.Contains(line, lack) {
				t.Errorf("%s: %s is in %s", tc.name, lack, line)
			}
		}
	}
}
