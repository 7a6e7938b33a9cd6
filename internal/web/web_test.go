package web_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/web"
)

// A fixture is a Mux with a log in memory.
type fixture struct {
	mux      *web.Mux
	log      bytes.Buffer
	observed []string
}

func newFixture(opts web.Options) *fixture {
	f := &fixture{}
	opts.Logger = slog.New(slog.NewJSONHandler(&f.log, nil))
	opts.Observe = func(pattern, method string, _ int, _ time.Duration) {
		f.observed = append(f.observed, method+" of "+pattern)
	}
	f.mux = web.NewMux(opts)
	f.mux.Handle("GET /items/{id}", func(w http.ResponseWriter, r *web.Request) error {
		return web.Respond(w, http.StatusOK, map[string]string{"id": r.PathValue("id")})
	})
	f.mux.Handle("POST /items/new", func(w http.ResponseWriter, r *web.Request) error {
		if err := web.ReadBody(w, r); err != nil {
			return err
		}
		return web.Respond(w, http.StatusCreated, string(r.Content))
	})
	f.mux.Handle("GET /panic", func(http.ResponseWriter, *web.Request) error { panic("a defect") })
	f.mux.Handle("GET /wrapped", web.Wrap(http.NotFoundHandler()))
	return f
}

func (f *fixture) do(method, path string, body io.Reader) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.mux.ServeHTTP(w, httptest.NewRequest(method, path, body))
	return w
}

func TestMux(t *testing.T) {
	f := newFixture(web.Options{})
	for _, tc := range []struct {
		method, path, body string
		status             int
		want, allow        string
	}{
		{"GET", "/items/7", "", 200, `{"id":"7"}`, ""},
		{"GET", "/items/%3C%26", "", 200, `{"id":"<&"}`, ""},
		{"GET", "/items/new", "", 405, `{"message":"Method Not Allowed","code":"method_not_allowed"}`, "POST"},
		{"POST", "/items/7", "", 405, `{"message":"Method Not Allowed","code":"method_not_allowed"}`, "GET, HEAD"},
		{"GET", "/nowhere", "", 404, `{"error":"Not Found","message":"Not Found"}`, ""},
		{"GET", "/items//7", "", 404, `{"error":"Not Found","message":"Not Found"}`, ""},
		{"POST", "/items/new", "abc", 201, `"abc"`, ""},
		{"POST", "/items/new", strings.Repeat("x", web.MaxBody), 201, `"` + strings.Repeat("x", web.MaxBody) + `"`, ""},
		{"POST", "/items/new", strings.Repeat("x", web.MaxBody+1), 413, `{"message":"The request body is larger than 64 KiB.","code":"request_too_large"}`, ""},
		{"GET", "/panic", "", 500, `{"message":"Internal Server Error","code":"internal_error"}`, ""},
		{"GET", "/wrapped", "", 404, "404 page not found\n", ""},
	} {
		w := f.do(tc.method, tc.path, strings.NewReader(tc.body))
		if w.Code != tc.status || w.Body.String() != tc.want || w.Header().Get("Allow") != tc.allow {
			t.Errorf("%s %s = %d %.200s, Allow %q; want %d %.200s, %q",
				tc.method, tc.path, w.Code, w.Body, w.Header().Get("Allow"), tc.status, tc.want, tc.allow)
		}
		if id := w.Header()[strings.ToLower("X-Request-Id")]; len(id) != 1 || len(id[0]) != 36 {
			t.Errorf("%s %s has the request id %q", tc.method, tc.path, id)
		}
	}
	if !strings.Contains(f.log.String(), "panic: a defect") {
		t.Error("the panic is not in the log")
	}
}

func TestABodyOfUnknownLengthIsLimited(t *testing.T) {
	f := newFixture(web.Options{})
	unknown := func(n int) io.Reader { return io.MultiReader(strings.NewReader(strings.Repeat("x", n))) }
	if w := f.do("POST", "/items/new", unknown(web.MaxBody)); w.Code != http.StatusCreated {
		t.Errorf("%d %.100s; want 201", w.Code, w.Body)
	}
	if w := f.do("POST", "/items/new", unknown(web.MaxBody+1)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %.100s; want 413", w.Code, w.Body)
	}
}

// TestErrors has a face with its own kinds of errors.
func TestErrors(t *testing.T) {
	errOwn, errTest, errBusy := errors.New("own"), errors.New("test number"), errors.New("busy")
	f := newFixture(web.Options{Describe: func(err error) web.Problem {
		p := web.Describe(err, append([]web.Kind{
			{Err: errOwn, Status: http.StatusUnauthorized, Message: "Unauthorized"},
			{Err: errTest, Status: http.StatusServiceUnavailable, Code: web.Unavailable, Message: "Simulated"},
			{Err: errBusy, Status: http.StatusServiceUnavailable, Code: web.Unavailable, Message: "Busy"},
		}, web.Kinds()...))
		p.Simulated = errors.Is(err, errTest)
		return p
	}})
	for _, tc := range []struct {
		name             string
		err              error
		status           int
		retryAfter       string
		isLogged, isSeen bool
	}{
		{"own kind", errOwn, 401, "", false, true},
		{"unknown error", errors.New("defect"), 500, "", true, true},
		{"simulated", errTest, 503, "1", false, false},
		{"unavailable", errBusy, 503, "1", true, true},
		{"crowded", web.ErrCrowded, 503, "1", false, true},
		{"late body", web.ErrLate, 503, "1", false, true},
		{"rate limit", &web.RateError{Wait: 1500 * time.Millisecond}, 429, "2", false, true},
		{"rate limit without a wait", &web.RateError{}, 429, "1", false, true},
		{"long rate limit", &web.RateError{Wait: time.Hour}, 429, "", false, true},
		{"unreadable body", &web.BodyError{Cause: errors.New("cut short")}, 400, "", false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.mux.Handle("GET /"+strings.ReplaceAll(tc.name, " ", "-"), func(http.ResponseWriter, *web.Request) error { return tc.err })
			f.log.Reset()
			f.observed = nil
			w := f.do("GET", "/"+strings.ReplaceAll(tc.name, " ", "-"), nil)
			var p web.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != tc.status || p.Message == "" {
				t.Errorf("answered %d %s; want %d", w.Code, w.Body, tc.status)
			}
			if got := w.Header().Get("Retry-After"); got != tc.retryAfter {
				t.Errorf("Retry-After = %q; want %q", got, tc.retryAfter)
			}
			if got := strings.Contains(f.log.String(), `"level":"ERROR"`); got != tc.isLogged {
				t.Errorf("logged as an error: %t; want %t", got, tc.isLogged)
			}
			if got := len(f.observed) == 1; got != tc.isSeen {
				t.Errorf("observed %q; want an observation: %t", f.observed, tc.isSeen)
			}
		})
	}
}

func TestAnErrorAfterAnAnswerSendsNothing(t *testing.T) {
	f := newFixture(web.Options{})
	f.mux.Handle("GET /late", func(w http.ResponseWriter, _ *web.Request) error {
		io.WriteString(w, "done")
		return errors.New("too late")
	})
	if w := f.do("GET", "/late", nil); w.Code != http.StatusOK || w.Body.String() != "done" {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

func TestGate(t *testing.T) {
	opts := web.Options{Logger: slog.New(slog.DiscardHandler)}
	gate := web.NewGate[string](1, opts)
	mux := web.NewMux(opts)
	inside, leave := make(chan bool), make(chan bool)
	mux.Handle("GET /{tenant}", func(w http.ResponseWriter, r *web.Request) error {
		return gate.Serve(w, r, r.PathValue("tenant"), func(w http.ResponseWriter, r *web.Request) error {
			if r.URL.RawQuery == "wait" {
				inside <- true
				<-leave
			}
			return web.Respond(w, http.StatusOK, "done")
		})
	})
	get := func(target string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		return w
	}
	ended := make(chan bool)
	go func() { get("/a?wait"); ended <- true }()
	<-inside
	if w := get("/a"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Connection") != "close" {
		t.Errorf("a second request of the tenant: %d, Connection %q; want 503, close", w.Code, w.Header().Get("Connection"))
	}
	if w := get("/b"); w.Code != http.StatusOK {
		t.Errorf("a request of another tenant: %d; want 200", w.Code)
	}
	leave <- true
	<-ended
	if w := get("/a"); w.Code != http.StatusOK {
		t.Errorf("after the first request: %d; want 200", w.Code)
	}
}
