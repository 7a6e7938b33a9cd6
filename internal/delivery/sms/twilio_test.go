package sms_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const twilioCallback = "https://mfa.example.com/sms/twilio"

func twilioOptions(base string) sms.TwilioOptions {
	return sms.TwilioOptions{
		AccountSID: twilioSID, AuthToken: secret.NewString(twilioToken),
		From: twilioFrom, CallbackURL: twilioCallback, BaseURL: base,
	}
}

func openTwilio(t testing.TB, o sms.TwilioOptions) *sms.Twilio {
	t.Helper()
	p, err := sms.NewTwilio(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTwilioSends(t *testing.T) {
	for _, tc := range []struct {
		name  string
		opts  func(*sms.TwilioOptions)
		text  string
		valid time.Duration
		want  url.Values
	}{
		{"from a number", func(*sms.TwilioOptions) {}, wireText, 10 * time.Minute, url.Values{
			"To": {wireNumber}, "Body": {wireText}, "From": {twilioFrom},
			"StatusCallback": {twilioCallback}, "ValidityPeriod": {"600"},
		}},
		{"from a messaging service, with an API key", func(o *sms.TwilioOptions) {
			o.From, o.MessagingServiceSID = "", twilioMG
			o.AuthToken, o.CallbackURL = secret.String{}, ""
			o.APIKeySID, o.APIKeySecret = twilioKeySID, secret.NewString(twilioKeySecret)
		}, wireText, 0, url.Values{
			"To": {wireNumber}, "Body": {wireText}, "MessagingServiceSid": {twilioMG},
		}},
		{"what GSM-7 lacks, with an API key beside the token", func(o *sms.TwilioOptions) {
			o.APIKeySID, o.APIKeySecret = twilioKeySID, secret.NewString(twilioKeySecret)
		}, "Ваш код & ключ = 739105 🔑+%", 1500 * time.Millisecond, url.Values{
			"To": {wireNumber}, "Body": {"Ваш код & ключ = 739105 🔑+%"}, "From": {twilioFrom},
			"StatusCallback": {twilioCallback}, "ValidityPeriod": {"1"},
		}},
		{"for less than Twilio's least", func(*sms.TwilioOptions) {}, wireText, time.Millisecond, url.Values{
			"To": {wireNumber}, "Body": {wireText}, "From": {twilioFrom},
			"StatusCallback": {twilioCallback}, "ValidityPeriod": {"1"},
		}},
		{"for more than Twilio's most", func(*sms.TwilioOptions) {}, wireText, 24 * time.Hour, url.Values{
			"To": {wireNumber}, "Body": {wireText}, "From": {twilioFrom},
			"StatusCallback": {twilioCallback}, "ValidityPeriod": {"36000"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newTwilioDouble(t)
			o := twilioOptions(d.URL + "/")
			tc.opts(&o)
			m := wireMessage(tc.text)
			m.ValidFor = tc.valid
			id, err := openTwilio(t, o).Send(t.Context(), m)
			if err != nil || id != "SM00000000000000000000000000000001" {
				t.Fatalf("Send = %q, %v", id, err)
			}
			if len(d.accepted) != 1 || d.accepted[0].Encode() != tc.want.Encode() {
				t.Errorf("the service has %v; want %v", d.accepted, tc.want)
			}
		})
	}
}

func TestTwilioRefuses(t *testing.T) {
	d := newTwilioDouble(t)
	p := openTwilio(t, twilioOptions(d.URL))
	for _, tc := range []struct {
		status, code int
		kind         sms.Kind
		wait         time.Duration
	}{
		{400, 21211, sms.Refused, 0},
		{400, 21217, sms.Refused, 0},
		{400, 21265, sms.Refused, 0},
		{400, 21610, sms.Refused, 0},
		{400, 21614, sms.Refused, 0},
		{400, 21635, sms.Refused, 0},
		{400, 30004, sms.Refused, 0},
		{400, 30005, sms.Refused, 0},
		{400, 30006, sms.Refused, 0},
		{401, 20003, sms.Unavailable, 0},
		{403, 20005, sms.Unavailable, 0},
		{404, 20404, sms.Unavailable, 0},
		{429, 20429, sms.Unavailable, 2 * time.Second},
		{429, 14107, sms.Unavailable, 2 * time.Second},
		{400, 21212, sms.Unavailable, 0},
		{400, 21408, sms.Unavailable, 0},
		{400, 21606, sms.Unavailable, 0},
		{400, 21608, sms.Unavailable, 0},
		{429, 21611, sms.Unavailable, 2 * time.Second},
		{400, 21612, sms.Unavailable, 0},
		{400, 21703, sms.Unavailable, 0},
		{400, 30002, sms.Unavailable, 0},
		{400, 29999, sms.Unavailable, 0}, // not in the table
		{500, 20500, sms.Unavailable, 0},
		{503, 20503, sms.Unavailable, 0},
	} {
		t.Run(strconv.Itoa(tc.code), func(t *testing.T) {
			d.refuse[wireNumber] = twilioRefusal{tc.status, tc.code}
			_, err := p.Send(t.Context(), wireMessage(wireText))
			wireError(t, err, sms.Error{Kind: tc.kind, Code: strconv.Itoa(tc.code), RetryAfter: tc.wait})
		})
	}
	t.Run("another token", func(t *testing.T) {
		o := twilioOptions(d.URL)
		o.AuthToken = secret.NewString(wireSecret + "2")
		_, err := openTwilio(t, o).Send(t.Context(), wireMessage(wireText))
		wireError(t, err, sms.Error{Kind: sms.Unavailable, Code: "20003"})
	})
	t.Run("failed at once", func(t *testing.T) {
		server := httptest.NewServer(wireAnswer(201, `{"sid":"SM00000000000000000000000000000001","status":"failed","error_code":30002}`))
		defer server.Close()
		_, err := openTwilio(t, twilioOptions(server.URL)).Send(t.Context(), wireMessage(wireText))
		wireError(t, err, sms.Error{Kind: sms.Unavailable, Code: "30002"})
	})
}

func TestTwilioOnBrokenWires(t *testing.T) {
	open := func(t *testing.T, base string) sms.Provider { return openTwilio(t, twilioOptions(base)) }
	testWires(t, open)
	testUnreadable(t, open, 201, `{"sid":"SM00000000000000000000000000000001"`, `{"sid":"`+wireNumber+`"}`, `["`+wireNumber+`"]`)
}

func TestTwilioOptions(t *testing.T) {
	for _, tc := range []struct {
		want string // in the error; "" for none
		set  func(*sms.TwilioOptions)
	}{
		{"", func(*sms.TwilioOptions) {}},
		{"", func(o *sms.TwilioOptions) { o.CallbackURL, o.BaseURL = "", "" }},
		{"", func(o *sms.TwilioOptions) { o.CallbackURL += "?node=1" }},
		{"account_sid", func(o *sms.TwilioOptions) { o.AccountSID = "" }},
		{"account_sid", func(o *sms.TwilioOptions) { o.AccountSID = twilioKeySID }},
		{"account_sid", func(o *sms.TwilioOptions) { o.AccountSID += "/../x" }},
		{"auth_token", func(o *sms.TwilioOptions) { o.AuthToken, o.CallbackURL = secret.String{}, "" }},
		{"auth_token", func(o *sms.TwilioOptions) {
			o.AuthToken = secret.NewString("")
			o.APIKeySID, o.APIKeySecret = twilioKeySID, secret.NewString(twilioKeySecret)
		}},
		{"api_key_sid", func(o *sms.TwilioOptions) { o.APIKeySecret = secret.NewString(twilioKeySecret) }},
		{"api_key_sid", func(o *sms.TwilioOptions) {
			o.APIKeySID, o.APIKeySecret = twilioSID, secret.NewString(twilioKeySecret)
		}},
		{"api_key_secret", func(o *sms.TwilioOptions) { o.APIKeySID = twilioKeySID }},
		{"from", func(o *sms.TwilioOptions) { o.From = "" }},
		{"messaging_service_sid", func(o *sms.TwilioOptions) { o.MessagingServiceSID = twilioMG }},
		{"messaging_service_sid", func(o *sms.TwilioOptions) { o.From, o.MessagingServiceSID = "", "MG1" }},
		{"callback_url", func(o *sms.TwilioOptions) { o.CallbackURL = "http://mfa.example.com/x" }},
		{"callback_url", func(o *sms.TwilioOptions) { o.CallbackURL = "https://mfa.example.com" }},
		{"callback_url", func(o *sms.TwilioOptions) { o.CallbackURL = "https://a:b@mfa.example.com/x" }},
		{"callback_url", func(o *sms.TwilioOptions) { o.CallbackURL += "#rc=3" }},
		{"callback_url", func(o *sms.TwilioOptions) { o.CallbackURL = "/sms/twilio" }},
		{"base_url", func(o *sms.TwilioOptions) { o.BaseURL = "http://api.twilio.com" }},
		{"base_url", func(o *sms.TwilioOptions) { o.BaseURL = "api.twilio.com" }},
	} {
		o := twilioOptions("https://api.dublin.ie1.twilio.com")
		tc.set(&o)
		p, err := sms.NewTwilio(o)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("NewTwilio = %v", err)
		case tc.want != "" && (err == nil || p != nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("NewTwilio = %v; want an error about %s", err, tc.want)
		case err != nil && (strings.Contains(err.Error(), twilioToken) || strings.Contains(err.Error(), twilioKeySecret)):
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func twilioReceipt(status, code string) url.Values {
	form := url.Values{
		"AccountSid": {twilioSID}, "ApiVersion": {"2010-04-01"}, "From": {twilioFrom}, "To": {wireNumber},
		"MessageSid": {"SM00000000000000000000000000000001"}, "SmsSid": {"SM00000000000000000000000000000001"},
		"MessageStatus": {status}, "SmsStatus": {status}, "RawDlrDoneDate": {"2611240159"},
	}
	if code != "" {
		form.Set("ErrorCode", code)
	}
	return form
}

func TestTwilioReceipts(t *testing.T) {
	p := openTwilio(t, twilioOptions(""))
	for _, tc := range []struct {
		status, code string
		want         []sms.Receipt
	}{
		{"accepted", "", []sms.Receipt{{State: sms.Queued}}},
		{"queued", "", []sms.Receipt{{State: sms.Queued}}},
		{"sending", "", []sms.Receipt{{State: sms.Queued}}},
		{"sent", "", []sms.Receipt{{State: sms.Sent}}},
		{"delivered", "", []sms.Receipt{{State: sms.Delivered}}},
		{"undelivered", "30003", []sms.Receipt{{State: sms.Undelivered, Reason: "30003"}}},
		{"failed", "30008", []sms.Receipt{{State: sms.Failed, Reason: "30008"}}},
		{"failed", "", []sms.Receipt{{State: sms.Failed}}},
		{"failed", "739105", []sms.Receipt{{State: sms.Failed}}},
		{"failed", "to " + wireNumber, []sms.Receipt{{State: sms.Failed}}},
		{"canceled", "", []sms.Receipt{{State: sms.Failed}}},
		{"received", "", nil},
		{"", "", nil},
	} {
		t.Run(tc.status, func(t *testing.T) {
			form := twilioReceipt(tc.status, tc.code)
			body := form.Encode()
			for i := range tc.want {
				tc.want[i].ID = "SM00000000000000000000000000000001"
			}
			// Twilio signs no time, so the second time is as good as the first.
			for range 2 {
				got, err := p.Receipts(post(twilioCallback, formMedia, body, "X-Twilio-Signature", signTwilio(twilioToken, twilioCallback, form)), []byte(body))
				wireReceipts(t, got, err, tc.want...)
			}
		})
	}
}

func TestTwilioReceiptsOfOthers(t *testing.T) {
	p := openTwilio(t, twilioOptions(""))
	for name, change := range map[string]func(url.Values){
		"another account": func(f url.Values) { f.Set("AccountSid", "AC"+strings.Repeat("0", 32)) },
		"no id":           func(f url.Values) { f.Del("MessageSid") },
		"another id":      func(f url.Values) { f.Set("MessageSid", wireNumber) },
	} {
		form := twilioReceipt("sent", "")
		change(form)
		got, err := p.Receipts(post(twilioCallback, formMedia, form.Encode(), "X-Twilio-Signature", signTwilio(twilioToken, twilioCallback, form)), []byte(form.Encode()))
		if got != nil || err != nil {
			t.Errorf("%s: Receipts = %v, %v; want none", name, got, err)
		}
	}
}

func TestTwilioRefusesReceipts(t *testing.T) {
	form := twilioReceipt("undelivered", "30003")
	body, signature := form.Encode(), signTwilio(twilioToken, twilioCallback, form)
	without := twilioOptions("")
	without.CallbackURL = ""
	p := openTwilio(t, twilioOptions(""))
	for _, tc := range []struct {
		name string
		p    *sms.Twilio
		r    *http.Request
		body string
	}{
		{"unsigned", p, post(twilioCallback, formMedia, body), body},
		{"an empty signature", p, post(twilioCallback, formMedia, body, "X-Twilio-Signature", ""), body},
		{"signed by another token", p, post(twilioCallback, formMedia, body, "X-Twilio-Signature", signTwilio("another", twilioCallback, form)), body},
		{"signed for another URL", p, post(twilioCallback, formMedia, body, "X-Twilio-Signature", signTwilio(twilioToken, twilioCallback+"/", form)), body},
		{"altered", p, post(twilioCallback, formMedia, body, "X-Twilio-Signature", signature), strings.ReplaceAll(body, "undelivered", "delivered")},
		{"longer", p, post(twilioCallback, formMedia, body, "X-Twilio-Signature", signature), body + "&MessageStatus=delivered"},
		{"shorter", p, post(twilioCallback, formMedia, body, "X-Twilio-Signature", signature), strings.Replace(body, "ErrorCode=30003&", "", 1)},
		{"malformed", p, post(twilioCallback, formMedia, body, "X-Twilio-Signature", signature), "%zz" + body},
		{"empty", p, post(twilioCallback, formMedia, "", "X-Twilio-Signature", signature), ""},
		{"got", p, httptest.NewRequest(http.MethodGet, twilioCallback+"?"+body, nil), body},
		{"where none are expected", openTwilio(t, without), post(twilioCallback, formMedia, body, "X-Twilio-Signature", signTwilio(twilioToken, "", form)), body},
		{"where none are expected, for no URL", openTwilio(t, without), post(twilioCallback, formMedia, body, "X-Twilio-Signature", signTwilio(twilioToken, "://", form)), body},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name == "got" {
				tc.r.Header.Set("X-Twilio-Signature", signature)
			}
			got, err := tc.p.Receipts(tc.r, []byte(tc.body))
			if got != nil || !errors.Is(err, sms.ErrSignature) {
				t.Errorf("Receipts = %v, %v; want ErrSignature", got, err)
			}
		})
	}
}

// The example is that of Twilio's own libraries.
func TestTwilioSignature(t *testing.T) {
	form := url.Values{
		"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675309"}, "Digits": {"1234"},
		"From": {"+14158675309"}, "To": {"+18005551212"},
	}
	for _, tc := range []struct {
		name, callback, signature string
		want                      error
	}{
		{"without a port", "https://mycompany.com/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", nil},
		{"with the port, which Twilio left out", "https://mycompany.com:1234/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", nil},
		{"without the port, which Twilio wrote", "https://mycompany.com/myapp.php?foo=1&bar=2", "kvajT1Ptam85bY51eRf/AJRuM3w=", nil},
		{"wrong", "https://mycompany.com/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B9=", sms.ErrSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := twilioOptions("")
			o.AuthToken, o.CallbackURL = secret.NewString("12345"), tc.callback
			r := post(tc.callback, formMedia, form.Encode(), "X-Twilio-Signature", tc.signature)
			if _, err := openTwilio(t, o).Receipts(r, []byte(form.Encode())); !errors.Is(err, tc.want) {
				t.Errorf("Receipts = %v; want %v", err, tc.want)
			}
		})
	}
}

func FuzzTwilioReceipts(f *testing.F) {
	p := openTwilio(f, twilioOptions(""))
	for _, form := range []url.Values{twilioReceipt("sent", ""), twilioReceipt("failed", "30008"), {}} {
		f.Add(form.Encode(), signTwilio(twilioToken, twilioCallback, form))
	}
	f.Fuzz(func(t *testing.T, body, signature string) {
		form, err := url.ParseQuery(body)
		if _, got := p.Receipts(post(twilioCallback, formMedia, "", "X-Twilio-Signature", signature), []byte(body)); got == nil && err != nil {
			t.Error("a body that cannot be read was taken for signed")
		}
		if err != nil {
			return
		}
		for _, values := range form {
			if len(values) != 1 {
				return
			}
		}
		receipts, err := p.Receipts(post(twilioCallback, formMedia, "", "X-Twilio-Signature", signTwilio(twilioToken, twilioCallback, form)), []byte(body))
		if err != nil {
			t.Fatalf("a signed receipt was refused: %v", err)
		}
		for _, receipt := range receipts {
			if receipt.State == "" || len(receipt.ID) != 34 || len(receipt.Reason) > 5 {
				t.Errorf("receipt %+v", receipt)
			}
		}
	})
}
