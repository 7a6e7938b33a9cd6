package httpapi_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/httpapi"
)

// An observed request is one that Options.Observe was told of.
type observed struct {
	pattern, method string
	status          int
	took            time.Duration
}

func TestEveryAnswerIsObserved(t *testing.T) {
	var all []observed
	w := newWorld(t, setup{api: httpapi.Options{Observe: func(pattern, method string, status int, took time.Duration) {
		all = append(all, observed{pattern, method, status, took})
	}}})
	id := w.phone()
	w.carrier.fail(func(int) error { w.clock.advance(3 * time.Second); panic("the carrier broke") })
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

func TestWithoutAnObserverTheClockIsNotAsked(t *testing.T) {
	w := newWorld(t, setup{})
	var asked atomic.Int64
	for _, tc := range []struct {
		name    string
		observe func(pattern, method string, status int, took time.Duration)
		want    int64
	}{
		{"nobody", nil, 1},
		{"somebody", func(string, string, int, time.Duration) {}, 2},
	} {
		api, err := httpapi.New(w.service, w.access, httpapi.Options{
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
