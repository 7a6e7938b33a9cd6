package smstest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
)

// A Recorder keeps receipts as text: "provider id state reason".
type Recorder struct {
	Kept []string
	Err  error // the answer to every receipt
}

// Record implements the record function of sms.NewCallbacks.
func (k *Recorder) Record(_ context.Context, provider string, r sms.Receipt) error {
	k.Kept = append(k.Kept, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", provider, r.ID, r.State, r.Reason)))
	return k.Err
}

// Call hands the callback r for a provider to c, as a server does.
func Call(c *sms.Callbacks, provider string, r *http.Request) *httptest.ResponseRecorder {
	r.SetPathValue("provider", provider)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// A Callback is a request to a callback URL and the result that a test expects.
type Callback struct {
	Name, Provider string
	Request        *http.Request
	Record         error // of the record function
	Status         int
	Kept           string // the receipts, as a Recorder keeps them, separated by semicolons
	Logged         string // a part of the only line; "" if nothing is logged
}

// RunCallbacks hands each callback to sms.Callbacks over providers. No log line may
// show one of personal.
func RunCallbacks(t *testing.T, providers []sms.Named, personal []string, callbacks ...Callback) {
	for _, tc := range callbacks {
		t.Run(tc.Name, func(t *testing.T) {
			var log bytes.Buffer
			k := &Recorder{Err: tc.Record}
			c := sms.NewCallbacks(providers, k.Record, slog.New(slog.NewTextHandler(&log, nil)))
			w := Call(c, tc.Provider, tc.Request)
			if w.Code != tc.Status || w.Body.Len() != 0 || strings.Join(k.Kept, ";") != tc.Kept {
				t.Errorf("%d %q, kept %q; want %d without a body, %q", w.Code, w.Body, k.Kept, tc.Status, tc.Kept)
			}
			lines := strings.Count(log.String(), "\n")
			if !strings.Contains(log.String(), tc.Logged) || (lines > 0) != (tc.Logged != "") || lines > 1 {
				t.Errorf("logged %q; want one line at most, with %q", &log, tc.Logged)
			}
			for _, text := range personal {
				if strings.Contains(log.String(), text) {
					t.Errorf("logged %q: %s", text, &log)
				}
			}
		})
	}
}
