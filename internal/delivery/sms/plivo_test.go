package sms_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const (
	plivoCallback = "https://mfa.example.com/sms/plivo"
	plivoNonce    = "24725744043720739450"
	plivoMessage  = "db3ce55a-7f1d-11e1-8ea7-000000000001"
)

func plivoOptions(base string) sms.PlivoOptions {
	return sms.PlivoOptions{
		AuthID: plivoID, AuthToken: secret.NewString(plivoToken), From: plivoFrom, CallbackURL: plivoCallback, BaseURL: base,
	}
}

func openPlivo(t testing.TB, o sms.PlivoOptions) *sms.Plivo {
	t.Helper()
	p, err := sms.NewPlivo(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlivoSends(t *testing.T) {
	for _, tc := range []struct {
		name  string
		opts  func(*sms.PlivoOptions)
		text  string
		valid time.Duration
		want  map[string]any
	}{
		{"from a number", func(*sms.PlivoOptions) {}, wireText, 10 * time.Minute, map[string]any{
			"src": plivoFrom, "dst": wireNumber[1:], "text": wireText, "type": "sms",
			"url": plivoCallback, "method": "POST", "message_expiry": 600.0, "log": false,
		}},
		{"from a powerpack, without receipts", func(o *sms.PlivoOptions) {
			o.From, o.PowerpackUUID, o.CallbackURL = "", plivoPowerpack, ""
		}, wireText, 0, map[string]any{
			"powerpack_uuid": plivoPowerpack, "dst": wireNumber[1:], "text": wireText, "type": "sms", "log": false,
		}},
		{"what GSM-7 and HTML lack", func(o *sms.PlivoOptions) { o.CallbackURL = "" }, "Ваш <код> & 🔑 \"739105\"", time.Second, map[string]any{
			"src": plivoFrom, "dst": wireNumber[1:], "text": "Ваш <код> & 🔑 \"739105\"", "type": "sms", "message_expiry": 5.0, "log": false,
		}},
		{"for more than Plivo's most", func(o *sms.PlivoOptions) { o.CallbackURL = "" }, wireText, 4 * time.Hour, map[string]any{
			"src": plivoFrom, "dst": wireNumber[1:], "text": wireText, "type": "sms", "message_expiry": 10800.0, "log": false,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newPlivoDouble(t)
			o := plivoOptions(d.URL)
			tc.opts(&o)
			m := wireMessage(tc.text)
			m.ValidFor = tc.valid
			id, err := openPlivo(t, o).Send(t.Context(), m)
			if err != nil || id != plivoMessage {
				t.Fatalf("Send = %q, %v", id, err)
			}
			if len(d.accepted) != 1 || !maps.Equal(d.accepted[0], tc.want) {
				t.Errorf("the service has %v; want %v", d.accepted, tc.want)
			}
		})
	}
}

func TestPlivoRefuses(t *testing.T) {
	for _, tc := range []struct {
		status int
		kind   sms.Kind
		wait   time.Duration
	}{
		{400, sms.Unavailable, 0},
		{402, sms.Unavailable, 0},
		{403, sms.Unavailable, 0},
		{404, sms.Unavailable, 0},
		{405, sms.Unavailable, 0},
		{418, sms.Unavailable, 0},
		{429, sms.Unavailable, time.Second},
		{500, sms.Unavailable, 0},
		{502, sms.Uncertain, 0},
		{503, sms.Unavailable, 0},
	} {
		t.Run(strconv.Itoa(tc.status), func(t *testing.T) {
			d := newPlivoDouble(t)
			d.refuse = tc.status
			_, err := openPlivo(t, plivoOptions(d.URL)).Send(t.Context(), wireMessage(wireText))
			wireError(t, err, sms.Error{Kind: tc.kind, Code: strconv.Itoa(tc.status), RetryAfter: tc.wait})
		})
	}
	t.Run("another token", func(t *testing.T) {
		d := newPlivoDouble(t)
		o := plivoOptions(d.URL)
		o.AuthToken = secret.NewString(wireSecret + "2")
		_, err := openPlivo(t, o).Send(t.Context(), wireMessage(wireText))
		wireError(t, err, sms.Error{Kind: sms.Unavailable, Code: "401"})
	})
	t.Run("a number that is none", func(t *testing.T) {
		d := newPlivoDouble(t)
		m := wireMessage(wireText)
		m.To = secret.NewString("+49")
		_, err := openPlivo(t, plivoOptions(d.URL)).Send(t.Context(), m)
		wireError(t, err, sms.Error{Kind: sms.Refused, Code: "400"})
	})
	for name, tc := range map[string]struct {
		status int
		body   string
		kind   sms.Kind
		code   string
	}{
		"accepted, but not for the number":    {202, `{"message":"message(s) queued","message_uuid":[],"invalid_number":["` + wireNumber[1:] + `"]}`, sms.Refused, "202"},
		"accepted twice":                      {202, `{"message_uuid":["db3ce55a-7f1d-11e1-8ea7-000000000001","db3ce55a-7f1d-11e1-8ea7-000000000002"]}`, sms.Uncertain, ""},
		"accepted under a strange id":         {202, `{"message_uuid":["` + wireNumber + `"]}`, sms.Uncertain, ""},
		"accepted in part":                    {202, `{"message_uuid":["` + wireNumber + `"],"invalid_number":["` + wireNumber[1:] + `"]}`, sms.Uncertain, ""},
		"failing inside with invalid numbers": {500, `{"invalid_number":["` + wireNumber[1:] + `"]}`, sms.Unavailable, "500"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(wireAnswer(tc.status, tc.body))
			defer server.Close()
			_, err := openPlivo(t, plivoOptions(server.URL)).Send(t.Context(), wireMessage(wireText))
			wireError(t, err, sms.Error{Kind: tc.kind, Code: tc.code})
		})
	}
}

func TestPlivoOnBrokenWires(t *testing.T) {
	open := func(t *testing.T, base string) sms.Provider { return openPlivo(t, plivoOptions(base)) }
	testWires(t, open)
	testUnreadable(t, open, 202, `{"message_uuid":["`+plivoMessage+`"`, `{"message_uuid":[]}`, `["`+wireNumber+`"]`)
}

func TestPlivoOptions(t *testing.T) {
	for _, tc := range []struct {
		want string // in the error; "" for none
		set  func(*sms.PlivoOptions)
	}{
		{"", func(*sms.PlivoOptions) {}},
		{"", func(o *sms.PlivoOptions) { o.CallbackURL, o.BaseURL = "", "" }},
		{"", func(o *sms.PlivoOptions) { o.From, o.PowerpackUUID = "", plivoPowerpack }},
		{"auth_id", func(o *sms.PlivoOptions) { o.AuthID = "" }},
		{"auth_id", func(o *sms.PlivoOptions) { o.AuthID = "MA/../XXXXXXXXXXXXXX" }},
		{"auth_token", func(o *sms.PlivoOptions) { o.AuthToken = secret.String{} }},
		{"from", func(o *sms.PlivoOptions) { o.From = "" }},
		{"powerpack_uuid", func(o *sms.PlivoOptions) { o.PowerpackUUID = plivoPowerpack }},
		{"powerpack_uuid", func(o *sms.PlivoOptions) { o.From, o.PowerpackUUID = "", "1" }},
		{"callback_url", func(o *sms.PlivoOptions) { o.CallbackURL += "?a=1" }},
		{"callback_url", func(o *sms.PlivoOptions) { o.CallbackURL = "http://mfa.example.com/x" }},
		{"base_url", func(o *sms.PlivoOptions) { o.BaseURL = "http://api.plivo.com" }},
		{"base_url", func(o *sms.PlivoOptions) { o.BaseURL = "https://api.plivo.com?a=1" }},
	} {
		o := plivoOptions("https://api.plivo.com")
		tc.set(&o)
		p, err := sms.NewPlivo(o)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("NewPlivo = %v", err)
		case tc.want != "" && (err == nil || p != nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("NewPlivo = %v; want an error about %s", err, tc.want)
		}
	}
}

func plivoReceipt(status, code string) url.Values {
	return url.Values{
		"From": {plivoFrom}, "To": {wireNumber[1:]}, "Status": {status}, "ErrorCode": {code},
		"MessageUUID": {plivoMessage}, "ParentMessageUUID": {plivoMessage}, "PartInfo": {"1 of 1"}, "Units": {"1"},
		"TotalRate": {"0.0050"}, "TotalAmount": {"0.0050"}, "MCC": {"262"}, "MNC": {"01"}, "QueuedTime": {"2026-11-24 02:00:00"},
	}
}

func plivoCall(body, name, signature string) *http.Request {
	return post(plivoCallback, formMedia, body, "X-Plivo-Signature-V3-Nonce", plivoNonce, name, signature)
}

func TestPlivoReceipts(t *testing.T) {
	p := openPlivo(t, plivoOptions(""))
	for _, tc := range []struct {
		status, code string
		want         []sms.Receipt
	}{
		{"queued", "", []sms.Receipt{{State: sms.Queued}}},
		{"sent", "000", []sms.Receipt{{State: sms.Sent}}},
		{"delivered", "000", []sms.Receipt{{State: sms.Delivered}}},
		{"undelivered", "80", []sms.Receipt{{State: sms.Undelivered, Reason: "80"}}},
		{"undelivered", "000", []sms.Receipt{{State: sms.Undelivered}}},
		{"failed", "900", []sms.Receipt{{State: sms.Failed, Reason: "900"}}},
		{"failed", wireNumber, []sms.Receipt{{State: sms.Failed}}},
		{"rejected", "", []sms.Receipt{{State: sms.Failed}}},
		{"received", "", nil},
	} {
		for _, header := range []string{"X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3"} {
			t.Run(tc.status+" "+header, func(t *testing.T) {
				want := slices.Clone(tc.want)
				for i := range want {
					want[i].ID = plivoMessage
				}
				form := plivoReceipt(tc.status, tc.code)
				// Another token is active; Plivo signs no time, so the second time is as good as the first.
				signatures := signPlivo("another", plivoCallback, plivoNonce, form) + ", " + signPlivo(plivoToken, plivoCallback, plivoNonce, form)
				for range 2 {
					got, err := p.Receipts(plivoCall("", header, signatures), []byte(form.Encode()))
					wireReceipts(t, got, err, want...)
				}
			})
		}
	}
	for name, change := range map[string]func(url.Values){
		"for a part":       func(f url.Values) { f.Set("MessageUUID", "db3ce55a-7f1d-11e1-8ea7-000000000002") },
		"without a parent": func(f url.Values) { f.Del("ParentMessageUUID") },
	} {
		form := plivoReceipt("sent", "000")
		change(form)
		got, err := p.Receipts(plivoCall("", "X-Plivo-Signature-V3", signPlivo(plivoToken, plivoCallback, plivoNonce, form)), []byte(form.Encode()))
		if want := []sms.Receipt{{ID: plivoMessage, State: sms.Sent}}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: Receipts = %v, %v; want %v", name, got, err, want)
		}
	}
	form := plivoReceipt("sent", "000")
	form.Set("ParentMessageUUID", wireNumber)
	if got, err := p.Receipts(plivoCall("", "X-Plivo-Signature-V3", signPlivo(plivoToken, plivoCallback, plivoNonce, form)), []byte(form.Encode())); got != nil || err != nil {
		t.Errorf("Receipts = %v, %v; want none", got, err)
	}
}

func TestPlivoRefusesReceipts(t *testing.T) {
	form := plivoReceipt("undelivered", "80")
	body, right := form.Encode(), signPlivo(plivoToken, plivoCallback, plivoNonce, form)
	without := plivoOptions("")
	without.CallbackURL = ""
	p := openPlivo(t, plivoOptions(""))
	v3 := "X-Plivo-Signature-V3"
	v2 := hmac.New(sha256.New, []byte(plivoToken))
	v2.Write([]byte(plivoCallback + plivoNonce))
	v2Signature := base64.StdEncoding.EncodeToString(v2.Sum(nil))
	get := httptest.NewRequest(http.MethodGet, plivoCallback, nil)
	get.Header = plivoCall("", v3, right).Header
	for _, tc := range []struct {
		name string
		p    *sms.Plivo
		r    *http.Request
		body string
	}{
		{"unsigned", p, post(plivoCallback, formMedia, body, "X-Plivo-Signature-V3-Nonce", plivoNonce), body},
		{"an empty signature", p, plivoCall("", v3, ""), body},
		{"without a nonce", p, post(plivoCallback, formMedia, body, v3, signPlivo(plivoToken, plivoCallback, "", form)), body},
		{"with another nonce", p, plivoCall("", v3, signPlivo(plivoToken, plivoCallback, "1", form)), body},
		{"signed by another token", p, plivoCall("", v3, signPlivo("another", plivoCallback, plivoNonce, form)), body},
		{"signed for another URL", p, plivoCall("", v3, signPlivo(plivoToken, plivoCallback+"/", plivoNonce, form)), body},
		{"signed in version 2", p, post(plivoCallback, formMedia, body, "X-Plivo-Signature-V2", v2Signature, "X-Plivo-Signature-V2-Nonce", plivoNonce), body},
		{"the signature of version 2", p, plivoCall("", v3, v2Signature), body},
		{"altered", p, plivoCall("", v3, right), strings.Replace(body, "undelivered", "delivered", 1)},
		{"longer", p, plivoCall("", v3, right), body + "&Status=delivered"},
		{"a parameter twice", p, plivoCall("", v3, right), body + "&Status=undelivered"},
		{"shorter", p, plivoCall("", v3, right), strings.Replace(body, "ErrorCode=80&", "", 1)},
		{"malformed", p, plivoCall("", v3, right), "%zz" + body},
		{"empty", p, plivoCall("", v3, right), ""},
		{"got", p, get, body},
		{"where none are expected", openPlivo(t, without), plivoCall("", v3, signPlivo(plivoToken, "", plivoNonce, form)), body},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.p.Receipts(tc.r, []byte(tc.body))
			if got != nil || !errors.Is(err, sms.ErrSignature) {
				t.Errorf("Receipts = %v, %v; want ErrSignature", got, err)
			}
		})
	}
}

// The signature is what openssl dgst -sha256 -hmac my_auth_token prints, in Base64, for
// https://mfa.example.com/sms/plivo?ErrorCode000From14152828726MessageUUIDdb3ce55a-7f1d-11e1-8ea7-1231380bc196StatusdeliveredTo4915112345678.24725744043720739450
func TestPlivoSignature(t *testing.T) {
	o := plivoOptions("")
	o.AuthToken = secret.NewString("my_auth_token")
	form := url.Values{
		"To": {"4915112345678"}, "From": {"14152828726"}, "Status": {"delivered"}, "ErrorCode": {"000"},
		"MessageUUID": {"db3ce55a-7f1d-11e1-8ea7-1231380bc196"},
	}
	got, err := openPlivo(t, o).Receipts(plivoCall("", "X-Plivo-Signature-V3", "YwxWxi09riDy0PckXoslD1+W3RDE28yRERWYxCpRnag="), []byte(form.Encode()))
	want := []sms.Receipt{{ID: "db3ce55a-7f1d-11e1-8ea7-1231380bc196", State: sms.Delivered}}
	wireReceipts(t, got, err, want...)
}

func FuzzPlivoReceipts(f *testing.F) {
	p := openPlivo(f, plivoOptions(""))
	for _, form := range []url.Values{plivoReceipt("sent", "000"), plivoReceipt("failed", "900"), {}} {
		f.Add(form.Encode(), signPlivo(plivoToken, plivoCallback, plivoNonce, form))
	}
	f.Fuzz(func(t *testing.T, body, signature string) {
		if receipts, err := p.Receipts(plivoCall("", "X-Plivo-Signature-V3", signature), []byte(body)); err != nil && (receipts != nil || !errors.Is(err, sms.ErrSignature)) {
			t.Errorf("Receipts = %v, %v", receipts, err)
		}
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		for _, values := range form {
			if len(values) != 1 {
				return
			}
		}
		receipts, err := p.Receipts(plivoCall("", "X-Plivo-Signature-V3", signPlivo(plivoToken, plivoCallback, plivoNonce, form)), []byte(body))
		if err != nil {
			t.Fatalf("a signed receipt was refused: %v", err)
		}
		for _, receipt := range receipts {
			if receipt.State == "" || receipt.ID == "" || len(receipt.ID) > 64 || len(receipt.Reason) > 5 {
				t.Errorf("receipt %+v", receipt)
			}
		}
	})
}
