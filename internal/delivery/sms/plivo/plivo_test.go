package plivo_test

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
	"github.com/countersign-mfa/countersign/internal/delivery/sms/plivo"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const (
	callback = "https://mfa.example.com/sms/plivo"
	nonce    = "24725744043720739450"
	message  = "db3ce55a-7f1d-11e1-8ea7-000000000001"
)

func options(base string) plivo.Options {
	return plivo.Options{
		AuthID: authID, AuthToken: secret.NewString(authToken), From: sender, CallbackURL: callback, BaseURL: base,
	}
}

func open(t testing.TB, o plivo.Options) *plivo.Provider {
	t.Helper()
	p, err := plivo.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSends(t *testing.T) {
	for _, tc := range []struct {
		name  string
		opts  func(*plivo.Options)
		text  string
		valid time.Duration
		want  map[string]any
	}{
		{"from a number", func(*plivo.Options) {}, smstest.Text, 10 * time.Minute, map[string]any{
			"src": sender, "dst": smstest.Number[1:], "text": smstest.Text, "type": "sms",
			"url": callback, "method": "POST", "message_expiry": 600.0, "log": false,
		}},
		{"from a powerpack, without receipts", func(o *plivo.Options) {
			o.From, o.PowerpackUUID, o.CallbackURL = "", powerpack, ""
		}, smstest.Text, 0, map[string]any{
			"powerpack_uuid": powerpack, "dst": smstest.Number[1:], "text": smstest.Text, "type": "sms", "log": false,
		}},
		{"what GSM-7 and HTML lack", func(o *plivo.Options) { o.CallbackURL = "" }, "Ваш <код> & 🔑 \"739105\"", time.Second, map[string]any{
			"src": sender, "dst": smstest.Number[1:], "text": "Ваш <код> & 🔑 \"739105\"", "type": "sms", "message_expiry": 5.0, "log": false,
		}},
		{"for more than Plivo's most", func(o *plivo.Options) { o.CallbackURL = "" }, smstest.Text, 4 * time.Hour, map[string]any{
			"src": sender, "dst": smstest.Number[1:], "text": smstest.Text, "type": "sms", "message_expiry": 10800.0, "log": false,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble(t)
			o := options(d.URL)
			tc.opts(&o)
			m := smstest.NewMessage(tc.text)
			m.ValidFor = tc.valid
			id, err := open(t, o).Send(t.Context(), m)
			if err != nil || id != message {
				t.Fatalf("Send = %q, %v", id, err)
			}
			if len(d.accepted) != 1 || !maps.Equal(d.accepted[0], tc.want) {
				t.Errorf("the service has %v; want %v", d.accepted, tc.want)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
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
			d := newDouble(t)
			d.refuse = tc.status
			_, err := open(t, options(d.URL)).Send(t.Context(), smstest.NewMessage(smstest.Text))
			smstest.CheckError(t, err, sms.Error{Kind: tc.kind, Code: strconv.Itoa(tc.status), RetryAfter: tc.wait})
		})
	}
	t.Run("another token", func(t *testing.T) {
		d := newDouble(t)
		o := options(d.URL)
		o.AuthToken = secret.NewString(smstest.Secret + "2")
		_, err := open(t, o).Send(t.Context(), smstest.NewMessage(smstest.Text))
		smstest.CheckError(t, err, sms.Error{Kind: sms.Unavailable, Code: "401"})
	})
	t.Run("a number that is none", func(t *testing.T) {
		d := newDouble(t)
		m := smstest.NewMessage(smstest.Text)
		m.To = secret.NewString("+49")
		_, err := open(t, options(d.URL)).Send(t.Context(), m)
		smstest.CheckError(t, err, sms.Error{Kind: sms.Refused, Code: "400"})
	})
	for name, tc := range map[string]struct {
		status int
		body   string
		kind   sms.Kind
		code   string
	}{
		"accepted, but not for the number":    {202, `{"message":"message(s) queued","message_uuid":[],"invalid_number":["` + smstest.Number[1:] + `"]}`, sms.Refused, "202"},
		"accepted twice":                      {202, `{"message_uuid":["db3ce55a-7f1d-11e1-8ea7-000000000001","db3ce55a-7f1d-11e1-8ea7-000000000002"]}`, sms.Uncertain, ""},
		"accepted under a strange id":         {202, `{"message_uuid":["` + smstest.Number + `"]}`, sms.Uncertain, ""},
		"partly accepted":                     {202, `{"message_uuid":["` + smstest.Number + `"],"invalid_number":["` + smstest.Number[1:] + `"]}`, sms.Uncertain, ""},
		"failing inside with invalid numbers": {500, `{"invalid_number":["` + smstest.Number[1:] + `"]}`, sms.Unavailable, "500"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(smstest.Answer(tc.status, tc.body))
			defer server.Close()
			_, err := open(t, options(server.URL)).Send(t.Context(), smstest.NewMessage(smstest.Text))
			smstest.CheckError(t, err, sms.Error{Kind: tc.kind, Code: tc.code})
		})
	}
}

func TestFailuresOfTheService(t *testing.T) {
	open := func(t *testing.T, base string) sms.Provider { return open(t, options(base)) }
	smstest.RunBroken(t, open)
	smstest.RunUnreadable(t, open, 202, `{"message_uuid":["`+message+`"`, `{"message_uuid":[]}`, `["`+smstest.Number+`"]`)
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		want string // part of the error; "" if New succeeds
		set  func(*plivo.Options)
	}{
		{"", func(*plivo.Options) {}},
		{"", func(o *plivo.Options) { o.CallbackURL, o.BaseURL = "", "" }},
		{"", func(o *plivo.Options) { o.From, o.PowerpackUUID = "", powerpack }},
		{"auth_id", func(o *plivo.Options) { o.AuthID = "" }},
		{"auth_id", func(o *plivo.Options) { o.AuthID = "MA/../XXXXXXXXXXXXXX" }},
		{"auth_token", func(o *plivo.Options) { o.AuthToken = secret.String{} }},
		{"from", func(o *plivo.Options) { o.From = "" }},
		{"powerpack_uuid", func(o *plivo.Options) { o.PowerpackUUID = powerpack }},
		{"powerpack_uuid", func(o *plivo.Options) { o.From, o.PowerpackUUID = "", "1" }},
		{"callback_url", func(o *plivo.Options) { o.CallbackURL += "?a=1" }},
		{"callback_url", func(o *plivo.Options) { o.CallbackURL = "http://mfa.example.com/x" }},
		{"base_url", func(o *plivo.Options) { o.BaseURL = "http://api.plivo.com" }},
		{"base_url", func(o *plivo.Options) { o.BaseURL = "https://api.plivo.com?a=1" }},
	} {
		o := options("https://api.plivo.com")
		tc.set(&o)
		p, err := plivo.New(o)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("New = %v", err)
		case tc.want != "" && (err == nil || p != nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("New = %v; want an error about %s", err, tc.want)
		}
	}
}

func receiptForm(status, code string) url.Values {
	return url.Values{
		"From": {sender}, "To": {smstest.Number[1:]}, "Status": {status}, "ErrorCode": {code},
		"MessageUUID": {message}, "ParentMessageUUID": {message}, "PartInfo": {"1 of 1"}, "Units": {"1"},
		"TotalRate": {"0.0050"}, "TotalAmount": {"0.0050"}, "MCC": {"262"}, "MNC": {"01"}, "QueuedTime": {"2026-11-24 02:00:00"},
	}
}

func callbackRequest(body, name, signature string) *http.Request {
	return smstest.Post(callback, smstest.FormMedia, body, "X-Plivo-Signature-V3-Nonce", nonce, name, signature)
}

func TestReceipts(t *testing.T) {
	p := open(t, options(""))
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
		{"failed", smstest.Number, []sms.Receipt{{State: sms.Failed}}},
		{"rejected", "", []sms.Receipt{{State: sms.Failed}}},
		{"received", "", nil},
	} {
		for _, header := range []string{"X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3"} {
			t.Run(tc.status+" "+header, func(t *testing.T) {
				want := slices.Clone(tc.want)
				for i := range want {
					want[i].ID = message
				}
				form := receiptForm(tc.status, tc.code)
				// Another token is active. The signature does not cover a time, so a repeated receipt is valid.
				signatures := sign("another", callback, nonce, form) + ", " + sign(authToken, callback, nonce, form)
				for range 2 {
					got, err := p.Receipts(callbackRequest("", header, signatures), []byte(form.Encode()))
					smstest.CheckReceipts(t, got, err, want...)
				}
			})
		}
	}
	for name, change := range map[string]func(url.Values){
		"for a part":       func(f url.Values) { f.Set("MessageUUID", "db3ce55a-7f1d-11e1-8ea7-000000000002") },
		"without a parent": func(f url.Values) { f.Del("ParentMessageUUID") },
	} {
		form := receiptForm("sent", "000")
		change(form)
		got, err := p.Receipts(callbackRequest("", "X-Plivo-Signature-V3", sign(authToken, callback, nonce, form)), []byte(form.Encode()))
		if want := []sms.Receipt{{ID: message, State: sms.Sent}}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: Receipts = %v, %v; want %v", name, got, err, want)
		}
	}
	form := receiptForm("sent", "000")
	form.Set("ParentMessageUUID", smstest.Number)
	if got, err := p.Receipts(callbackRequest("", "X-Plivo-Signature-V3", sign(authToken, callback, nonce, form)), []byte(form.Encode())); got != nil || err != nil {
		t.Errorf("Receipts = %v, %v; want none", got, err)
	}
}

func TestRefusesReceipts(t *testing.T) {
	form := receiptForm("undelivered", "80")
	body, right := form.Encode(), sign(authToken, callback, nonce, form)
	without := options("")
	without.CallbackURL = ""
	p := open(t, options(""))
	v3 := "X-Plivo-Signature-V3"
	v2 := hmac.New(sha256.New, []byte(authToken))
	v2.Write([]byte(callback + nonce))
	v2Signature := base64.StdEncoding.EncodeToString(v2.Sum(nil))
	get := httptest.NewRequest(http.MethodGet, callback, nil)
	get.Header = callbackRequest("", v3, right).Header
	for _, tc := range []struct {
		name string
		p    *plivo.Provider
		r    *http.Request
		body string
	}{
		{"unsigned", p, smstest.Post(callback, smstest.FormMedia, body, "X-Plivo-Signature-V3-Nonce", nonce), body},
		{"an empty signature", p, callbackRequest("", v3, ""), body},
		{"without a nonce", p, smstest.Post(callback, smstest.FormMedia, body, v3, sign(authToken, callback, "", form)), body},
		{"with another nonce", p, callbackRequest("", v3, sign(authToken, callback, "1", form)), body},
		{"signed by another token", p, callbackRequest("", v3, sign("another", callback, nonce, form)), body},
		{"signed for another URL", p, callbackRequest("", v3, sign(authToken, callback+"/", nonce, form)), body},
		{"signed in version 2", p, smstest.Post(callback, smstest.FormMedia, body, "X-Plivo-Signature-V2", v2Signature, "X-Plivo-Signature-V2-Nonce", nonce), body},
		{"the signature of version 2", p, callbackRequest("", v3, v2Signature), body},
		{"altered", p, callbackRequest("", v3, right), strings.Replace(body, "undelivered", "delivered", 1)},
		{"longer", p, callbackRequest("", v3, right), body + "&Status=delivered"},
		{"a parameter twice", p, callbackRequest("", v3, right), body + "&Status=undelivered"},
		{"shorter", p, callbackRequest("", v3, right), strings.Replace(body, "ErrorCode=80&", "", 1)},
		{"malformed", p, callbackRequest("", v3, right), "%zz" + body},
		{"empty", p, callbackRequest("", v3, right), ""},
		{"sent with GET", p, get, body},
		{"without a callback URL", open(t, without), callbackRequest("", v3, sign(authToken, "", nonce, form)), body},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.p.Receipts(tc.r, []byte(tc.body))
			if got != nil || !errors.Is(err, sms.ErrSignature) {
				t.Errorf("Receipts = %v, %v; want ErrSignature", got, err)
			}
		})
	}
}

// The signature is the Base64 of the output of openssl dgst -sha256 -hmac my_auth_token for
// https://mfa.example.com/sms/plivo?ErrorCode000From14152828726MessageUUIDdb3ce55a-7f1d-11e1-8ea7-1231380bc196StatusdeliveredTo4915112345678.24725744043720739450
func TestSignature(t *testing.T) {
	o := options("")
	o.AuthToken = secret.NewString("my_auth_token")
	form := url.Values{
		"To": {"4915112345678"}, "From": {"14152828726"}, "Status": {"delivered"}, "ErrorCode": {"000"},
		"MessageUUID": {"db3ce55a-7f1d-11e1-8ea7-1231380bc196"},
	}
	got, err := open(t, o).Receipts(callbackRequest("", "X-Plivo-Signature-V3", "YwxWxi09riDy0PckXoslD1+W3RDE28yRERWYxCpRnag="), []byte(form.Encode()))
	want := []sms.Receipt{{ID: "db3ce55a-7f1d-11e1-8ea7-1231380bc196", State: sms.Delivered}}
	smstest.CheckReceipts(t, got, err, want...)
}

func FuzzReceipts(f *testing.F) {
	p := open(f, options(""))
	for _, form := range []url.Values{receiptForm("sent", "000"), receiptForm("failed", "900"), {}} {
		f.Add(form.Encode(), sign(authToken, callback, nonce, form))
	}
	f.Fuzz(func(t *testing.T, body, signature string) {
		if receipts, err := p.Receipts(callbackRequest("", "X-Plivo-Signature-V3", signature), []byte(body)); err != nil && (receipts != nil || !errors.Is(err, sms.ErrSignature)) {
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
		receipts, err := p.Receipts(callbackRequest("", "X-Plivo-Signature-V3", sign(authToken, callback, nonce, form)), []byte(body))
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

// Plivo refuses without a code.
func TestNoCodeIsAboutNumbersNotServed(t *testing.T) {
	smstest.RunUnserved(t, nil, nil, plivo.CodeTables, nil, "")
}
