package httpapi_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/httpapi"
)

// An observed request is one call of Options.Observe.
type observed struct {
	pattern, method string
	status          int
	took            time.Duration
}

func TestEveryAnswerIsObserved(t *testing.T) {
	var all []observed
	w := newFixture(t, setup{api: httpapi.Options{Observe: func(pattern, method string, status int, took time.Duration) {
		all = append(all, observed{pattern, method, status, took})
	}}})
	id := w.phone()
	w.carrier.Fail(func(int) error { w.clock.Advance(3 * time.Second); panic("the carrier broke") })
	all = nil
	for _, r := range []struct{ method, path, body string }{
		{"GET", "/auth/factors/" + id, ""},
		{"POST", "/auth/factors/" + id + "/challenge", ""},
		{"GET", "/auth/factors/" + id + "/nowhere", ""},
		{"BREW", "/healthz", ""},
		{"HEAD", "/healthz", ""},
	} {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(r.method, r.path, nil)
		req.Header.Set("Authorization", "Bearer "+w.key)
		w.api.ServeHTTP(rec, req)
	}
	want := []observed{
		{"GET /auth/factors/{id}", "GET", http.StatusOK, 0},
		{"POST /auth/factors/{id}/challenge", "POST", http.StatusInternalServerError, 3 * time.Second},
		{"", "GET", http.StatusNotFound, 0},
		{"", "other", http.StatusMethodNotAllowed, 0},
		{"GET /healthz", "HEAD", http.StatusOK, 0},
	}
	if !slices.Equal(all, want) {
		t.Errorf("observed\n%v; want\n%v", all, want)
	}
}

// A failure that a test number simulates raises no alert: it is neither counted nor
// logged as an error.
func TestSimulatedFailureRaisesNoAlert(t *testing.T) {
	var all []observed
	var log bytes.Buffer
	w := newFixture(t, setup{log: &log, api: httpapi.Options{
		Observe: func(pattern, method string, status int, _ time.Duration) {
			all = append(all, observed{pattern, method, status, 0})
		},
	}})
	number := func(n string) string { return w.enroll(`{"type":"sms","phone_number":"` + n + `"}`) }
	lost, real := number("+15005550001"), number("+16073517112")
	w.carrier.Fail(func(int) error { return errors.New("carrier down") })
	all = nil
	log.Reset()
	for range 3 {
		w.post("/auth/factors/"+lost+"/challenge", `{}`).says(503, `{"message":"The message could not be delivered.","code":"sms_delivery_failed"}`)
	}
	if len(all) != 0 || strings.Contains(log.String(), `"level":"ERROR"`) || strings.Contains(log.String(), `"level":"WARN"`) {
		t.Errorf("observed %v, logged\n%s", all, &log)
	}
	if n := strings.Count(log.String(), `"status":503`); n != 3 {
		t.Errorf("%d answers were logged; want 3:\n%s", n, &log)
	}
	w.post("/auth/factors/"+real+"/challenge", `{}`).is(503)
	if len(all) != 1 || all[0].status != 503 || !strings.Contains(log.String(), `"level":"ERROR"`) {
		t.Errorf("of a real failure: observed %v, logged\n%s", all, &log)
	}
}

func TestWithoutAnObserverTheClockIsNotAsked(t *testing.T) {
	w := newFixture(t, setup{})
	var asked atomic.Int64
	for _, tc := range []struct {
		name    string
		observe func(pattern, method string, status int, took time.Duration)
		want    int64
	}{
		{"no function", nil, 1},
		{"a function", func(string, string, int, time.Duration) {}, 2},
	} {
		api, err := httpapi.New(w.service, w.access, events.NewService(w.store, events.Options{}), httpapi.Options{
			Logger:  slog.New(slog.DiscardHandler),
			Now:     func() time.Time { asked.Add(1); return time.Now() },
			Observe: tc.observe,
		})
		if err != nil {
			t.Fatal(err)
		}
		asked.Store(0)
		api.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/healthz", nil))
		if n := asked.Load(); n != tc.want {
			t.Errorf("observed by %s, a request asks the clock %d times; want %d", tc.name, n, tc.want)
		}
	}
}
