package sms_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
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
	"github.com/countersign-mfa/countersign/internal/delivery/sms/messagebird"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
	"github.com/countersign-mfa/countersign/internal/secret"
)

func TestCallbacks(t *testing.T) {
	bird, err := messagebird.New(messagebird.Options{
		AccessKey: secret.NewString(smstest.Secret), Originator: "Example",
		SigningKey: secret.NewString(smstest.Secret), CallbackURL: "https://mfa.example.com/sms/receipts/bird",
	})
	if err != nil {
		t.Fatal(err)
	}
	providers := []sms.Named{
		{Name: "gateway", Provider: smstest.NewGateway(t)},
		{Name: "bird", Provider: bird},
		{Name: "mute", Provider: &fakeService{}},
	}
	const delivered = `{"id":"gw:1","state":"delivered"}`
	unsigned := func() *http.Request {
		return httptest.NewRequest(http.MethodPost, "/", strings.NewReader(delivered))
	}
	smstest.RunCallbacks(t, providers, []string{smstest.Number[1:], "gw:1"}, []smstest.Callback{
		{Name: "posted", Provider: "gateway", Request: smstest.GatewayPost(delivered), Status: 200, Kept: "gateway gw:1 delivered"},
		{Name: "with an unknown state", Provider: "gateway", Request: smstest.GatewayPost(`{"id":"gw:1","state":"teleported"}`), Status: 400, Logged: `level=WARN msg="callback refused" provider=gateway error="the callback is malformed"`},
		{Name: "of the largest size", Provider: "gateway", Request: smstest.GatewayPost(delivered + strings.Repeat(" ", 64<<10-len(delivered))), Status: 200, Kept: "gateway gw:1 delivered"},
		{Name: "too large", Provider: "gateway", Request: smstest.GatewayPost(delivered + strings.Repeat(" ", 64<<10+1-len(delivered))), Status: 413},
		{Name: "cut short", Provider: "gateway", Request: httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(errors.New("reset"))), Status: 400},
		{Name: "unsigned", Provider: "gateway", Request: unsigned(), Status: 403, Logged: `level=INFO msg="callback refused: its signature is wrong" provider=gateway`},
		{Name: "malformed", Provider: "gateway", Request: smstest.GatewayPost(`{"id":"` + smstest.Number), Status: 400, Logged: `provider=gateway error="the callback is malformed"`},
		{Name: "not recorded", Provider: "gateway", Request: smstest.GatewayPost(delivered), Record: errors.New("store is full"), Status: 503, Kept: "gateway gw:1 delivered", Logged: `provider=gateway error="store is full"`},
		{Name: "to a provider that reports nothing", Provider: "mute", Request: smstest.GatewayPost(delivered), Status: 404},
		{Name: "to an unknown provider", Provider: "unknown", Request: smstest.GatewayPost(delivered), Status: 404},
		{Name: "to another provider", Provider: "bird", Request: smstest.GatewayPost(delivered), Status: 403, Logged: "provider=bird"},
	}...)
}

// A fakeReceiver returns its receipts for every callback.
type fakeReceiver struct {
	fakeService
	receipts []sms.Receipt
}

func (f *fakeReceiver) Receipts(*http.Request, []byte) ([]sms.Receipt, error) { return f.receipts, nil }

func TestCallbacksStopAfterAReceiptThatIsNotRecorded(t *testing.T) {
	p := &fakeReceiver{receipts: []sms.Receipt{{ID: "1", State: sms.Sent}, {ID: "2", State: sms.Sent}}}
	for _, tc := range []struct {
		err    error
		status int
		kept   []string
	}{
		{nil, 200, []string{"p 1 sent", "p 2 sent"}},
		{errors.New("busy"), 503, []string{"p 1 sent"}},
	} {
		g := &smstest.Recorder{Err: tc.err}
		c := sms.NewCallbacks([]sms.Named{{Name: "p", Provider: p}}, g.Record, slog.New(slog.DiscardHandler))
		if w := smstest.Call(c, "p", httptest.NewRequest(http.MethodPost, "/", nil)); w.Code != tc.status || !reflect.DeepEqual(g.Kept, tc.kept) {
			t.Errorf("after %v: %d, kept %q; want %d, %q", tc.err, w.Code, g.Kept, tc.status, tc.kept)
		}
	}
}

func TestCallbacksAreBounded(t *testing.T) {
	const delivered = `{"id":"gw:1","state":"delivered"}`
	for _, tc := range []struct {
		name string
		most int
		// stuck makes callbacks that end only after release is closed.
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
			return smstest.GatewayPost(delivered), func(ctx context.Context) error {
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
				c := sms.NewCallbacks([]sms.Named{{Name: "gateway", Provider: smstest.NewGateway(t)}},
					func(ctx context.Context, _ string, _ sms.Receipt) error { return record(ctx) }, slog.New(slog.NewTextHandler(&log, nil)))
				var all sync.WaitGroup
				for range tc.most {
					r, _ := tc.stuck(release)
					all.Go(func() { smstest.Call(c, "gateway", r) })
				}
				synctest.Wait()
				for range 100 {
					if w := smstest.Call(c, "gateway", smstest.GatewayPost(delivered)); w.Code != http.StatusServiceUnavailable {
						t.Fatalf("a further callback is answered %d; want 503 at once", w.Code)
					}
				}
				if n := strings.Count(log.String(), "too many at once"); n != 1 {
					t.Errorf("it is logged %d times; want once", n)
				}
				close(release)
				all.Wait()
				if w := smstest.Call(c, "gateway", smstest.GatewayPost(delivered)); w.Code != http.StatusOK {
					t.Errorf("a later callback is answered %d; want 200", w.Code)
				}
			})
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// Callbacks wait briefly for a body, also if the server allows more time for others.
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
		if w := smstest.Call(c, "p", httptest.NewRequest(http.MethodPost, "/", nil).WithContext(caller)); w.Code != 503 {
			t.Errorf("%d; want 503", w.Code)
		}
	})
}
