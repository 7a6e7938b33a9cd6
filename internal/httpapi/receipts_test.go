package httpapi_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/httpapi"
)

func TestReceiptsReachTheirHandler(t *testing.T) {
	var provider, query, body string
	var log bytes.Buffer
	w := newWorld(t, setup{log: &log, api: httpapi.Options{
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
	newWorld(t, setup{}).do("POST", "/sms/receipts/twilio", "", "Authorization:").says(http.StatusNotFound, noRoute)
}
