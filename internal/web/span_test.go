package web_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/trace"
	"github.com/countersign-mfa/countersign/internal/web"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestSpansOfRequests(t *testing.T) {
	var mu sync.Mutex
	got := map[string]map[string]string{} // attributes by the name of the span
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var message struct {
			ResourceSpans []struct {
				ScopeSpans []struct {
					Spans []struct {
						Name       string
						Attributes []struct {
							Key   string
							Value map[string]string
						}
						Status struct{ Code int }
					}
				}
			}
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &message) != nil {
			t.Errorf("the collector received %s, %v", body, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, s := range message.ResourceSpans[0].ScopeSpans[0].Spans {
			attributes := map[string]string{}
			for _, a := range s.Attributes {
				attributes[a.Key] = a.Value["stringValue"] + a.Value["intValue"]
			}
			if s.Status.Code == 2 {
				attributes["failed"] = "yes"
			}
			got[s.Name] = attributes
		}
	}))
	defer collector.Close()
	tracer := trace.New(trace.Options{Endpoint: collector.URL, Ratio: 1, Logger: slog.New(slog.DiscardHandler)})
	f := newFixture(web.Options{Tracer: tracer})
	f.mux.Handle("GET /healthz", web.Wrap(http.NotFoundHandler()))
	f.mux.Handle("GET /aborted", func(http.ResponseWriter, *web.Request) error { panic(http.ErrAbortHandler) })
	f.do("GET", "/items/secret?code=secret", nil)
	f.do("POST", "/items/new", strings.NewReader("abc"))
	f.do("BREW", "/nowhere", nil)
	f.do("GET", "/healthz", nil)
	func() {
		defer func() { recover() }() // as net/http does
		f.do("GET", "/aborted", nil)
	}()
	r := httptest.NewRequest("GET", "/panic", nil)
	r.Header.Set("traceparent", parent)
	f.mux.ServeHTTP(httptest.NewRecorder(), r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tracer.Run(ctx)

	for name, want := range map[string]map[string]string{
		"GET /items/{id}": {"http.request.method": "GET", "http.route": "/items/{id}", "url.scheme": "http", "http.response.status_code": "200"},
		"GET /panic":      {"http.route": "/panic", "http.response.status_code": "500", "error.type": "internal_error", "failed": "yes"},
		"_OTHER":          {"http.request.method": "_OTHER", "http.route": "", "http.response.status_code": "404", "failed": ""},
		"GET /aborted":    {},
		"POST /items/new": {"http.response.status_code": "201"},
	} {
		if got[name] == nil {
			t.Errorf("there is no span %s", name)
		}
		for key, value := range want {
			if got[name][key] != value {
				t.Errorf("%s of %s is %q; want %q", key, name, got[name][key], value)
			}
		}
	}
	if len(got) != 5 {
		t.Errorf("the spans are %v", got)
	}
	text, err := json.Marshal(got)
	if err != nil || strings.Contains(string(text), "secret") {
		t.Errorf("the spans contain a path or a query: %s, %v", text, err)
	}
	if log := f.log.String(); !strings.Contains(log, `"code":"internal_error","trace":"4bf92f3577b34da6a3ce929d0e0e4736"`) {
		t.Errorf("the log has no id of the trace:\n%s", log)
	}
}

// TestRequestsWithoutATracerAllocateNothingMore compares requests with and without a traceparent, and
// with the number before there were spans.
func TestRequestsWithoutATracerAllocateNothingMore(t *testing.T) {
	m := web.NewMux(web.Options{Logger: slog.New(slog.DiscardHandler)})
	m.Handle("GET /empty", func(w http.ResponseWriter, _ *web.Request) error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/empty", nil)
	const most = 3 // as without the code for spans; one is of the race detector
	serve := func() { m.ServeHTTP(w, r) }
	without := testing.AllocsPerRun(1000, serve)
	r.Header.Set("traceparent", parent)
	with := testing.AllocsPerRun(1000, serve)
	if without > most || with > without {
		t.Errorf("a request allocates %v times, with a traceparent %v times; want at most %v", without, with, most)
	}
}

func BenchmarkARequest(b *testing.B) {
	m := web.NewMux(web.Options{Logger: slog.New(slog.DiscardHandler)})
	m.Handle("GET /empty", func(w http.ResponseWriter, _ *web.Request) error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/empty", nil)
	b.ReportAllocs()
	for b.Loop() {
		m.ServeHTTP(w, r)
	}
}
