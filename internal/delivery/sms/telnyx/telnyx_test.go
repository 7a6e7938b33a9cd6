package telnyx_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/telnyx"
	"github.com/countersign-mfa/countersign/internal/secret"
)

var (
	fixedNow = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	private  = ed25519.NewKeyFromSeed([]byte("a seed of 32 bytes for the tests"))
	public   = base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
)

// options returns valid options after change.
func options(baseURL string, change func(*telnyx.Options)) telnyx.Options {
	o := telnyx.Options{
		APIKey: secret.NewString(signingKey), From: sender, PublicKey: public,
		CallbackURL: "https://mfa.example.com/sms/telnyx", BaseURL: baseURL,
		Now: func() time.Time { return fixedNow },
	}
	if change != nil {
		change(&o)
	}
	return o
}

func open(t *testing.T, baseURL string, change func(*telnyx.Options)) *telnyx.Provider {
	t.Helper()
	p, err := telnyx.New(options(baseURL, change))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSends(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*telnyx.Options)
		text   string
		want   acceptedMessage
	}{
		{"from a number", nil, smstest.Text, acceptedMessage{From: sender, Encoding: "GSM-7", WebhookURL: "https://mfa.example.com/sms/telnyx"}},
		{"outside of GSM-7", nil, "Код: 739105 <&> 🔑", acceptedMessage{From: sender, Encoding: "UCS-2", WebhookURL: "https://mfa.example.com/sms/telnyx"}},
		{"from a name", func(o *telnyx.Options) { o.From, o.MessagingProfileID = "Acme", profile }, smstest.Text,
			acceptedMessage{From: "Acme", MessagingProfileID: profile, Encoding: "GSM-7", WebhookURL: "https://mfa.example.com/sms/telnyx"}},
		{"from a pool, without receipts", func(o *telnyx.Options) {
			o.From, o.MessagingProfileID, o.CallbackURL, o.PublicKey = "", profile, "", ""
		}, smstest.Text, acceptedMessage{MessagingProfileID: profile, Encoding: "GSM-7"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble(t)
			id, err := open(t, d.URL, tc.change).Send(t.Context(), smstest.NewMessage(tc.text))
			if err != nil || len(d.all()) != 1 {
				t.Fatalf("Send = %q, %v with %d accepted; want one", id, err, len(d.all()))
			}
			got := d.all()[0]
			if id == "" || id != got.ID || got.To != smstest.Number || got.Text != tc.text {
				t.Errorf("id %q, accepted %+v", id, got)
			}
			if got.From != tc.want.From || got.MessagingProfileID != tc.want.MessagingProfileID || got.Encoding != tc.want.Encoding || got.WebhookURL != tc.want.WebhookURL {
				t.Errorf("accepted %+v; want %+v", got, tc.want)
			}
			// The text goes only to the callback URL, if there is one.
			if (got.WebhookURL != "") != (got.UseProfileWebhooks != nil && !*got.UseProfileWebhooks) {
				t.Errorf("use_profile_webhooks is %v with webhook_url %q", got.UseProfileWebhooks, got.WebhookURL)
			}
		})
	}
}

func TestIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*telnyx.Options)
		spoil  func(*double)
		to     string
		want   sms.Error
	}{
		{"wrong key", func(o *telnyx.Options) { o.APIKey = secret.NewString("KEY-other-" + smstest.Secret) }, nil, smstest.Number, sms.Error{Kind: sms.Unavailable, Code: "10009"}},
		{"a sender of another account", func(o *telnyx.Options) { o.From = "+18445559999" }, nil, smstest.Number, sms.Error{Kind: sms.Unavailable, Code: "40305"}},
		{"not E.164", nil, nil, "6073517112", sms.Error{Kind: sms.Refused, Code: "10016"}},
		{"not a number", nil, nil, "+1607", sms.Error{Kind: sms.Refused, Code: "40310"}},
		{"opted out", nil, func(d *double) { d.optedOut[smstest.Number] = true }, smstest.Number, sms.Error{Kind: sms.Refused, Code: "40300"}},
		{"out of credit", nil, func(d *double) { d.broke = true }, smstest.Number, sms.Error{Kind: sms.Unavailable, Code: "20100"}},
		{"throttled", nil, func(d *double) { d.waits = "12" }, smstest.Number, sms.Error{Kind: sms.Unavailable, Code: "10011", RetryAfter: 12 * time.Second}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble(t)
			if tc.spoil != nil {
				tc.spoil(d)
			}
			m := smstest.NewMessage(smstest.Text)
			m.To = secret.NewString(tc.to)
			_, err := open(t, d.URL, tc.change).Send(t.Context(), m)
			smstest.CheckError(t, err, tc.want)
			if len(d.all()) != 0 {
				t.Error("it was accepted all the same")
			}
		})
	}
}

func TestErrorCodes(t *testing.T) {
	for _, tc := range []struct {
		code, pointer string
		status        int
		want          sms.Kind
	}{
		{"40001", "", 400, sms.Refused}, {"40012", "/to", 400, sms.Refused}, {"40300", "", 403, sms.Refused}, {"40310", "/to", 400, sms.Refused},
		{"10002", "/to", 400, sms.Refused}, {"10002", "/from", 400, sms.Unavailable}, {"10002", "", 400, sms.Unavailable},
		{"10016", "/from", 422, sms.Unavailable}, {"10001", "/to", 422, sms.Refused}, {"10015", "/to", 422, sms.Unavailable},
		{"10008", "", 408, sms.Uncertain}, {"10007", "", 500, sms.Unavailable}, {"10010", "", 403, sms.Unavailable},
		{"20100", "", 403, sms.Unavailable}, {"40010", "", 403, sms.Unavailable}, {"40305", "/from", 400, sms.Unavailable},
		{"40309", "", 403, sms.Unavailable}, {"40312", "", 403, sms.Unavailable}, {"40318", "", 429, sms.Unavailable},
		{"40322", "", 403, sms.Unavailable}, {"40333", "", 403, sms.Unavailable}, {"49999", "", 400, sms.Unavailable},
	} {
		for _, format := range []string{`"%s"`, `%s`} { // documented as a string and as a number
			t.Run(tc.code+tc.pointer+format, func(t *testing.T) {
				body := fmt.Sprintf(`{"errors":[{"code":`+format+`,"title":"t","detail":"%s","source":{"pointer":"%s"}}]}`, tc.code, smstest.Number, tc.pointer)
				srv := httptest.NewServer(smstest.Answer(tc.status, body))
				defer srv.Close()
				_, err := open(t, srv.URL, nil).Send(t.Context(), smstest.NewMessage(smstest.Text))
				smstest.CheckError(t, err, sms.Error{Kind: tc.want, Code: tc.code})
			})
		}
	}
}

func TestFailuresOfTheService(t *testing.T) {
	open := func(t *testing.T, baseURL string) sms.Provider { return open(t, baseURL, nil) }
	smstest.RunBroken(t, open)
	smstest.RunUnreadable(t, open, 200, `{"data":{}}`, `{"data":{"id":7}}`, `{"data":{"id":"`+smstest.Number+`"}}`)
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*telnyx.Options)
		want   string // part of the error; "" if New succeeds
	}{
		{"complete", nil, ""},
		{"defaults", func(o *telnyx.Options) { o.BaseURL, o.Now = "", nil }, ""},
		{"a short code", func(o *telnyx.Options) { o.From = "12345" }, ""},
		{"no key", func(o *telnyx.Options) { o.APIKey = secret.String{} }, "api_key"},
		{"no sender", func(o *telnyx.Options) { o.From = "" }, "from"},
		{"a bad sender", func(o *telnyx.Options) { o.From = "+1 844" }, "from"},
		{"a long name", func(o *telnyx.Options) { o.From, o.MessagingProfileID = "TwelveLetter", profile }, "from"},
		{"a name without a profile", func(o *telnyx.Options) { o.From = "Acme" }, "messaging_profile_id"},
		{"a callback that cannot be checked", func(o *telnyx.Options) { o.PublicKey = "" }, "public_key"},
		{"an invalid key", func(o *telnyx.Options) { o.PublicKey = "c2hvcnQ=" }, "public_key"},
		{"a plain callback", func(o *telnyx.Options) { o.CallbackURL = "http://mfa.example.com/" }, "callback_url"},
		{"a bad base", func(o *telnyx.Options) { o.BaseURL = "api.telnyx.com" }, "base_url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := telnyx.New(options("", tc.change))
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New: %v; want an error with %q", err, tc.want)
			}
		})
	}
}

func TestReceipts(t *testing.T) {
	const id = "ac012cbf-5e09-46af-a69a-7c0e2d90993c"
	p := open(t, "", nil)
	for _, tc := range []struct {
		name string
		body []byte
		want []sms.Receipt
	}{
		{"queued", webhookBody("message.sent", id, "queued"), []sms.Receipt{{ID: id, State: sms.Queued}}},
		{"sending", webhookBody("message.sent", id, "sending"), []sms.Receipt{{ID: id, State: sms.Queued}}},
		{"sent", webhookBody("message.sent", id, "sent"), []sms.Receipt{{ID: id, State: sms.Sent}}},
		{"delivered", webhookBody("message.finalized", id, "delivered"), []sms.Receipt{{ID: id, State: sms.Delivered}}},
		{"unconfirmed", webhookBody("message.finalized", id, "delivery_unconfirmed"), []sms.Receipt{{ID: id, State: sms.Sent}}},
		{"undelivered", webhookBody("message.finalized", id, "delivery_failed", "40008"), []sms.Receipt{{ID: id, State: sms.Undelivered, Reason: "40008"}}},
		{"expired", webhookBody("message.finalized", id, "expired", "40005", "1"), []sms.Receipt{{ID: id, State: sms.Undelivered, Reason: "40005"}}},
		{"failed", webhookBody("message.finalized", id, "sending_failed", "40014"), []sms.Receipt{{ID: id, State: sms.Failed, Reason: "40014"}}},
		{"failed without a code", webhookBody("message.finalized", id, "sending_failed"), []sms.Receipt{{ID: id, State: sms.Failed}}},
		{"a code that may be a number", webhookBody("message.finalized", id, "sending_failed", smstest.Number[1:]), []sms.Receipt{{ID: id, State: sms.Failed}}},
		{"delivered in spite of an error", webhookBody("message.finalized", id, "delivered", "40011"), []sms.Receipt{{ID: id, State: sms.Delivered}}},
		{"an unknown status", webhookBody("message.finalized", id, "teleported"), nil},
		{"no id", webhookBody("message.finalized", "", "delivered"), nil},
		{"a reply from a phone", webhookBody("message.received", id, "delivered"), nil},
		{"a call", []byte(`{"data":{"event_type":"call.hangup","payload":{"to":"+18005550199"}}}`), nil},
		{"without a recipient", []byte(`{"data":{"event_type":"message.sent","payload":{"id":"` + id + `","to":[]}}}`), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := p.Receipts(signedRequest(private, fixedNow, tc.body), tc.body)
			smstest.CheckReceipts(t, got, err, tc.want...)
		})
	}
	for _, body := range []string{"", "{", "[]", `{"data":7}`, `{"data":{"event_type":"message.sent","payload":7}}`, `{"data":{"event_type":"message.sent"}}`} {
		t.Run("malformed "+body, func(t *testing.T) {
			got, err := p.Receipts(signedRequest(private, fixedNow, []byte(body)), []byte(body))
			if err == nil || errors.Is(err, sms.ErrSignature) || got != nil {
				t.Errorf("Receipts = %v, %v; want another error", got, err)
			}
		})
	}
}

func TestRefusesForgedReceipts(t *testing.T) {
	body := webhookBody("message.finalized", "ac012cbf-5e09-46af-a69a-7c0e2d90993c", "delivered")
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	genuine := func(change func(*http.Request)) *http.Request {
		r := signedRequest(private, fixedNow, body)
		change(r)
		return r
	}
	for _, tc := range []struct {
		name string
		r    *http.Request
		body []byte
		ok   bool
	}{
		{"genuine", genuine(func(*http.Request) {}), body, true},
		{"at the age limit", signedRequest(private, fixedNow.Add(-5*time.Minute), body), body, true},
		{"stale", signedRequest(private, fixedNow.Add(-5*time.Minute-time.Second), body), body, false},
		{"from the future", signedRequest(private, fixedNow.Add(5*time.Minute+time.Second), body), body, false},
		{"altered", genuine(func(*http.Request) {}), bytes.Replace(body, []byte("delivered"), []byte("expired"), 1), false},
		{"signed by another", signedRequest(other, fixedNow, body), body, false},
		{"replayed with a new time", genuine(func(r *http.Request) { r.Header.Set("telnyx-timestamp", "1795514401") }), body, false},
		{"no signature", genuine(func(r *http.Request) { r.Header.Del("telnyx-signature-ed25519") }), body, false},
		{"a short signature", genuine(func(r *http.Request) { r.Header.Set("telnyx-signature-ed25519", "AAAA") }), body, false},
		{"a signature that is not base64", genuine(func(r *http.Request) { r.Header.Set("telnyx-signature-ed25519", "*") }), body, false},
		{"no time", genuine(func(r *http.Request) { r.Header.Del("telnyx-timestamp") }), body, false},
		{"an invalid time", genuine(func(r *http.Request) { r.Header.Set("telnyx-timestamp", "now") }), body, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := open(t, "", nil).Receipts(tc.r, tc.body)
			if tc.ok != (err == nil) || err != nil && !errors.Is(err, sms.ErrSignature) {
				t.Errorf("Receipts: %v; want it accepted: %v", err, tc.ok)
			}
		})
	}
	t.Run("without a key", func(t *testing.T) {
		p := open(t, "", func(o *telnyx.Options) { o.PublicKey, o.CallbackURL = "", "" })
		if _, err := p.Receipts(genuine(func(*http.Request) {}), body); !errors.Is(err, sms.ErrSignature) {
			t.Errorf("Receipts: %v; want %v", err, sms.ErrSignature)
		}
	})
}

func FuzzReceipts(f *testing.F) {
	f.Add(webhookBody("message.finalized", "ac012cbf-5e09-46af-a69a-7c0e2d90993c", "delivery_failed", "40008"), "1795514400", "AAAA")
	f.Add([]byte(`{"data":{"event_type":"message.sent","payload":null}}`), "", "")
	p, err := telnyx.New(options("", nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, at, signature string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header["Telnyx-Timestamp"], r.Header["Telnyx-Signature-Ed25519"] = []string{at}, []string{signature}
		if got, err := p.Receipts(r, body); !errors.Is(err, sms.ErrSignature) {
			t.Fatalf("unsigned: %v, %v", got, err)
		}
		got, err := p.Receipts(signedRequest(private, fixedNow, body), body)
		smstest.CheckFuzzed(t, got, err)
	})
}

func TestCodesOfNumbersNotServed(t *testing.T) {
	smstest.RunUnserved(t, func(base string) sms.Provider { return open(t, base, nil) },
		smstest.AnswerCode(403, `{"errors":[{"code":"`, `"}]}`),
		telnyx.CodeTables, []string{"10039", "40010", "40301", "40309", "40319"}, "40305")
}
