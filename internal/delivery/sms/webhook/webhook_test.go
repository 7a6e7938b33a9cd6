package webhook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/webhook"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

var fixedNow = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

const callback = "https://mfa.example.com/sms/webhook"

// A double is a gateway that does what docs/delivery/webhook.md requires.
type double struct {
	*httptest.Server

	mu       sync.Mutex
	accepted []acceptedMessage
	refused  []string          // the faults of wrong requests
	optedOut map[string]string // reasons by number
	name     bool              // give its own ids
}

type acceptedMessage struct {
	ID          string `json:"id"`
	To          string `json:"to"`
	Text        string `json:"text"`
	ValidFor    *int   `json:"valid_for"`
	CallbackURL string `json:"callback_url"`
}

func newDouble(t *testing.T) *double {
	d := &double{optedOut: map[string]string{}}
	d.Server = httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.Close)
	return d
}

func (d *double) serve(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	fail := func(status int, why string) {
		d.refused = append(d.refused, why)
		w.WriteHeader(status)
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	var m acceptedMessage
	switch {
	case err != nil || r.Method != http.MethodPost || r.URL.Path != "/send" || r.URL.RawQuery != "team=a":
		fail(404, r.Method+" "+r.URL.String())
	case r.Header.Get("Content-Type") != "application/json":
		fail(415, r.Header.Get("Content-Type"))
	case r.Header.Get("Countersign-Signature") != smstest.SignWebhook(smstest.Secret, fixedNow, body):
		fail(401, r.Header.Get("Countersign-Signature"))
	case dec.Decode(&m) != nil || m.ID == "" || m.To == "" || m.Text == "" || m.ValidFor != nil && *m.ValidFor < 1:
		fail(400, "the message")
	case d.optedOut[m.To] != "":
		smstest.AnswerJSON(w, 422, map[string]any{"refused": true, "reason": d.optedOut[m.To]})
	default:
		d.accepted = append(d.accepted, m)
		if d.name {
			smstest.AnswerJSON(w, 202, map[string]any{"id": fmt.Sprintf("gw:%d", len(d.accepted)), "more": "ignored"})
			return
		}
		w.WriteHeader(204)
	}
}

// options returns valid options after change.
func options(url string, change func(*webhook.Options)) webhook.Options {
	o := webhook.Options{
		URL: url, Secret: secret.NewString(smstest.Secret), CallbackURL: callback,
		Now: func() time.Time { return fixedNow },
	}
	if change != nil {
		change(&o)
	}
	return o
}

func open(t *testing.T, url string, change func(*webhook.Options)) *webhook.Provider {
	t.Helper()
	p, err := webhook.New(options(url, change))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSends(t *testing.T) {
	for _, tc := range []struct {
		name     string
		change   func(*webhook.Options)
		own      bool // the gateway gives ids
		text     string
		validFor time.Duration
		id       string
		valid    int // 0 if the field is missing
		callback string
	}{
		{"plain", nil, false, smstest.Text, 10 * time.Minute, "auth_challenge_01FVYZWQ-1", 600, callback},
		{"outside of GSM-7", nil, false, "Код: 739105 <&> 🔑", 90*time.Second + time.Millisecond, "auth_challenge_01FVYZWQ-1", 90, callback},
		{"with an id of the gateway", nil, true, smstest.Text, time.Minute, "gw:1", 60, callback},
		{"without validity", nil, false, smstest.Text, 0, "auth_challenge_01FVYZWQ-1", 0, callback},
		{"without receipts", func(o *webhook.Options) { o.CallbackURL = "" }, false, smstest.Text, time.Minute, "auth_challenge_01FVYZWQ-1", 60, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble(t)
			d.name = tc.own
			m := smstest.NewMessage(tc.text)
			m.ValidFor = tc.validFor
			id, err := open(t, d.URL+"/send?team=a", tc.change).Send(t.Context(), m)
			d.mu.Lock()
			defer d.mu.Unlock()
			if err != nil || len(d.accepted) != 1 {
				t.Fatalf("Send = %q, %v; refused %q", id, err, d.refused)
			}
			got, valid := d.accepted[0], 0
			if got.ValidFor != nil {
				valid = *got.ValidFor
			}
			if id != tc.id || got.ID != m.Reference || got.To != smstest.Number || got.Text != tc.text || valid != tc.valid || got.CallbackURL != tc.callback {
				t.Errorf("id %q, accepted %+v, valid for %d", id, got, valid)
			}
		})
	}
}

// The digest is the output of openssl dgst -sha256 -hmac for "1795514400.{}" and the
// secret.
func TestSignature(t *testing.T) {
	const want = "t=1795514400,v1=356c20e336dc286d620fc1d21abe6beadd98fccbda5dfecc64be1921993a721a"
	if got := smstest.SignWebhook(smstest.Secret, fixedNow, []byte("{}")); got != want {
		t.Errorf("the signature is %q; want %q", got, want)
	}
}

func TestIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   sms.Error
	}{
		{"refused", smstest.Answer(422, `{"refused":true,"reason":"opted_out"}`), sms.Error{Kind: sms.Refused, Code: "opted_out"}},
		{"refused as a conflict", smstest.Answer(409, `{"refused":true}`, "Retry-After", "9"), sms.Error{Kind: sms.Refused, Code: "409"}},
		{"refused for a number", smstest.Answer(400, `{"refused":true,"reason":"`+smstest.Number[1:]+`"}`), sms.Error{Kind: sms.Refused, Code: "400"}},
		{"refused for a text", smstest.Answer(400, `{"refused":true,"reason":"spam: `+smstest.Text+`"}`), sms.Error{Kind: sms.Refused, Code: "400"}},
		{"not refused", smstest.Answer(422, `{"refused":false,"reason":"no_route"}`), sms.Error{Kind: sms.Unavailable, Code: "no_route"}},
		{"refused by a failing server", smstest.Answer(500, `{"refused":true,"reason":"bug"}`), sms.Error{Kind: sms.Unavailable, Code: "bug"}},
		{"wrong signature", smstest.Answer(401, ""), sms.Error{Kind: sms.Unavailable, Code: "401"}},
		{"not found", smstest.Answer(404, "404 page not found"), sms.Error{Kind: sms.Unavailable, Code: "404"}},
		{"its provider gave no answer", smstest.Answer(504, `{"reason":"upstream"}`), sms.Error{Kind: sms.Uncertain, Code: "upstream"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewServer(tc.answer)
			defer srv.Close()
			_, err := open(t, srv.URL, nil).Send(t.Context(), smstest.NewMessage(smstest.Text))
			smstest.CheckError(t, err, tc.want)
		})
	}
	t.Run("by the gateway", func(t *testing.T) {
		d := newDouble(t)
		d.optedOut[smstest.Number] = "stop"
		_, err := open(t, d.URL+"/send?team=a", nil).Send(t.Context(), smstest.NewMessage(smstest.Text))
		smstest.CheckError(t, err, sms.Error{Kind: sms.Refused, Code: "stop"})
	})
	t.Run("under another secret", func(t *testing.T) {
		d := newDouble(t)
		p := open(t, d.URL+"/send?team=a", func(o *webhook.Options) { o.Secret = secret.NewString(strings.Repeat("x", 32)) })
		_, err := p.Send(t.Context(), smstest.NewMessage(smstest.Text))
		smstest.CheckError(t, err, sms.Error{Kind: sms.Unavailable, Code: "401"})
	})
}

func TestFailuresOfTheService(t *testing.T) {
	smstest.RunBroken(t, func(t *testing.T, baseURL string) sms.Provider { return open(t, baseURL, nil) })
	for _, body := range []string{"", "{", "{}", `{"id":null}`, `{"id":7}`, `{"id":"a b"}`, `{"id":"` + strings.Repeat("x", 129) + `"}`, "OK", `{"refused":true}`} {
		t.Run("accepted with "+body[:min(len(body), 20)], func(t *testing.T) {
			srv := httptest.NewServer(smstest.Answer(200, body))
			defer srv.Close()
			id, err := open(t, srv.URL, nil).Send(t.Context(), smstest.NewMessage(smstest.Text))
			if err != nil || id != "auth_challenge_01FVYZWQ-1" {
				t.Errorf("Send = %q, %v; want the reference", id, err)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*webhook.Options)
		want   string // part of the error; "" if New succeeds
	}{
		{"complete", nil, ""},
		{"default", func(o *webhook.Options) { o.Now = nil }, ""},
		{"on this machine", func(o *webhook.Options) { o.URL = "http://[::1]:8080/send" }, ""},
		{"on this machine by name", func(o *webhook.Options) { o.URL = "http://localhost/send" }, ""},
		{"plain", func(o *webhook.Options) { o.URL = "http://gateway.example.com/" }, "url"},
		{"another scheme", func(o *webhook.Options) { o.URL = "ftp://127.0.0.1/" }, "url"},
		{"no URL", func(o *webhook.Options) { o.URL = "" }, "url"},
		{"a password", func(o *webhook.Options) { o.URL = "https://a:b@gateway.example.com/" }, "url"},
		{"a fragment", func(o *webhook.Options) { o.URL = "https://gateway.example.com/#a" }, "url"},
		{"no secret", func(o *webhook.Options) { o.Secret = secret.String{} }, "secret"},
		{"a short secret", func(o *webhook.Options) { o.Secret = secret.NewString(strings.Repeat("x", 31)) }, "secret"},
		{"a plain callback", func(o *webhook.Options) { o.CallbackURL = "http://mfa.example.com/" }, "callback_url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := webhook.New(options("https://gateway.example.com/send", tc.change))
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New: %v; want an error with %q", err, tc.want)
			}
		})
	}
}

// callbackRequest returns a callback with a signature.
func callbackRequest(signature string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/sms/webhook", nil)
	r.Header.Set("Countersign-Signature", signature)
	return r
}

func TestReceipts(t *testing.T) {
	p := open(t, "https://gateway.example.com/", nil)
	for _, tc := range []struct {
		name, body string
		want       []sms.Receipt
	}{
		{"queued", `{"id":"gw:1","state":"queued"}`, []sms.Receipt{{ID: "gw:1", State: sms.Queued}}},
		{"sent", `{"id":"gw:1","state":"sent"}`, []sms.Receipt{{ID: "gw:1", State: sms.Sent}}},
		{"delivered", `{"id":"gw:1","state":"delivered","reason":"none"}`, []sms.Receipt{{ID: "gw:1", State: sms.Delivered}}},
		{"undelivered", `{"id":"gw:1","state":"undelivered","reason":"absent"}`, []sms.Receipt{{ID: "gw:1", State: sms.Undelivered, Reason: "absent"}}},
		{"failed", `{"id":"gw:1","state":"failed","reason":"30007","more":[]}`, []sms.Receipt{{ID: "gw:1", State: sms.Failed, Reason: "30007"}}},
		{"a reason that may be a number", `{"id":"gw:1","state":"failed","reason":"` + smstest.Number[1:] + `"}`, []sms.Receipt{{ID: "gw:1", State: sms.Failed}}},
		{"a reason that may be a code", `{"id":"gw:1","state":"failed","reason":"` + smstest.Code + `"}`, []sms.Receipt{{ID: "gw:1", State: sms.Failed}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := p.Receipts(callbackRequest(smstest.SignWebhook(smstest.Secret, fixedNow, []byte(tc.body))), []byte(tc.body))
			smstest.CheckReceipts(t, got, err, tc.want...)
		})
	}
	for _, body := range []string{
		"", "{", "[]", `{"id":7}`, `{"id":"gw:1","state":"teleported"}`, `{"state":"sent"}`, `{"id":"a b","state":"sent"}`,
		`{"id":"gw:1","to":"+16073517112","text":"hello"}`, // a message that is posted back
	} {
		t.Run("malformed "+body, func(t *testing.T) {
			got, err := p.Receipts(callbackRequest(smstest.SignWebhook(smstest.Secret, fixedNow, []byte(body))), []byte(body))
			if err == nil || errors.Is(err, sms.ErrSignature) || got != nil {
				t.Errorf("Receipts = %v, %v; want another error", got, err)
			}
		})
	}
}

func TestRefusesForgedReceipts(t *testing.T) {
	p := open(t, "https://gateway.example.com/", nil)
	body := []byte(`{"id":"gw:1","state":"delivered"}`)
	genuine, foreign := smstest.SignWebhook(smstest.Secret, fixedNow, body), smstest.SignWebhook(strings.Repeat("x", 32), fixedNow, body)
	at, digest, _ := strings.Cut(genuine, ",")
	_, other, _ := strings.Cut(foreign, ",")
	for _, tc := range []struct {
		name, signature, body string
		ok                    bool
	}{
		{"genuine", genuine, string(body), true},
		{"in another order, with spaces", digest + ", " + at, string(body), true},
		{"in capitals", at + ",v1=" + strings.ToUpper(digest[3:]), string(body), true},
		{"by two secrets", at + "," + other + "," + digest, string(body), true},
		{"with a later version", at + ",v2=abc," + digest, string(body), true},
		{"at the age limit", smstest.SignWebhook(smstest.Secret, fixedNow.Add(-5*time.Minute), body), string(body), true},
		{"stale", smstest.SignWebhook(smstest.Secret, fixedNow.Add(-5*time.Minute-time.Second), body), string(body), false},
		{"from the future", smstest.SignWebhook(smstest.Secret, fixedNow.Add(5*time.Minute+time.Second), body), string(body), false},
		{"altered", genuine, `{"id":"gw:1","state":"expired"}`, false},
		{"by another secret", foreign, string(body), false},
		{"with a new time", "t=1795514401," + digest, string(body), false},
		{"with two times", genuine + ",t=1795514401", string(body), false},
		{"without a time", digest, string(body), false},
		{"without a digest", at, string(body), false},
		{"with an empty digest", at + ",v1=", string(body), false},
		{"with half a digest", genuine[:len(genuine)-32], string(body), false},
		{"unsigned", "", string(body), false},
		{"nonsense", "v1,t;=", string(body), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := p.Receipts(callbackRequest(tc.signature), []byte(tc.body))
			if tc.ok != (err == nil) || err != nil && !errors.Is(err, sms.ErrSignature) {
				t.Errorf("Receipts: %v; want it accepted: %v", err, tc.ok)
			}
		})
	}
}

// TestExample runs the shell example of the page for operators.
func TestExample(t *testing.T) {
	for _, name := range []string{"sh", "openssl", "curl"} {
		testenv.Tool(t, name)
	}
	page, err := os.ReadFile("../../../../docs/delivery/webhook.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(string(page), "```sh\n")
	script, _, found := strings.Cut(script, "```")
	if !found {
		t.Fatal("the page has no example")
	}
	p := open(t, "https://gateway.example.com/", func(o *webhook.Options) { o.Now = nil })
	g := &smstest.Recorder{}
	mux := http.NewServeMux()
	mux.Handle("POST /sms/receipts/{provider}", sms.NewCallbacks([]sms.Named{{Name: "gateway", Provider: p}}, g.Record, slog.New(slog.DiscardHandler)))
	srv := httptest.NewServer(mux)
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(smstest.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script = strings.NewReplacer("https://mfa.example.com", srv.URL, "/run/secrets/sms-gateway", file).Replace(script)
	shell := exec.CommandContext(t.Context(), "sh", "-eu")
	shell.Stdin = strings.NewReader(script)
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := []string{"gateway 9f3c undelivered absent"}; !slices.Equal(g.Kept, want) {
		t.Errorf("kept %q; want %q", g.Kept, want)
	}
}

func FuzzReceipts(f *testing.F) {
	f.Add([]byte(`{"id":"gw:1","state":"failed","reason":"absent"}`), "t=1795514400,v1=00")
	f.Add([]byte("{"), ",=,")
	p, err := webhook.New(options("https://gateway.example.com/", nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, signature string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header["Countersign-Signature"] = []string{signature}
		if got, err := p.Receipts(r, body); !errors.Is(err, sms.ErrSignature) {
			t.Fatalf("unsigned: %v, %v", got, err)
		}
		got, err := p.Receipts(callbackRequest(smstest.SignWebhook(smstest.Secret, fixedNow, body)), body)
		smstest.CheckFuzzed(t, got, err)
	})
}

func TestRetryAfter(t *testing.T) {
	const sent = "Tue, 24 Nov 2026 10:00:00 GMT"
	for _, tc := range []struct {
		name, after, date string
		want              time.Duration
	}{
		{"seconds", "7", sent, 7 * time.Second},
		{"nothing", "", sent, 0},
		{"zero seconds", "0", sent, 0},
		{"negative seconds", "-7", sent, 0},
		{"a day", "86400", sent, 24 * time.Hour},
		{"more than a day", "86401", sent, 24 * time.Hour},
		{"more than a duration holds", "9223372036854775807", sent, 24 * time.Hour},
		{"a date", "Tue, 24 Nov 2026 10:01:30 GMT", sent, 90 * time.Second},
		{"a date in an older form", "Tuesday, 24-Nov-26 10:01:30 GMT", sent, 90 * time.Second},
		{"a date in the past", "Tue, 24 Nov 2026 09:59:59 GMT", sent, 0},
		{"a date in the far future", "Fri, 31 Dec 9999 23:59:59 GMT", sent, 24 * time.Hour},
		{"a date without a valid Date header", "Tue, 24 Nov 2026 10:01:30 GMT", "yesterday", 0},
		{"nonsense", "soon", sent, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewServer(smstest.Answer(503, "", "Retry-After", tc.after, "Date", tc.date))
			defer srv.Close()
			_, err := open(t, srv.URL, nil).Send(t.Context(), smstest.NewMessage(smstest.Text))
			smstest.CheckError(t, err, sms.Error{Kind: sms.Unavailable, Code: "503", RetryAfter: tc.want})
		})
	}
}
