package sms_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/sms"
)

const (
	sentNumber = "+4915112345678"
	sentText   = "Your code is 482913"
)

// sentMessage is a message that every service accepts.
func sentMessage() sms.Message {
	return sms.Message{
		To: secret.NewString(sentNumber), Text: secret.NewString(sentText),
		Reference: "m-1", ValidFor: 10 * time.Minute,
	}
}

var _ = []sms.Receiver{(*sms.Twilio)(nil), (*sms.Vonage)(nil), (*sms.Plivo)(nil)}

// checkSendError reports what is wrong with an error of Send, which must be of kind,
// with code, and show neither number, text, code nor the secrets.
func checkSendError(t *testing.T, err error, kind sms.Kind, code string, secrets ...string) *sms.Error {
	t.Helper()
	e, ok := errors.AsType[*sms.Error](err)
	if !ok {
		t.Fatalf("Send = %v; want an *sms.Error", err)
	}
	if e.Kind != kind || e.Code != code {
		t.Errorf("Send = kind %q, code %q (%v); want %q, %q", e.Kind, e.Code, e, kind, code)
	}
	if e.Reason == "" {
		t.Error("the error has no reason")
	}
	shown := fmt.Sprintf("%v %+v %#v", err, err, err)
	for _, hidden := range append(secrets, strings.TrimPrefix(sentNumber, "+"), "482913") {
		if strings.Contains(shown, hidden) {
			t.Errorf("the error shows %q: %s", hidden, shown)
		}
	}
	return e
}

// checkBroken tells what Send answers when the service does not speak its API. open
// returns a provider that calls base; accepted is the status of a message accepted,
// and body the answer.
func checkBroken(t *testing.T, open func(t *testing.T, base string) sms.Provider, accepted int, body string, secrets ...string) {
	answer := func(status int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	for _, tc := range []struct {
		name   string
		serve  http.HandlerFunc
		kind   sms.Kind
		code   string
		reason string
		wait   time.Duration
	}{
		{"answers too late", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, sms.Uncertain, "", "timed out", 0},
		{"closes after the request", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		}, sms.Uncertain, "", "no answer", 0},
		{"breaks off an accepting answer", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(accepted)
			io.WriteString(w, body)
		}, sms.Uncertain, "", "no answer", 0},
		{"accepts with malformed JSON", answer(accepted, body[:len(body)-2]), sms.Uncertain, "", "", 0},
		{"accepts with an empty body", answer(accepted, ""), sms.Uncertain, "", "", 0},
		{"accepts with another JSON", answer(accepted, `["`+sentNumber+`"]`), sms.Uncertain, "", "", 0},
		{"refuses with malformed JSON", answer(400, `{"code":`), sms.Unavailable, "400", "", 0},
		{"refuses with an empty body", answer(401, ""), sms.Unavailable, "401", "refused the credentials", 0},
		{"throttles", answer(429, "slow down", "Retry-After", "3"), sms.Unavailable, "429", "throttled", 3 * time.Second},
		{"fails inside", answer(500, "<html>"), sms.Unavailable, "500", "", 0},
		{"is down", answer(503, "", "Retry-After", "7"), sms.Unavailable, "503", "", 7 * time.Second},
		{"is behind a proxy that gave up", answer(504, ""), sms.Uncertain, "504", "", 0},
		{"redirects", answer(307, "", "Location", "/elsewhere"), sms.Unavailable, "307", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			requests := 0
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				tc.serve(w, r)
			}))
			server.Start()
			defer func() {
				server.Close()
				if requests != 1 {
					t.Errorf("%d requests; want 1", requests)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			id, err := open(t, server.URL).Send(ctx, sentMessage())
			if id != "" {
				t.Errorf("Send = %q; want no id", id)
			}
			e := checkSendError(t, err, tc.kind, tc.code, secrets...)
			if tc.reason != "" && e.Reason != tc.reason {
				t.Errorf("reason %q; want %q", e.Reason, tc.reason)
			}
			if e.RetryAfter != tc.wait {
				t.Errorf("RetryAfter = %v; want %v", e.RetryAfter, tc.wait)
			}
		})
	}
	t.Run("is not there", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		_, err := open(t, server.URL).Send(t.Context(), sentMessage())
		checkSendError(t, err, sms.Unavailable, "", secrets...)
	})
}
