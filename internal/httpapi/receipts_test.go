package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/aws"
	"github.com/countersign-mfa/countersign/internal/httpapi"
	"github.com/countersign-mfa/countersign/internal/secret"
)

func TestReceiptsReachTheirHandler(t *testing.T) {
	var provider, query, body string
	var log bytes.Buffer
	w := newFixture(t, setup{log: &log, api: httpapi.Options{
		Callbacks: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			provider, query, body = r.PathValue("provider"), r.URL.RawQuery, string(got)
			w.WriteHeader(http.StatusForbidden)
		}),
	}})
	for _, tc := range []struct{ method, target, body, provider, query string }{
		{"GET", "/sms/receipts/bird?status=sent&id=b+c%20d;e", "", "bird", "status=sent&id=b+c%20d;e"},
		{"POST", "/sms/receipts/twilio-main", "MessageStatus=sent", "twilio-main", ""},
		{"POST", "/sms/receipts/a%2Fb", "{", "a/b", ""},
	} {
		t.Run(tc.target, func(t *testing.T) {
			provider, query, body = "", "", ""
			r := w.on(t).do(tc.method, tc.target, tc.body, "Authorization:")
			if r.status != http.StatusForbidden || r.body != "" || r.header["X-Request-Id"] == nil {
				t.Errorf("%d %q, %v; want the answer of the handler, with an id", r.status, r.body, r.header)
			}
			if provider != tc.provider || query != tc.query || body != tc.body {
				t.Errorf("the handler got %q, %q, %q", provider, query, body)
			}
		})
	}
	for _, target := range []string{"/sms/receipts", "/sms/receipts/", "/sms/receipts/a/b"} {
		w.get(target).is(http.StatusNotFound)
	}
	w.do("DELETE", "/sms/receipts/bird", "").is(http.StatusMethodNotAllowed)
	if strings.Contains(log.String(), "twilio-main") || !strings.Contains(log.String(), "POST /sms/receipts/{provider}") {
		t.Errorf("the log shows more than the pattern, or less:\n%s", &log)
	}
}

func TestReceiptsHaveNoPathWithoutAHandler(t *testing.T) {
	newFixture(t, setup{}).do("POST", "/sms/receipts/twilio", "", "Authorization:").says(http.StatusNotFound, noRoute)
}

// hangingSNS does not answer. It counts the calls that wait for an answer.
type hangingSNS struct{ waiting, most atomic.Int64 }

func (h *hangingSNS) RoundTrip(r *http.Request) (*http.Response, error) {
	n := h.waiting.Add(1)
	defer h.waiting.Add(-1)
	for most := h.most.Load(); n > most && !h.most.CompareAndSwap(most, n); most = h.most.Load() {
	}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestForgedReceiptsDelayNoRequest posts receipts that name certificates of an SNS that
// does not answer. The server still serves clients with a key.
func TestForgedReceiptsDelayNoRequest(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	const topic = "arn:aws:sns:eu-central-1:123456789012:sms-events"
	hanging := &hangingSNS{}
	provider, err := aws.New(aws.Options{
		Region: "eu-central-1", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: secret.NewString("not a key"),
		TopicARN: topic, TopicClient: &http.Client{Transport: hanging},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := newFixture(t, setup{api: httpapi.Options{MaxRequests: 8, RateLimit: 1 << 20, Callbacks: sms.NewCallbacks(
		[]sms.Named{{Name: "aws", Provider: provider}},
		func(context.Context, string, sms.Receipt) error { return nil }, slog.New(slog.DiscardHandler))}})
	factor := w.generic()
	before := runtime.NumGoroutine()
	var posts sync.WaitGroup
	var slowest atomic.Int64
	for i := range 300 {
		posts.Go(func() {
			start := time.Now()
			body := fmt.Sprintf(`{"Type":"Notification","TopicArn":%q,"Timestamp":%q,"SignatureVersion":"2","Signature":%q,`+
				`"SigningCertURL":"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-%032x.pem"}`,
				topic, start.UTC().Format(time.RFC3339), strings.Repeat("QUJD", 86), i%3)
			w.do("POST", "/sms/receipts/aws", body, "Authorization:").is(http.StatusServiceUnavailable)
			slowest.Store(max(slowest.Load(), int64(time.Since(start))))
		})
	}
	done := make(chan struct{})
	go func() { posts.Wait(); close(done) }()
	for waiting := true; waiting; {
		start := time.Now()
		w.get("/auth/factors/" + factor).is(http.StatusOK)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("a caller with a key waited for %v", took)
		}
		select {
		case <-done:
			waiting = false
		default:
		}
	}
	if took := time.Duration(slowest.Load()); took > 10*time.Second {
		t.Errorf("a forged post was answered after %v", took)
	}
	if most := hanging.most.Load(); most < 1 || most > 2 {
		t.Errorf("%d certificates were fetched at once; want 1 or 2", most)
	}
	w.client.CloseIdleConnections()
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+20 && time.Now().Before(end); {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before+20 {
		t.Errorf("%d goroutines are left, of %d before", n, before)
	}
}

func TestProbesShareOneCheck(t *testing.T) {
	var running, most, calls atomic.Int64
	release := make(chan struct{})
	w := newFixture(t, setup{api: httpapi.Options{Ready: func(ctx context.Context) error {
		calls.Add(1)
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}})
	var probes sync.WaitGroup
	for range 50 {
		probes.Go(func() { w.get("/readyz", "Authorization:").is(http.StatusOK) })
	}
	for calls.Load() == 0 {
		runtime.Gosched()
	}
	w.get("/healthz", "Authorization:").is(http.StatusOK)
	close(release)
	probes.Wait()
	if most.Load() != 1 {
		t.Errorf("%d checks ran at once; want 1", most.Load())
	}
}
