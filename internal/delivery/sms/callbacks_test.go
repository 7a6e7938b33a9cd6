package sms_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
)

// A registry keeps receipts, as "provider id state reason".
type registry struct {
	kept []string
	err  error // of every receipt
}

func (g *registry) record(_ context.Context, provider string, r sms.Receipt) error {
	g.kept = append(g.kept, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", provider, r.ID, r.State, r.Reason)))
	return g.err
}

// callBack hands a callback to a provider to Callbacks, as a server does.
func callBack(c *sms.Callbacks, provider string, r *http.Request) *httptest.ResponseRecorder {
	r.SetPathValue("provider", provider)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// gatewayPost is what a gateway posts, signed.
func gatewayPost(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/sms/receipts/gateway", strings.NewReader(body))
	r.Header.Set("Countersign-Signature", gatewaySign(wireSecret, gatewayNow, []byte(body)))
	return r
}

func TestCallbacks(t *testing.T) {
	awsAlone(t)
	unreachable := newSNSDouble(t)
	unreachable.broken = errors.New("no route to host")
	providers := []sms.Named{
		{Name: "gateway", Provider: openGateway(t, "https://gateway.example.com/", nil)},
		{Name: "bird", Provider: openBird(t, "", nil)},
		{Name: "aws", Provider: awsReceiver(t, newSNSDouble(t), func() time.Time { return awsNow })},
		{Name: "aws-alone", Provider: awsReceiver(t, unreachable, func() time.Time { return awsNow })},
		{Name: "mute", Provider: &fakeService{}},
	}
	const delivered = `{"id":"gw:1","state":"delivered"}`
	unsigned := func() *http.Request {
		return httptest.NewRequest(http.MethodPost, "/", strings.NewReader(delivered))
	}
	report := birdReport(birdID, "delivered")
	event := string(snsNotification(awsEvent("TEXT_BLOCKED")).sign(t, awsKeys()[0]).body(t))
	sns := func() *http.Request { return httptest.NewRequest(http.MethodPost, "/", strings.NewReader(event)) }
	for _, tc := range []struct {
		name, provider string
		request        *http.Request
		record         error
		status         int
		kept, logged   string // logged "" is nothing
	}{
		{"posted", "gateway", gatewayPost(delivered), nil, 200, "gateway gw:1 delivered", ""},
		{"got, with a query of any form", "bird", birdRequest("z=%7e&;x&" + report), nil, 400, "", "bird"},
		{"got", "bird", birdRequest(report), nil, 200, "bird " + birdID + " delivered", ""},
		{"of SNS", "aws", sns(), nil, 200, "aws 862a8790-60c0-4430-9b2b-000000000001 undelivered BLOCKED", ""},
		{"about nothing known", "gateway", gatewayPost(`{"id":"gw:1","state":"teleported"}`), nil, 400, "", `level=WARN msg="callback refused" provider=gateway error="the callback is malformed"`},
		{"of the largest size", "gateway", gatewayPost(delivered + strings.Repeat(" ", 64<<10-len(delivered))), nil, 200, "gateway gw:1 delivered", ""},
		{"too large", "gateway", gatewayPost(delivered + strings.Repeat(" ", 64<<10+1-len(delivered))), nil, 413, "", ""},
		{"cut short", "gateway", httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(errors.New("reset"))), nil, 400, "", ""},
		{"unsigned", "gateway", unsigned(), nil, 403, "", `level=INFO msg="callback refused: its signature is wrong" provider=gateway`},
		{"malformed", "gateway", gatewayPost(`{"id":"` + wireNumber), nil, 400, "", `provider=gateway error="the callback is malformed"`},
		{"not to be checked now", "aws-alone", sns(), nil, 503, "", "provider=aws-alone"},
		{"not to be kept now", "gateway", gatewayPost(delivered), errors.New("store is full"), 503, "gateway gw:1 delivered", `provider=gateway error="store is full"`},
		{"to a provider that reports nothing", "mute", gatewayPost(delivered), nil, 404, "", ""},
		{"to an unknown provider", "nobody", gatewayPost(delivered), nil, 404, "", ""},
		{"to another provider", "bird", gatewayPost(delivered), nil, 403, "", "provider=bird"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log bytes.Buffer
			g := &registry{err: tc.record}
			c := sms.NewCallbacks(providers, g.record, slog.New(slog.NewTextHandler(&log, nil)))
			w := callBack(c, tc.provider, tc.request)
			if w.Code != tc.status || w.Body.Len() != 0 || strings.Join(g.kept, ";") != tc.kept {
				t.Errorf("%d %q, kept %q; want %d without a body, %q", w.Code, w.Body, g.kept, tc.status, tc.kept)
			}
			lines := strings.Count(log.String(), "\n")
			if !strings.Contains(log.String(), tc.logged) || (lines > 0) != (tc.logged != "") || lines > 1 {
				t.Errorf("logged %q; want one line at most, with %q", &log, tc.logged)
			}
			for _, personal := range []string{wireNumber[1:], "491701234567", "gw:1", birdID} {
				if strings.Contains(log.String(), personal) {
					t.Errorf("logged %q: %s", personal, &log)
				}
			}
		})
	}
}

// A fakeReceiver reports what it is told to.
type fakeReceiver struct {
	fakeService
	receipts []sms.Receipt
}

func (f *fakeReceiver) Receipts(*http.Request, []byte) ([]sms.Receipt, error) { return f.receipts, nil }

func TestCallbacksStopAtWhatIsNotRecorded(t *testing.T) {
	p := &fakeReceiver{receipts: []sms.Receipt{{ID: "1", State: sms.Sent}, {ID: "2", State: sms.Sent}}}
	for _, tc := range []struct {
		err    error
		status int
		kept   []string
	}{
		{nil, 200, []string{"p 1 sent", "p 2 sent"}},
		{errors.New("busy"), 503, []string{"p 1 sent"}},
	} {
		g := &registry{err: tc.err}
		c := sms.NewCallbacks([]sms.Named{{Name: "p", Provider: p}}, g.record, slog.New(slog.DiscardHandler))
		if w := callBack(c, "p", httptest.NewRequest(http.MethodPost, "/", nil)); w.Code != tc.status || !reflect.DeepEqual(g.kept, tc.kept) {
			t.Errorf("after %v: %d, kept %q; want %d, %q", tc.err, w.Code, g.kept, tc.status, tc.kept)
		}
	}
}

func TestCallbacksAreBounded(t *testing.T) {
	const delivered = `{"id":"gw:1","state":"delivered"}`
	for _, tc := range []struct {
		name string
		most int
		// stuck makes callbacks that stay until release is closed.
		stuck func(release chan struct{}) (*http.Request, func(context.Context) error)
	}{
		{"by bodies that do not arrive", 256, func(release chan struct{}) (*http.Request, func(context.Context) error) {
			r := httptest.NewRequest(http.MethodPost, "/", readerFunc(func([]byte) (int, error) {
				<-release
				return 0, errors.New("reset")
			}))
			return r, func(context.Context) error { return nil }
		}},
		{"by receipts that are not recorded yet", 64, func(release chan struct{}) (*http.Request, func(context.Context) error) {
			return gatewayPost(delivered), func(ctx context.Context) error {
				select {
				case <-release:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				release := make(chan struct{})
				_, record := tc.stuck(release)
				c := sms.NewCallbacks([]sms.Named{{Name: "gateway", Provider: openGateway(t, "https://gateway.example.com/", nil)}},
					func(ctx context.Context, _ string, _ sms.Receipt) error { return record(ctx) }, slog.New(slog.NewTextHandler(&log, nil)))
				var all sync.WaitGroup
				for range tc.most {
					r, _ := tc.stuck(release)
					all.Go(func() { callBack(c, "gateway", r) })
				}
				synctest.Wait()
				for range 100 {
					if w := callBack(c, "gateway", gatewayPost(delivered)); w.Code != http.StatusServiceUnavailable {
						t.Fatalf("one more is answered %d; want 503 at once", w.Code)
					}
				}
				if n := strings.Count(log.String(), "too many at once"); n != 1 {
					t.Errorf("the log tells it %d times; want once", n)
				}
				close(release)
				all.Wait()
				if w := callBack(c, "gateway", gatewayPost(delivered)); w.Code != http.StatusOK {
					t.Errorf("afterwards one is answered %d; want 200", w.Code)
				}
			})
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// A body that does not arrive is given up, whatever time the server gives to others.
func TestCallbacksWaitBrieflyForABody(t *testing.T) {
	t.Parallel()
	c := sms.NewCallbacks([]sms.Named{{Name: "p", Provider: &fakeReceiver{}}}, nil, slog.New(slog.DiscardHandler))
	mux := http.NewServeMux()
	mux.Handle("POST /sms/receipts/{provider}", c)
	s := httptest.NewServer(mux)
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "POST /sms/receipts/p HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("answered %d; want 503", answer.StatusCode)
	}
}

func TestCallbacksOutliveTheirCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeReceiver{receipts: []sms.Receipt{{ID: "1", State: sms.Sent}}}
		caller, hangUp := context.WithCancel(t.Context())
		record := func(ctx context.Context, _ string, _ sms.Receipt) error {
			hangUp()
			start := time.Now()
			<-ctx.Done()
			if took := time.Since(start); took != 5*time.Second || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("the context ended after %v: %v; want 5s", took, ctx.Err())
			}
			return ctx.Err()
		}
		c := sms.NewCallbacks([]sms.Named{{Name: "p", Provider: p}}, record, slog.New(slog.DiscardHandler))
		if w := callBack(c, "p", httptest.NewRequest(http.MethodPost, "/", nil).WithContext(caller)); w.Code != 503 {
			t.Errorf("%d; want 503", w.Code)
		}
	})
}
