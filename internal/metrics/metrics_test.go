package metrics_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/countersign-mfa/countersign/internal/metrics"
)

// scrape returns the metrics in the format for Prometheus.
func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if kind := w.Header().Get("Content-Type"); w.Code != http.StatusOK || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Fatalf("GET /metrics = %d, %s: %s", w.Code, kind, w.Body)
	}
	return w.Body.String()
}

// shows checks that a scrape contains each of the lines.
func shows(t *testing.T, m *metrics.Metrics, lines ...string) {
	t.Helper()
	all := strings.Split(scrape(t, m), "\n")
	for _, line := range lines {
		if !slices.Contains(all, line) {
			name, _, _ := strings.Cut(line, "{")
			all = slices.DeleteFunc(slices.Clone(all), func(l string) bool { return !strings.HasPrefix(l, name) })
			t.Errorf("%s is missing in\n%s", line, strings.Join(all, "\n"))
		}
	}
}

func TestRequests(t *testing.T) {
	m := metrics.New("v1.2.3")
	const verify = "POST /auth/challenges/{id}/verify"
	m.Request(verify, "POST", 200, 400*time.Microsecond)
	m.Request(verify, "POST", 200, 20*time.Millisecond)
	m.Request(verify, "POST", 422, 20*time.Second)
	m.Request("", "other", 405, 0)
	const count, took = "countersign_http_requests_total", "countersign_http_request_duration_seconds"
	shows(t, m,
		count+`{method="POST",route="`+verify+`",status="200"} 2`,
		count+`{method="POST",route="`+verify+`",status="422"} 1`,
		count+`{method="other",route="unknown",status="405"} 1`,
		took+`_bucket{route="`+verify+`",le="0.0005"} 1`,
		took+`_bucket{route="`+verify+`",le="0.01"} 1`,
		took+`_bucket{route="`+verify+`",le="0.025"} 2`,
		took+`_bucket{route="`+verify+`",le="15"} 2`,
		took+`_bucket{route="`+verify+`",le="+Inf"} 3`,
		took+`_sum{route="`+verify+`"} 20.0204`,
		took+`_count{route="unknown"} 1`,
		`countersign_build_info{version="v1.2.3"} 1`,
	)
}

// TestNewRoutesRace has many goroutines that each count the first answer of a kind.
func TestNewRoutesRace(t *testing.T) {
	m := metrics.New("v1.2.3")
	const callers, kinds = 16, 200
	var all sync.WaitGroup
	begin := make(chan bool)
	for range callers {
		all.Go(func() {
			<-begin
			for i := range kinds {
				m.Request("GET /"+strconv.Itoa(i), "GET", 200+i%3, time.Millisecond)
			}
		})
	}
	close(begin)
	all.Wait()
	var want []string
	for i := range kinds {
		want = append(want, fmt.Sprintf(`countersign_http_requests_total{method="GET",route="GET /%d",status="%d"} %d`, i, 200+i%3, callers))
	}
	shows(t, m, want...)
}

func TestStatesAreReadAtEveryScrape(t *testing.T) {
	m := metrics.New("v1.2.3")
	waiting, paused := 7, true
	m.Queue(func() int { return waiting })
	m.Connections(func() int { return 3 * waiting }, 4096)
	m.Clock(func() float64 { return -0.25 })
	m.Providers(func() []metrics.Provider {
		return []metrics.Provider{
			{Name: "first", Paused: paused, Accepted: 1, Refused: 2, Unavailable: 3, Uncertain: 4},
			{Name: "second"},
		}
	})
	m.Try("first", 300*time.Millisecond)
	const tries, took = "countersign_sms_provider_tries_total", "countersign_sms_provider_duration_seconds"
	shows(t, m,
		`countersign_store_queue_length 7`,
		`countersign_http_connections 21`,
		`countersign_clock_ahead_seconds -0.25`,
		`countersign_http_connections_limit 4096`,
		tries+`{provider="first",result="accepted"} 1`,
		tries+`{provider="first",result="refused"} 2`,
		tries+`{provider="first",result="unavailable"} 3`,
		tries+`{provider="first",result="uncertain"} 4`,
		tries+`{provider="second",result="accepted"} 0`,
		`countersign_sms_provider_paused{provider="first"} 1`,
		`countersign_sms_provider_paused{provider="second"} 0`,
		took+`_bucket{provider="first",le="0.25"} 0`,
		took+`_bucket{provider="first",le="0.5"} 1`,
		took+`_count{provider="second"} 0`,
	)
	waiting, paused = 0, false
	shows(t, m, `countersign_store_queue_length 0`, `countersign_sms_provider_paused{provider="first"} 0`)
}

func TestNothingElseIsServed(t *testing.T) {
	s := httptest.NewServer(metrics.New("v1.2.3").Handler())
	defer s.Close()
	for _, tc := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/metrics", http.StatusOK},
		{"POST", "/metrics", http.StatusMethodNotAllowed},
		{"GET", "/metrics/", http.StatusNotFound},
		{"GET", "/", http.StatusNotFound},
		{"GET", "/debug/pprof/", http.StatusNotFound},
		{"GET", "/healthz", http.StatusNotFound},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, s.URL+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%s %s: %d; want %d", tc.method, tc.path, resp.StatusCode, tc.want)
		}
	}
}

func TestNamesFollowTheConventions(t *testing.T) {
	m := metrics.New("v1.2.3")
	m.Queue(func() int { return 0 })
	m.Connections(func() int { return 0 }, 1)
	m.Providers(func() []metrics.Provider { return []metrics.Provider{{Name: "first"}} })
	m.Request("GET /healthz", "GET", 200, 0)
	m.Event("factor.locked")
	text := scrape(t, m)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, family := range []string{"countersign_http_requests_total counter", "countersign_http_request_duration_seconds histogram",
		"countersign_sms_provider_tries_total counter", "countersign_sms_provider_paused gauge",
		"countersign_sms_provider_duration_seconds histogram", "countersign_store_queue_length gauge", "countersign_events_total counter",
		"countersign_build_info gauge", "go_goroutines gauge"} {
		if !strings.Contains(text, "# TYPE "+family+"\n") {
			t.Errorf("%s is missing", family)
		}
	}
}

func TestARequestAllocatesNothing(t *testing.T) {
	m := metrics.New("v1.2.3")
	n := testing.AllocsPerRun(100, func() {
		m.Request("GET /healthz", "GET", 200, time.Millisecond)
		m.Request("GET /readyz", "GET", 503, time.Millisecond)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	m := metrics.New("v1.2.3")
	for i := range 50 { // a server gives about as many kinds of answers
		m.Request("GET /"+strconv.Itoa(i), "GET", 200, time.Millisecond)
	}
	b.Run("callers=1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Request("POST /auth/challenges/{id}/verify", "POST", 200, 3*time.Millisecond)
		}
	})
	b.Run("callers=all", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				m.Request("POST /auth/challenges/{id}/verify", "POST", 200, 3*time.Millisecond)
			}
		})
	})
}

func TestTheSinkShowsItsState(t *testing.T) {
	m := metrics.New("v1.2.3")
	m.Sink(func() (active bool, lag time.Duration, written, failed int64) {
		return true, 1500 * time.Millisecond, 7, 2
	})
	shows(t, m,
		"countersign_events_sink_active 1",
		"countersign_events_sink_lag_seconds 1.5",
		"countersign_events_sink_written_total 7",
		"countersign_events_sink_failures_total 2",
	)
	if problems, err := promlint.New(strings.NewReader(scrape(t, m))).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestTheHealthOfAServerIsReadAtEveryScrape(t *testing.T) {
	m := metrics.New("v1.2.3")
	ready, used := true, 0.85
	var end time.Time
	m.Ready(func() bool { return ready })
	m.Certificate(func() time.Time { return end })
	m.DailyMessages(func() float64 { return used })
	m.TaskFailed(metrics.TaskSweep)
	shows(t, m,
		`countersign_ready 1`,
		`countersign_sms_daily_used_ratio 0.85`,
		`countersign_maintenance_failures_total{task="sweep"} 1`,
		`countersign_maintenance_failures_total{task="statistics"} 0`,
	)
	if text := scrape(t, m); strings.Contains(text, "certificate") {
		t.Errorf("a certificate without an end is shown:\n%s", text)
	}
	ready, end = false, time.Unix(1_900_000_000, 5)
	shows(t, m, `countersign_ready 0`, `countersign_tls_certificate_expiry_timestamp_seconds 1.9e+09`)
	if problems, err := promlint.New(strings.NewReader(scrape(t, m))).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestDisabledEndpointsAreShown(t *testing.T) {
	m := metrics.New("v1.2.3")
	m.Webhooks([]string{"delivered"}, func() (waiting int, lag float64, disabled int) { return 3, 1.5, 2 })
	shows(t, m, `countersign_webhook_deliveries_waiting 3`, `countersign_webhook_lag_seconds 1.5`, `countersign_webhook_endpoints_disabled 2`)
}
