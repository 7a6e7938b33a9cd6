package sms_test

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
	"github.com/countersign-mfa/countersign/internal/secret"
)

var (
	telnyxNow     = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	telnyxPrivate = ed25519.NewKeyFromSeed([]byte("a seed of 32 bytes for the tests"))
	telnyxPublic  = base64.StdEncoding.EncodeToString(telnyxPrivate.Public().(ed25519.PublicKey))
)

// telnyxOptions are options that work, as they are after change.
func telnyxOptions(baseURL string, change func(*sms.TelnyxOptions)) sms.TelnyxOptions {
	o := sms.TelnyxOptions{
		APIKey: secret.NewString(telnyxKey), From: telnyxSender, PublicKey: telnyxPublic,
		CallbackURL: "https://mfa.example.com/sms/telnyx", BaseURL: baseURL,
		Now: func() time.Time { return telnyxNow },
	}
	if change != nil {
		change(&o)
	}
	return o
}

func openTelnyx(t *testing.T, baseURL string, change func(*sms.TelnyxOptions)) *sms.Telnyx {
	t.Helper()
	p, err := sms.NewTelnyx(telnyxOptions(baseURL, change))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTelnyxSends(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*sms.TelnyxOptions)
		text   string
		want   telnyxAccepted
	}{
		{"from a number", nil, wireText, telnyxAccepted{From: telnyxSender, Encoding: "GSM-7", WebhookURL: "https://mfa.example.com/sms/telnyx"}},
		{"beyond GSM-7", nil, "Код: 739105 <&> 🔑", telnyxAccepted{From: telnyxSender, Encoding: "UCS-2", WebhookURL: "https://mfa.example.com/sms/telnyx"}},
		{"from a name", func(o *sms.TelnyxOptions) { o.From, o.MessagingProfileID = "Acme", telnyxProfile }, wireText,
			telnyxAccepted{From: "Acme", MessagingProfileID: telnyxProfile, Encoding: "GSM-7", WebhookURL: "https://mfa.example.com/sms/telnyx"}},
		{"from a pool, without receipts", func(o *sms.TelnyxOptions) {
			o.From, o.MessagingProfileID, o.CallbackURL, o.PublicKey = "", telnyxProfile, "", ""
		}, wireText, telnyxAccepted{MessagingProfileID: telnyxProfile, Encoding: "GSM-7"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newTelnyxDouble(t)
			id, err := openTelnyx(t, d.URL, tc.change).Send(t.Context(), wireMessage(tc.text))
			if err != nil || len(d.all()) != 1 {
				t.Fatalf("Send = %q, %v with %d accepted; want one", id, err, len(d.all()))
			}
			got := d.all()[0]
			if id == "" || id != got.ID || got.To != wireNumber || got.Text != tc.text {
				t.Errorf("id %q, accepted %+v", id, got)
			}
			if got.From != tc.want.From || got.MessagingProfileID != tc.want.MessagingProfileID || got.Encoding != tc.want.Encoding || got.WebhookURL != tc.want.WebhookURL {
				t.Errorf("accepted %+v; want %+v", got, tc.want)
			}
			// The text goes to nobody but the callback URL, if there is one.
			if (got.WebhookURL != "") != (got.UseProfileWebhooks != nil && !*got.UseProfileWebhooks) {
				t.Errorf("use_profile_webhooks is %v with webhook_url %q", got.UseProfileWebhooks, got.WebhookURL)
			}
		})
	}
}

func TestTelnyxIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*sms.TelnyxOptions)
		spoil  func(*telnyxDouble)
		to     string
		want   sms.Error
	}{
		{"wrong key", func(o *sms.TelnyxOptions) { o.APIKey = secret.NewString("KEY-other-" + wireSecret) }, nil, wireNumber, sms.Error{Kind: sms.Unavailable, Code: "10009"}},
		{"sender of others", func(o *sms.TelnyxOptions) { o.From = "+18445559999" }, nil, wireNumber, sms.Error{Kind: sms.Unavailable, Code: "40305"}},
		{"not E.164", nil, nil, "6073517112", sms.Error{Kind: sms.Refused, Code: "10016"}},
		{"no number", nil, nil, "+1607", sms.Error{Kind: sms.Refused, Code: "40310"}},
		{"opted out", nil, func(d *telnyxDouble) { d.optedOut[wireNumber] = true }, wireNumber, sms.Error{Kind: sms.Refused, Code: "40300"}},
		{"out of credit", nil, func(d *telnyxDouble) { d.broke = true }, wireNumber, sms.Error{Kind: sms.Unavailable, Code: "20100"}},
		{"throttled", nil, func(d *telnyxDouble) { d.waits = "12" }, wireNumber, sms.Error{Kind: sms.Unavailable, Code: "10011", RetryAfter: 12 * time.Second}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newTelnyxDouble(t)
			if tc.spoil != nil {
				tc.spoil(d)
			}
			m := wireMessage(wireText)
			m.To = secret.NewString(tc.to)
			_, err := openTelnyx(t, d.URL, tc.change).Send(t.Context(), m)
			wireError(t, err, tc.want)
			if len(d.all()) != 0 {
				t.Error("it was accepted all the same")
			}
		})
	}
}

func TestTelnyxErrorCodes(t *testing.T) {
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
		for _, format := range []string{`"%s"`, `%s`} { // documented as a string, and as a number
			t.Run(tc.code+tc.pointer+format, func(t *testing.T) {
				body := fmt.Sprintf(`{"errors":[{"code":`+format+`,"title":"t","detail":"%s","source":{"pointer":"%s"}}]}`, tc.code, wireNumber, tc.pointer)
				srv := httptest.NewServer(wireAnswer(tc.status, body))
				defer srv.Close()
				_, err := openTelnyx(t, srv.URL, nil).Send(t.Context(), wireMessage(wireText))
				wireError(t, err, sms.Error{Kind: tc.want, Code: tc.code})
			})
		}
	}
}

func TestTelnyxOnBrokenWires(t *testing.T) {
	open := func(t *testing.T, baseURL string) sms.Provider { return openTelnyx(t, baseURL, nil) }
	testWires(t, open)
	testUnreadable(t, open, 200, `{"data":{}}`, `{"data":{"id":7}}`, `{"data":{"id":"`+wireNumber+`"}}`)
}

func TestTelnyxOptions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*sms.TelnyxOptions)
		want   string // in the error; "" if there is none
	}{
		{"complete", nil, ""},
		{"defaults", func(o *sms.TelnyxOptions) { o.BaseURL, o.Now = "", nil }, ""},
		{"a short code", func(o *sms.TelnyxOptions) { o.From = "12345" }, ""},
		{"no key", func(o *sms.TelnyxOptions) { o.APIKey = secret.String{} }, "api_key"},
		{"no sender", func(o *sms.TelnyxOptions) { o.From = "" }, "from"},
		{"a bad sender", func(o *sms.TelnyxOptions) { o.From = "+1 844" }, "from"},
		{"a long name", func(o *sms.TelnyxOptions) { o.From, o.MessagingProfileID = "TwelveLetter", telnyxProfile }, "from"},
		{"a name without a profile", func(o *sms.TelnyxOptions) { o.From = "Acme" }, "messaging_profile_id"},
		{"a callback that cannot be checked", func(o *sms.TelnyxOptions) { o.PublicKey = "" }, "public_key"},
		{"a key that is none", func(o *sms.TelnyxOptions) { o.PublicKey = "c2hvcnQ=" }, "public_key"},
		{"a plain callback", func(o *sms.TelnyxOptions) { o.CallbackURL = "http://mfa.example.com/" }, "callback_url"},
		{"a bad base", func(o *sms.TelnyxOptions) { o.BaseURL = "api.telnyx.com" }, "base_url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := sms.NewTelnyx(telnyxOptions("", tc.change))
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("NewTelnyx: %v; want an error with %q", err, tc.want)
			}
		})
	}
}

func TestTelnyxReceipts(t *testing.T) {
	const id = "ac012cbf-5e09-46af-a69a-7c0e2d90993c"
	p := openTelnyx(t, "", nil)
	for _, tc := range []struct {
		name string
		body []byte
		want []sms.Receipt
	}{
		{"queued", telnyxWebhook("message.sent", id, "queued"), []sms.Receipt{{ID: id, State: sms.Queued}}},
		{"sending", telnyxWebhook("message.sent", id, "sending"), []sms.Receipt{{ID: id, State: sms.Queued}}},
		{"sent", telnyxWebhook("message.sent", id, "sent"), []sms.Receipt{{ID: id, State: sms.Sent}}},
		{"delivered", telnyxWebhook("message.finalized", id, "delivered"), []sms.Receipt{{ID: id, State: sms.Delivered}}},
		{"unconfirmed", telnyxWebhook("message.finalized", id, "delivery_unconfirmed"), []sms.Receipt{{ID: id, State: sms.Sent}}},
		{"undelivered", telnyxWebhook("message.finalized", id, "delivery_failed", "40008"), []sms.Receipt{{ID: id, State: sms.Undelivered, Reason: "40008"}}},
		{"expired", telnyxWebhook("message.finalized", id, "expired", "40005", "1"), []sms.Receipt{{ID: id, State: sms.Undelivered, Reason: "40005"}}},
		{"failed", telnyxWebhook("message.finalized", id, "sending_failed", "40014"), []sms.Receipt{{ID: id, State: sms.Failed, Reason: "40014"}}},
		{"failed without a code", telnyxWebhook("message.finalized", id, "sending_failed"), []sms.Receipt{{ID: id, State: sms.Failed}}},
		{"a code that may be a number", telnyxWebhook("message.finalized", id, "sending_failed", wireNumber[1:]), []sms.Receipt{{ID: id, State: sms.Failed}}},
		{"delivered in spite of an error", telnyxWebhook("message.finalized", id, "delivered", "40011"), []sms.Receipt{{ID: id, State: sms.Delivered}}},
		{"a status of tomorrow", telnyxWebhook("message.finalized", id, "teleported"), nil},
		{"no id", telnyxWebhook("message.finalized", "", "delivered"), nil},
		{"an answer of the phone", telnyxWebhook("message.received", id, "delivered"), nil},
		{"a call", []byte(`{"data":{"event_type":"call.hangup","payload":{"to":"+18005550199"}}}`), nil},
		{"nobody's", []byte(`{"data":{"event_type":"message.sent","payload":{"id":"` + id + `","to":[]}}}`), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := p.Receipts(telnyxSign(telnyxPrivate, telnyxNow, tc.body), tc.body)
			wireReceipts(t, got, err, tc.want...)
		})
	}
	for _, body := range []string{"", "{", "[]", `{"data":7}`, `{"data":{"event_type":"message.sent","payload":7}}`, `{"data":{"event_type":"message.sent"}}`} {
		t.Run("malformed "+body, func(t *testing.T) {
			got, err := p.Receipts(telnyxSign(telnyxPrivate, telnyxNow, []byte(body)), []byte(body))
			if err == nil || errors.Is(err, sms.ErrSignature) || got != nil {
				t.Errorf("Receipts = %v, %v; want another error", got, err)
			}
		})
	}
}

func TestTelnyxRefusesForgedReceipts(t *testing.T) {
	body := telnyxWebhook("message.finalized", "ac012cbf-5e09-46af-a69a-7c0e2d90993c", "delivered")
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	genuine := func(change func(*http.Request)) *http.Request {
		r := telnyxSign(telnyxPrivate, telnyxNow, body)
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
		{"as old as it may be", telnyxSign(telnyxPrivate, telnyxNow.Add(-5*time.Minute), body), body, true},
		{"stale", telnyxSign(telnyxPrivate, telnyxNow.Add(-5*time.Minute-time.Second), body), body, false},
		{"of the future", telnyxSign(telnyxPrivate, telnyxNow.Add(5*time.Minute+time.Second), body), body, false},
		{"altered", genuine(func(*http.Request) {}), bytes.Replace(body, []byte("delivered"), []byte("expired"), 1), false},
		{"signed by another", telnyxSign(other, telnyxNow, body), body, false},
		{"replayed under a new time", genuine(func(r *http.Request) { r.Header.Set("telnyx-timestamp", "1795514401") }), body, false},
		{"no signature", genuine(func(r *http.Request) { r.Header.Del("telnyx-signature-ed25519") }), body, false},
		{"a short signature", genuine(func(r *http.Request) { r.Header.Set("telnyx-signature-ed25519", "AAAA") }), body, false},
		{"a signature that is no base64", genuine(func(r *http.Request) { r.Header.Set("telnyx-signature-ed25519", "*") }), body, false},
		{"no time", genuine(func(r *http.Request) { r.Header.Del("telnyx-timestamp") }), body, false},
		{"a time that is none", genuine(func(r *http.Request) { r.Header.Set("telnyx-timestamp", "now") }), body, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := openTelnyx(t, "", nil).Receipts(tc.r, tc.body)
			if tc.ok != (err == nil) || err != nil && !errors.Is(err, sms.ErrSignature) {
				t.Errorf("Receipts: %v; want it taken: %v", err, tc.ok)
			}
		})
	}
	t.Run("without a key", func(t *testing.T) {
		p := openTelnyx(t, "", func(o *sms.TelnyxOptions) { o.PublicKey, o.CallbackURL = "", "" })
		if _, err := p.Receipts(genuine(func(*http.Request) {}), body); !errors.Is(err, sms.ErrSignature) {
			t.Errorf("Receipts: %v; want %v", err, sms.ErrSignature)
		}
	})
}

func FuzzTelnyxReceipts(f *testing.F) {
	f.Add(telnyxWebhook("message.finalized", "ac012cbf-5e09-46af-a69a-7c0e2d90993c", "delivery_failed", "40008"), "1795514400", "AAAA")
	f.Add([]byte(`{"data":{"event_type":"message.sent","payload":null}}`), "", "")
	p, err := sms.NewTelnyx(telnyxOptions("", nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, at, signature string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header["Telnyx-Timestamp"], r.Header["Telnyx-Signature-Ed25519"] = []string{at}, []string{signature}
		if got, err := p.Receipts(r, body); !errors.Is(err, sms.ErrSignature) {
			t.Fatalf("unsigned: %v, %v", got, err)
		}
		got, err := p.Receipts(telnyxSign(telnyxPrivate, telnyxNow, body), body)
		wireFuzzed(t, got, err)
	})
}
