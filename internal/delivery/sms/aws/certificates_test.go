package aws_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
)

// A hangingSNS does not answer. It counts the calls that wait for an answer.
type hangingSNS struct{ waiting, most, calls atomic.Int64 }

func (h *hangingSNS) RoundTrip(r *http.Request) (*http.Response, error) {
	h.calls.Add(1)
	if n := h.waiting.Add(1); n > h.most.Load() {
		h.most.Store(n)
	}
	defer h.waiting.Add(-1)
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// forgedSNS returns a post whose signature cannot be checked without certificate n.
func forgedSNS(t testing.TB, n int) []byte {
	p := snsNotification(eventJSON("TEXT_DELIVERED"))
	p["SigningCertURL"] = fmt.Sprintf("https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-%032x.pem", n)
	p["Signature"] = strings.Repeat("QUJD", 86) // 258 bytes
	return p.body(t)
}

func TestCallbacksWhileSNSHangs(t *testing.T) {
	hideAWSConfig(t)
	for _, tc := range []struct {
		name  string
		posts func(i int) int // the number of the certificate that a post names
	}{
		{"one certificate", func(int) int { return 1 }},
		{"a certificate for each post", func(i int) int { return i }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hanging := &hangingSNS{}
				o := testOptions("")
				o.TopicARN, o.TopicClient = testTopic, &http.Client{Transport: hanging}
				o.Now = func() time.Time { return fixedNow.Add(time.Since(synctestStart)) }
				g := &smstest.Recorder{}
				c := sms.NewCallbacks([]sms.Named{
					{Name: "aws", Provider: open(t, o)},
					{Name: "gateway", Provider: smstest.NewGateway(t)},
				}, g.Record, slog.New(slog.DiscardHandler))
				start := time.Now()
				var answered atomic.Int64
				var slowest atomic.Int64
				var all sync.WaitGroup
				for i := range 500 {
					body := forgedSNS(t, tc.posts(i))
					all.Go(func() {
						w := smstest.Call(c, "aws", httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body)))
						if w.Code != http.StatusServiceUnavailable {
							t.Errorf("a post is answered %d; want 503", w.Code)
						}
						answered.Add(1)
						slowest.Store(max(slowest.Load(), int64(time.Since(start))))
					})
				}
				synctest.Wait()
				if left := 500 - answered.Load(); left < 1 || left > 16 {
					t.Errorf("%d posts wait; want 1 to 16", left)
				}
				// The post of another provider is accepted at once.
				if w := smstest.Call(c, "gateway", smstest.GatewayPost(`{"id":"gw:1","state":"delivered"}`)); w.Code != http.StatusOK || time.Since(start) != 0 {
					t.Errorf("a receipt of another provider: %d after %v; want 200 at once", w.Code, time.Since(start))
				}
				all.Wait()
				if took := time.Duration(slowest.Load()); took > 2*time.Second {
					t.Errorf("a post waited for %v; want at most 2s", took)
				}
				time.Sleep(time.Minute) // of the bubble's clock
				if hanging.waiting.Load() != 0 || hanging.most.Load() > 2 || hanging.calls.Load() > 2 {
					t.Errorf("%d fetches wait; %d were made, %d at once; want 0, and at most 2", hanging.waiting.Load(), hanging.calls.Load(), hanging.most.Load())
				}
			})
		})
	}
}

// synctestStart is the first time of the clock of each bubble.
var synctestStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestCertificatesAreKept(t *testing.T) {
	hideAWSConfig(t)
	d := newSNSDouble(t)
	now := fixedNow
	a := openReceiver(t, d, func() time.Time { return now })
	genuine := snsNotification(eventJSON("TEXT_DELIVERED")).sign(t, signingKeys()[0]).body(t)
	check := func(want error, calls int) {
		t.Helper()
		if _, err := receive(t, a, genuine); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("Receipts = %v; want %v", err, want)
		}
		if n := len(d.calls); n != calls {
			t.Errorf("%d certificates were fetched; want %d", n, calls)
		}
	}

	d.status = http.StatusServiceUnavailable
	if _, err := receive(t, a, genuine); err == nil || errors.Is(err, sms.ErrSignature) {
		t.Errorf("Receipts = %v; want an error after which SNS tries again", err)
	}
	d.status = 0
	now = now.Add(4 * time.Second) // a failure is kept for 5 s
	if _, err := receive(t, a, genuine); err == nil || len(d.calls) != 1 {
		t.Errorf("Receipts 4 s later = %v, %d fetches; want the same failure, and 1", err, len(d.calls))
	}
	now = now.Add(time.Second)
	check(nil, 2)
	d.broken = errors.New("no route")
	for range 3 { // the certificate is kept
		now = now.Add(20 * time.Minute)
		check(nil, 2)
	}
}

// A caller that gives up does not end the fetch for other callers.
func TestFetchOutlivesItsCaller(t *testing.T) {
	hideAWSConfig(t)
	synctest.Test(t, func(t *testing.T) {
		d := newSNSDouble(t)
		o := testOptions("")
		o.TopicARN, o.Now = testTopic, func() time.Time { return fixedNow }
		o.TopicClient = &http.Client{Transport: slowSNS{d}}
		a := open(t, o)
		body := snsNotification(eventJSON("TEXT_DELIVERED")).sign(t, signingKeys()[0]).body(t)
		check := func(ctx context.Context) error {
			_, err := a.Receipts(httptest.NewRequest(http.MethodPost, "/", nil).WithContext(ctx), body)
			return err
		}
		caller, hangUp := context.WithCancel(t.Context())
		var first, second error
		var both sync.WaitGroup
		both.Go(func() { first = check(caller) })
		synctest.Wait()
		both.Go(func() { second = check(t.Context()) })
		synctest.Wait()
		hangUp()
		both.Wait()
		if first == nil || errors.Is(first, sms.ErrSignature) || second != nil || len(d.calls) != 1 {
			t.Errorf("Receipts = %v, and %v for the other; want an error, nil and one fetch, not %d", first, second, len(d.calls))
		}
	})
}

// slowSNS answers after a second.
type slowSNS struct{ *snsDouble }

func (s slowSNS) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(time.Second):
		return s.snsDouble.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}
