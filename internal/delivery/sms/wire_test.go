package sms_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const (
	wireNumber    = "+16073517112"
	wireCode      = "739105"
	wireText      = "Your verification code is: " + wireCode
	wireReference = "auth_challenge_01FVYZWQ-1"
	wireSecret    = "0123456789abcdef-a-secret-of-the-wire"
)

var _ = []sms.Receiver{
	(*sms.AWS)(nil), (*sms.MessageBird)(nil), (*sms.Plivo)(nil), (*sms.Telnyx)(nil), (*sms.Twilio)(nil), (*sms.Vonage)(nil), (*sms.Webhook)(nil),
}

// wireMessage is a message of text to the number of these tests.
func wireMessage(text string) sms.Message {
	return sms.Message{
		To: secret.NewString(wireNumber), Text: secret.NewString(text),
		Reference: wireReference, ValidFor: 10 * time.Minute,
	}
}

// wireError fails unless err is an *sms.Error as wanted that shows no secret.
func wireError(t *testing.T, err error, want sms.Error) {
	t.Helper()
	got, ok := errors.AsType[*sms.Error](err)
	if !ok {
		t.Fatalf("the error is %v; want an *sms.Error", err)
	}
	if got.Kind != want.Kind || got.Code != want.Code || got.RetryAfter != want.RetryAfter {
		t.Errorf("the error is %v, code %q, to be retried after %v; want %s, code %q, after %v",
			got, got.Code, got.RetryAfter, want.Kind, want.Code, want.RetryAfter)
	}
	if got.Reason == "" {
		t.Error("the error has no reason")
	}
	shown := fmt.Sprintf("%v %+v %#v", err, err, err)
	for _, trace := range []string{wireNumber[1:], wireCode, wireSecret} {
		if strings.Contains(shown, trace) {
			t.Errorf("the error shows a secret: %s", shown)
		}
	}
}

// testWires checks what a provider makes of a service that is not well, or not
// there. open returns one that sends to baseURL.
func testWires(t *testing.T, open func(t *testing.T, baseURL string) sms.Provider) {
	serve := func(t *testing.T, h http.HandlerFunc) sms.Provider {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return open(t, srv.URL)
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   sms.Error
	}{
		{"internal error", wireAnswer(500, "oops "+wireNumber), sms.Error{Kind: sms.Unavailable, Code: "500"}},
		{"internal error without a body", wireAnswer(500, ""), sms.Error{Kind: sms.Unavailable, Code: "500"}},
		{"bad gateway", wireAnswer(502, "<html>"), sms.Error{Kind: sms.Uncertain, Code: "502"}},
		{"gateway time-out", wireAnswer(504, "<html>"), sms.Error{Kind: sms.Uncertain, Code: "504"}},
		{"maintenance", wireAnswer(503, "{}", "Retry-After", "90"), sms.Error{Kind: sms.Unavailable, Code: "503", RetryAfter: 90 * time.Second}},
		{"throttled", wireAnswer(429, "{}", "Retry-After", "7"), sms.Error{Kind: sms.Unavailable, Code: "429", RetryAfter: 7 * time.Second}},
		{"refused with an empty body", wireAnswer(422, ""), sms.Error{Kind: sms.Unavailable, Code: "422"}},
		{"refused with malformed JSON", wireAnswer(422, `{"errors":[{"code":`), sms.Error{Kind: sms.Unavailable, Code: "422"}},
		{"refused with JSON of another kind", wireAnswer(422, `["`+wireNumber+`"]`), sms.Error{Kind: sms.Unavailable, Code: "422"}},
		{"refused with a number for a code", wireAnswer(422, `{"reason":"`+wireNumber[1:]+`","errors":[{"code":`+wireNumber[1:]+`}]}`), sms.Error{Kind: sms.Unavailable, Code: "422"}},
		{"redirect", wireAnswer(307, "", "Location", "/elsewhere"), sms.Error{Kind: sms.Unavailable, Code: "307"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var calls atomic.Int32
			p := serve(t, func(w http.ResponseWriter, r *http.Request) { calls.Add(1); tc.answer(w, r) })
			id, err := p.Send(t.Context(), wireMessage(wireText))
			wireError(t, err, tc.want)
			if id != "" || calls.Load() != 1 {
				t.Errorf("the id is %q after %d calls; want none after 1", id, calls.Load())
			}
		})
	}
	t.Run("slow beyond the deadline", func(t *testing.T) {
		over := make(chan struct{})
		p := serve(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-over })
		t.Cleanup(func() { close(over) }) // before the server closes
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := p.Send(ctx, wireMessage(wireText))
		wireError(t, err, sms.Error{Kind: sms.Uncertain})
	})
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		_, err = open(t, "http://"+l.Addr().String()).Send(t.Context(), wireMessage(wireText))
		wireError(t, err, sms.Error{Kind: sms.Unavailable})
	})
	for name, part := range map[string]string{
		"closed after the request": "",
		"closed within the answer": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"id\":",
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			p := serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				io.Copy(io.Discard, r.Body)
				conn, buf, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				buf.WriteString(part)
				buf.Flush()
				conn.Close()
			})
			_, err := p.Send(t.Context(), wireMessage(wireText))
			wireError(t, err, sms.Error{Kind: sms.Uncertain})
			if calls.Load() != 1 {
				t.Errorf("the message was posted %d times; want once", calls.Load())
			}
		})
	}
}

// testUnreadable checks that an answer with the status of one that accepts, but
// without a good id, is uncertain. The bodies are added to those of every service.
func testUnreadable(t *testing.T, open func(t *testing.T, baseURL string) sms.Provider, status int, bodies ...string) {
	for _, body := range append(bodies, "", "{", "{}", "<html>") {
		t.Run("accepted with "+body, func(t *testing.T) {
			srv := httptest.NewServer(wireAnswer(status, body))
			defer srv.Close()
			_, err := open(t, srv.URL).Send(t.Context(), wireMessage(wireText))
			wireError(t, err, sms.Error{Kind: sms.Uncertain})
		})
	}
}

// wireAnswer answers with a status, a body and headers, whatever is asked.
func wireAnswer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// wireJSON answers with v.
func wireJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// post is a callback as net/http hands it to a server.
func post(callback, media, body string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, callback, strings.NewReader(body))
	r.Header.Set("Content-Type", media)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

const formMedia = "application/x-www-form-urlencoded"

// wireReceipts fails unless the receipts are these.
func wireReceipts(t *testing.T, got []sms.Receipt, err error, want ...sms.Receipt) {
	t.Helper()
	if err != nil || len(got) != len(want) {
		t.Fatalf("Receipts = %v, %v; want %v", got, err, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("receipt %d is %+v; want %+v", i, got[i], want[i])
		}
	}
}

// wireFuzzed fails unless receipts that were read from anything are complete.
func wireFuzzed(t *testing.T, got []sms.Receipt, err error) {
	t.Helper()
	if errors.Is(err, sms.ErrSignature) || err != nil && got != nil {
		t.Fatalf("Receipts = %v, %v", got, err)
	}
	for _, r := range got {
		switch r.State {
		case sms.Queued, sms.Sent, sms.Delivered, sms.Undelivered, sms.Failed:
		default:
			t.Errorf("the state is %q", r.State)
		}
		if r.ID == "" || len(r.Reason) > 40 {
			t.Errorf("the receipt is %+v", r)
		}
	}
}
