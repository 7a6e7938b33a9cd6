package e2e_test

import (
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/pgtest"
)

// metricsURL returns the URL of a program's metrics, from its log.
func (p *program) metricsURL() string {
	p.t.Helper()
	return "http://" + p.await(p.log, `msg="serving metrics" addr=(\S+)`)[1] + "/metrics"
}

// get makes a request without an API key.
func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// scrape returns the metrics as soon as they contain a line. The server counts a
// request after the answer, so the caller may know the answer earlier.
func scrape(t testing.TB, url, line string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		status, body := get(t, url)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", url, status, body)
		}
		if strings.Contains(body, "\n"+line+"\n") {
			return body
		}
		if time.Now().After(deadline) {
			t.Fatalf("a scrape never had the line %s\n%s", line, strings.Join(ours(body), "\n"))
		}
	}
}

// ours returns the lines of a scrape that are about Countersign, without values that
// depend on durations.
func ours(scrape string) []string {
	return slices.DeleteFunc(strings.Split(scrape, "\n"), func(line string) bool {
		return !strings.HasPrefix(line, "countersign_") || strings.HasPrefix(line, "countersign_http_connections ") || strings.HasPrefix(line, "countersign_statistics_lag_seconds ") || strings.Contains(line, "_duration_seconds_bucket{") ||
			strings.Contains(line, "_duration_seconds_sum{") || strings.HasPrefix(line, "countersign_events_total") && strings.HasSuffix(line, " 0")
	})
}

// TestMetricsShowAFlowWithoutPersonalData sends one message through the second of
// two gateways. It checks the counts, and that the metrics contain no personal data.
func TestMetricsShowAFlowWithoutPersonalData(t *testing.T) {
	t.Parallel()
	const number = "+16073517112"
	dir := t.TempDir()
	down := &gateway{secret: strings.Repeat("first ", 8), status: http.StatusServiceUnavailable}
	up := &gateway{secret: strings.Repeat("second ", 8), status: http.StatusAccepted}
	logcapture.Secret(t, number, down.secret, up.secret)
	file := filepath.Join(dir, "sms.yaml")
	write(t, file, `
providers:
  - { name: first, type: webhook, url: "`+down.start(t)+`", secret: "`+down.secret+`" }
  - { name: second, type: webhook, url: "`+up.start(t)+`", secret: "`+up.secret+`" }
breaker: { failures: 1 }
`)
	store := storeIn(t, dir)
	p := serve(t, "--store", store, "--sms", file, "--sms-countries", "US", "--metrics-addr", "127.0.0.1:0")
	succeed(t, "environment", "create", "production", "--production", "--store", store)
	p.key = createKey(t, dir, "production")
	url, api := p.metricsURL(), p.api()
	scrape(t, url, `countersign_sms_provider_tries_total{provider="second",result="accepted"} 0`)

	factor := api.enroll(`{"type":"sms","phone_number":"` + number + `","user_id":"user_of_ada"}`)
	challenge := api.challenge(factor.ID)
	text := up.got()[0].Text
	code := text[len(text)-6:]
	logcapture.Secret(t, code)
	if api.verify(challenge.ID, wrong) || !api.verify(challenge.ID, code) {
		t.Fatal("the flow does not work")
	}
	get(t, p.url+"/nowhere/"+factor.ID)
	get(t, p.url+"/auth/factors/"+factor.ID)
	req, err := http.NewRequest("BREW", p.url+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	scrape(t, url, `countersign_http_requests_total{method="POST",route="POST /auth/factors/enroll",status="201"} 1`)
	body := scrape(t, url, `countersign_http_requests_total{method="other",route="unknown",status="405"} 1`)

	if !strings.Contains(body, "\ncountersign_statistics_lag_seconds ") {
		t.Error("the age of the statistics is not shown")
	}
	got, want := ours(body), []string{
		`countersign_build_info{version="` + strings.TrimPrefix(succeed(t, "version"), "countersign ") + `"} 1`,
		`countersign_events_total{type="authentication.mfa_failed"} 1`,
		`countersign_events_total{type="authentication.mfa_succeeded"} 1`,
		`countersign_events_total{type="challenge.created"} 1`,
		`countersign_events_total{type="factor.enrolled"} 1`,
		`countersign_events_total{type="message.queued"} 1`,
		`countersign_http_connections_limit 4096`,
		`countersign_http_request_duration_seconds_count{route="GET /auth/factors/{id}"} 1`,
		`countersign_http_request_duration_seconds_count{route="POST /auth/challenges/{id}/verify"} 2`,
		`countersign_http_request_duration_seconds_count{route="POST /auth/factors/enroll"} 1`,
		`countersign_http_request_duration_seconds_count{route="POST /auth/factors/{id}/challenge"} 1`,
		`countersign_http_request_duration_seconds_count{route="unknown"} 2`,
		`countersign_http_requests_total{method="GET",route="GET /auth/factors/{id}",status="401"} 1`,
		`countersign_http_requests_total{method="GET",route="unknown",status="404"} 1`,
		`countersign_http_requests_total{method="POST",route="POST /auth/challenges/{id}/verify",status="201"} 2`,
		`countersign_http_requests_total{method="POST",route="POST /auth/factors/enroll",status="201"} 1`,
		`countersign_http_requests_total{method="POST",route="POST /auth/factors/{id}/challenge",status="201"} 1`,
		`countersign_http_requests_total{method="other",route="unknown",status="405"} 1`,
		`countersign_maintenance_failures_total{task="expire"} 0`,
		`countersign_maintenance_failures_total{task="reseal"} 0`,
		`countersign_maintenance_failures_total{task="statistics"} 0`,
		`countersign_maintenance_failures_total{task="sweep"} 0`,
		`countersign_maintenance_failures_total{task="webhooks"} 0`,
		`countersign_ready 1`,
		`countersign_sms_daily_used_ratio 0`,
		`countersign_sms_provider_duration_seconds_count{provider="first"} 1`,
		`countersign_sms_provider_duration_seconds_count{provider="second"} 1`,
		`countersign_sms_provider_paused{provider="first"} 1`,
		`countersign_sms_provider_paused{provider="second"} 0`,
		`countersign_sms_provider_tries_total{provider="first",result="accepted"} 0`,
		`countersign_sms_provider_tries_total{provider="first",result="refused"} 0`,
		`countersign_sms_provider_tries_total{provider="first",result="unavailable"} 1`,
		`countersign_sms_provider_tries_total{provider="first",result="uncertain"} 0`,
		`countersign_sms_provider_tries_total{provider="second",result="accepted"} 1`,
		`countersign_sms_provider_tries_total{provider="second",result="refused"} 0`,
		`countersign_sms_provider_tries_total{provider="second",result="unavailable"} 0`,
		`countersign_sms_provider_tries_total{provider="second",result="uncertain"} 0`,
		`countersign_store_queue_length 0`,
		`countersign_webhook_attempts_total{outcome="address_not_allowed"} 0`,
		`countersign_webhook_attempts_total{outcome="connection_failed"} 0`,
		`countersign_webhook_attempts_total{outcome="delivered"} 0`,
		`countersign_webhook_attempts_total{outcome="gone"} 0`,
		`countersign_webhook_attempts_total{outcome="host_not_found"} 0`,
		`countersign_webhook_attempts_total{outcome="redirected"} 0`,
		`countersign_webhook_attempts_total{outcome="refused"} 0`,
		`countersign_webhook_attempts_total{outcome="timed_out"} 0`,
		`countersign_webhook_attempts_total{outcome="tls_failed"} 0`,
		`countersign_webhook_deliveries_waiting 0`,
		`countersign_webhook_endpoints_disabled 0`,
		`countersign_webhook_lag_seconds 0`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("a scrape shows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	labels := strings.Join(regexp.MustCompile(`\{.*\}`).FindAllString(body, -1), "\n")
	for _, id := range []string{factor.ID, challenge.ID, "user_of_ada", number[1:], code, p.key, down.secret[:6], dir} {
		if strings.Contains(labels, id) {
			t.Errorf("a label holds %s", id)
		}
	}
	if id := regexp.MustCompile(`(auth_factor|auth_challenge|environment|sk_live)_\w+|key_[0-9a-f]{8}\w*`).FindString(labels); id != "" {
		t.Errorf("a label holds %s", id)
	}
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("the linter says %v, %v", problems, err)
	}
}

func TestMetricsHaveAListenerOfTheirOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := dev(t, dir, "--metrics-addr", "127.0.0.1:0")
	url := p.metricsURL()
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/metrics")
	for _, tc := range []struct {
		url  string
		want int
	}{
		{url, http.StatusOK},
		{p.url + "/metrics", http.StatusNotFound},
		{"http://" + addr + "/healthz", http.StatusNotFound},
		{"http://" + addr + "/dev/inbox", http.StatusNotFound},
	} {
		if status, _ := get(t, tc.url); status != tc.want {
			t.Errorf("%s: %d; want %d", tc.url, status, tc.want)
		}
	}
	if !pgtest.Chosen() {
		p.api().want(http.StatusNoContent, "POST", "/dev/reset", "")
		if status, _ := get(t, url); status != http.StatusOK {
			t.Errorf("after a reset: %d", status)
		}
	}
	refuses(t, "--metrics-addr: listen tcp "+addr+": bind: address already in use",
		"serve", "--addr", "127.0.0.1:0", "--store", storeIn(t, t.TempDir()), "--log-level", "error", "--metrics-addr", addr)
	again := serveWith(t, []string{"COUNTERSIGN_METRICS_ADDR=127.0.0.1:0"}, "serve", "--addr", "127.0.0.1:0", "--log-format", "text",
		"--store", storeIn(t, t.TempDir()))
	if status, _ := get(t, again.metricsURL()); status != http.StatusOK {
		t.Errorf("with the variable of the environment: %d", status)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestThereAreNoMetricsUnlessAskedFor(t *testing.T) {
	t.Parallel()
	p := serve(t, "--store", storeIn(t, t.TempDir()))
	if status, _ := get(t, p.url+"/metrics"); status != http.StatusNotFound {
		t.Errorf("/metrics = %d", status)
	}
	p.stop()
	if strings.Contains(p.log.String(), "serving metrics") {
		t.Error("it serves metrics")
	}
}
