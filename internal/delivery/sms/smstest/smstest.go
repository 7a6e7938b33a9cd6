// Package smstest has what the tests of SMS providers share: a message, checks of errors
// and receipts, and the failures that every provider must survive.
package smstest

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

// Parts of the message that the tests send. Secret is a value for credentials.
const (
	Number    = "+16073517112"
	Code      = "739105"
	Text      = "Your verification code is: " + Code
	Reference = "auth_challenge_01FVYZWQ-1"
	Secret    = "0123456789abcdef-a-secret-of-the-wire"
)

// NewMessage returns a message with text to Number.
func NewMessage(text string) sms.Message {
	return sms.Message{
		To: secret.NewString(Number), Text: secret.NewString(text),
		Reference: Reference, ValidFor: 10 * time.Minute,
	}
}

// CheckError fails the test unless err is an *sms.Error with the kind, code and
// RetryAfter of want that shows no secret.
func CheckError(t *testing.T, err error, want sms.Error) {
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
	for _, trace := range []string{Number[1:], Code, Secret} {
		if strings.Contains(shown, trace) {
			t.Errorf("the error shows a secret: %s", shown)
		}
	}
}

// RunBroken checks the errors of a provider whose service fails or does not answer. open
// returns a provider that sends to baseURL.
func RunBroken(t *testing.T, open func(t *testing.T, baseURL string) sms.Provider) {
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
		{"internal error", Answer(500, "oops "+Number), sms.Error{Kind: sms.Unavailable, Code: "500"}},
		{"internal error without a body", Answer(500, ""), sms.Error{Kind: sms.Unavailable, Code: "500"}},
		{"bad gateway", Answer(502, "<html>"), sms.Error{Kind: sms.Uncertain, Code: "502"}},
		{"gateway timeout", Answer(504, "<html>"), sms.Error{Kind: sms.Uncertain, Code: "504"}},
		{"maintenance", Answer(503, "{}", "Retry-After", "90"), sms.Error{Kind: sms.Unavailable, Code: "503", RetryAfter: 90 * time.Second}},
		{"throttled", Answer(429, "{}", "Retry-After", "7"), sms.Error{Kind: sms.Unavailable, Code: "429", RetryAfter: 7 * time.Second}},
		{"refused with an empty body", Answer(422, ""), sms.Error{Kind: sms.Unavailable, Code: "422"}},
		{"refused with malformed JSON", Answer(422, `{"errors":[{"code":`), sms.Error{Kind: sms.Unavailable, Code: "422"}},
		{"refused with JSON of another kind", Answer(422, `["`+Number+`"]`), sms.Error{Kind: sms.Unavailable, Code: "422"}},
		{"refused with a number for a code", Answer(422, `{"reason":"`+Number[1:]+`","errors":[{"code":`+Number[1:]+`}]}`), sms.Error{Kind: sms.Unavailable, Code: "422"}},
		{"redirect", Answer(307, "", "Location", "/elsewhere"), sms.Error{Kind: sms.Unavailable, Code: "307"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var calls atomic.Int32
			p := serve(t, func(w http.ResponseWriter, r *http.Request) { calls.Add(1); tc.answer(w, r) })
			id, err := p.Send(t.Context(), NewMessage(Text))
			CheckError(t, err, tc.want)
			if id != "" || calls.Load() != 1 {
				t.Errorf("the id is %q after %d calls; want none after 1", id, calls.Load())
			}
		})
	}
	t.Run("slower than the deadline", func(t *testing.T) {
		over := make(chan struct{})
		p := serve(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-over })
		t.Cleanup(func() { close(over) }) // before the server closes
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := p.Send(ctx, NewMessage(Text))
		CheckError(t, err, sms.Error{Kind: sms.Uncertain})
	})
	t.Run("no server listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		_, err = open(t, "http://"+l.Addr().String()).Send(t.Context(), NewMessage(Text))
		CheckError(t, err, sms.Error{Kind: sms.Unavailable})
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
			_, err := p.Send(t.Context(), NewMessage(Text))
			CheckError(t, err, sms.Error{Kind: sms.Uncertain})
			if calls.Load() != 1 {
				t.Errorf("the message was posted %d times; want once", calls.Load())
			}
		})
	}
}

// RunUnreadable checks that an answer with the status of an accepted message, but without
// a valid id, is uncertain. It tries bodies and some that are wrong for every service.
func RunUnreadable(t *testing.T, open func(t *testing.T, baseURL string) sms.Provider, status int, bodies ...string) {
	for _, body := range append(bodies, "", "{", "{}", "<html>") {
		t.Run("accepted with "+body, func(t *testing.T) {
			srv := httptest.NewServer(Answer(status, body))
			defer srv.Close()
			_, err := open(t, srv.URL).Send(t.Context(), NewMessage(Text))
			CheckError(t, err, sms.Error{Kind: sms.Uncertain})
		})
	}
}

// Answer returns a handler that gives every request the same answer.
func Answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// AnswerJSON answers with v.
func AnswerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// Post returns a callback as net/http passes it to a handler.
func Post(callback, media, body string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, callback, strings.NewReader(body))
	r.Header.Set("Content-Type", media)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

const FormMedia = "application/x-www-form-urlencoded"

// CheckReceipts fails the test unless got is want and err is nil.
func CheckReceipts(t *testing.T, got []sms.Receipt, err error, want ...sms.Receipt) {
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

// CheckFuzzed fails the test unless the receipts read from fuzzed input are complete.
func CheckFuzzed(t *testing.T, got []sms.Receipt, err error) {
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
