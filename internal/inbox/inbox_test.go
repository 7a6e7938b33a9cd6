package inbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/inbox"
	"github.com/countersign-mfa/countersign/internal/secret"
)

var (
	_ delivery.Sender = (*inbox.Inbox)(nil)
	_ http.Handler    = (*inbox.Inbox)(nil)
)

const (
	ada   = "+16073517112"
	grace = "+4915123456789"
)

var noon = time.Date(2022, 3, 27, 12, 0, 0, 432e6, time.UTC)

// send sends a message with this text and code to in.
func send(t testing.TB, in *inbox.Inbox, to, text, code string) {
	t.Helper()
	if _, err := in.Send(t.Context(), message(t, to, text, code)); err != nil {
		t.Fatalf("Send: %v", err)
	}
}

func message(t testing.TB, to, text, code string) delivery.Message {
	t.Helper()
	phone, err := delivery.ParsePhone(to, false)
	if err != nil {
		t.Fatal(err)
	}
	return delivery.Message{To: phone.Address(), Text: secret.NewString(text), Code: secret.NewString(code), At: noon}
}

// get requests target. Headers are alternating names and values.
func get(in *inbox.Inbox, target string, headers ...string) *httptest.ResponseRecorder {
	return do(in, http.MethodGet, target, headers...)
}

func do(in *inbox.Inbox, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "127.0.0.1:4100"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	in.ServeHTTP(w, r)
	return w
}

type shown struct {
	To     string `json:"to"`
	Text   string `json:"text"`
	Code   string `json:"code"`
	SentAt string `json:"sent_at"`
}

func list(t testing.TB, in *inbox.Inbox, query string) []shown {
	t.Helper()
	w := get(in, "/dev/inbox"+query, "Accept", "application/json")
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s = %d %s", query, w.Code, w.Body)
	}
	var body struct{ Messages []shown }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("GET %s: %v", query, err)
	}
	return body.Messages
}

func codes(messages []shown) string {
	var all []string
	for _, m := range messages {
		all = append(all, m.Code)
	}
	return strings.Join(all, " ")
}

func TestJSON(t *testing.T) {
	in := inbox.New(inbox.Options{})
	w := get(in, "/dev/inbox", "Accept", "application/json")
	if got, want := strings.TrimSpace(w.Body.String()), `{"messages":[]}`; got != want {
		t.Errorf("empty inbox = %s; want %s", got, want)
	}

	send(t, in, ada, "Your verification code is: 123456", "123456")
	w = get(in, "/dev/inbox", "Accept", "application/json")
	const want = `{"messages":[{"to":"+16073517112","text":"Your verification code is: 123456","code":"123456","sent_at":"2022-03-27T12:00:00.432Z"}]}`
	if got := strings.TrimSpace(w.Body.String()); got != want {
		t.Errorf("inbox = %s; want %s", got, want)
	}
	if got, want := w.Header().Get("Content-Type"), "application/json; charset=utf-8"; got != want {
		t.Errorf("Content-Type = %q; want %q", got, want)
	}
	if got, want := w.Header().Get("Cache-Control"), "no-store"; got != want {
		t.Errorf("Cache-Control = %q; want %q", got, want)
	}
}

func TestNewestComesFirst(t *testing.T) {
	in := inbox.New(inbox.Options{})
	for _, code := range []string{"000001", "000002", "000003"} {
		send(t, in, ada, "code "+code, code)
	}
	if got, want := codes(list(t, in, "")), "000003 000002 000001"; got != want {
		t.Errorf("codes = %s; want %s", got, want)
	}
	page := get(in, "/dev/inbox", "Accept", "text/html").Body.String()
	if strings.Index(page, "code 000003") > strings.Index(page, "code 000001") {
		t.Error("the page shows the oldest message first")
	}
}

func TestFilter(t *testing.T) {
	in := inbox.New(inbox.Options{})
	send(t, in, ada, "one", "111111")
	send(t, in, grace, "two", "222222")
	for _, tc := range []struct {
		name, query, json, page string
	}{
		{"absent", "", "222222 111111", "222222 111111"},
		{"empty", "?to=", "222222 111111", "222222 111111"},
		{"E.164", "?to=%2B16073517112", "111111", "111111"},
		{"a space instead of the plus sign", "?to=+16073517112", "111111", "111111"},
		{"without plus", "?to=4915123456789", "222222", "222222"},
		{"with separators", "?to=%2B1%20(607)%20351-7112", "111111", "111111"},
		{"last digits", "?to=7112", "", "111111"},
		{"first digits", "?to=%2B49", "", "222222"},
		{"digits of both numbers", "?to=1", "", "222222 111111"},
		{"one digit more", "?to=%2B160735171120", "", ""},
		{"another number", "?to=%2B12025550123", "", ""},
		{"not a number", "?to=foo", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := codes(list(t, in, tc.query)); got != tc.json {
				t.Errorf("JSON of %s = %q; want %q", tc.query, got, tc.json)
			}
			page := get(in, "/dev/inbox"+tc.query, "Accept", "text/html").Body.String()
			for _, code := range []string{"111111", "222222"} {
				if got, want := strings.Contains(page, code), strings.Contains(tc.page, code); got != want {
					t.Errorf("page of %s has %s: %t; want %t", tc.query, code, got, want)
				}
			}
		})
	}
}

func TestOldestMessagesAreRemoved(t *testing.T) {
	t.Run("by number", func(t *testing.T) {
		in := inbox.New(inbox.Options{})
		for i := range 1003 {
			send(t, in, ada, "hello", fmt.Sprintf("%06d", i))
		}
		kept := list(t, in, "")
		if len(kept) != 1000 || kept[0].Code != "001002" || kept[999].Code != "000003" {
			t.Errorf("kept %d messages, %s to %s; want the newest 1,000", len(kept), kept[0].Code, kept[len(kept)-1].Code)
		}
	})
	t.Run("by size", func(t *testing.T) {
		in := inbox.New(inbox.Options{MaxBytes: 10_000})
		for i := range 100 {
			send(t, in, ada, strings.Repeat("x", 2000), fmt.Sprintf("%06d", i))
		}
		if got, want := codes(list(t, in, "")), "000099 000098 000097 000096"; got != want {
			t.Errorf("kept %s; want %s", got, want)
		}
		send(t, in, ada, strings.Repeat("x", 9000), "999999")
		if got, want := codes(list(t, in, "")), "999999"; got != want {
			t.Errorf("with a long message kept %s; want %s", got, want)
		}
	})
	t.Run("not for a message that can never fit", func(t *testing.T) {
		in := inbox.New(inbox.Options{MaxBytes: 10_000})
		send(t, in, ada, "hello", "123456")
		_, err := in.Send(t.Context(), message(t, ada, strings.Repeat("x", 10_000), "654321"))
		if err == nil || strings.Contains(err.Error(), "xx") || strings.Contains(err.Error(), ada) {
			t.Errorf("Send = %v; want an error without the message", err)
		}
		if got, want := codes(list(t, in, "")), "123456"; got != want {
			t.Errorf("kept %s; want %s", got, want)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	const senders, each = 8, 100
	in := inbox.New(inbox.Options{MaxMessages: senders * each / 2})
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for j := range each {
				send(t, in, ada, "hello", fmt.Sprintf("%03d%03d", i, j))
				if j%10 == 0 {
					get(in, "/dev/inbox", "Accept", "text/html")
					list(t, in, "?to="+grace)
				}
			}
		})
	}
	wg.Wait()
	kept := list(t, in, "")
	if got, want := len(kept), senders*each/2; got != want {
		t.Errorf("kept %d messages; want %d", got, want)
	}
	next := make(map[string]string) // the code of the newer message, by sender
	for _, m := range kept {
		sender := m.Code[:3]
		if after, ok := next[sender]; ok && m.Code >= after {
			t.Fatalf("%s is below %s; want the newest of each sender first", m.Code, after)
		}
		next[sender] = m.Code
	}
}

func TestSendWorksAfterTheCallerHasGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := inbox.New(inbox.Options{}).Send(ctx, message(t, ada, "hello", "123456")); err != nil {
		t.Errorf("Send = %v; want nil: Send does not wait", err)
	}
}

func TestNothingIsLoggedOrPrinted(t *testing.T) {
	var logged strings.Builder
	former := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { slog.SetDefault(former) })

	in := inbox.New(inbox.Options{Rand: strings.NewReader("")}) // the page has no nonce and fails
	send(t, in, ada, "code 123456", "123456")
	list(t, in, "?to="+ada)
	if w := get(in, "/dev/inbox", "Accept", "text/html"); w.Code != http.StatusInternalServerError {
		t.Errorf("a page without a nonce = %d; want 500", w.Code)
	}
	get(in, "/dev/inbox", "Host", "evil.example")
	if logged.Len() > 0 {
		t.Errorf("logged %s", logged.String())
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if got := fmt.Sprintf(format, in); strings.Contains(got, "123456") || strings.Contains(got, ada[1:]) {
			t.Errorf("%s of an Inbox shows a message: %s", format, got)
		}
	}
}

func TestScriptMakesNoHTMLFromText(t *testing.T) {
	script, err := os.ReadFile("page.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, sink := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "srcdoc", "Function("} {
		if strings.Contains(string(script), sink) {
			t.Errorf("page.js uses %s, which turns text into HTML or code", sink)
		}
	}
}
