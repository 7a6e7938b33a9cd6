package twilio_test

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
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/twilio"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const callback = "https://mfa.example.com/sms/twilio"

func options(base string) twilio.Options {
	return twilio.Options{
		AccountSID: accountSID, AuthToken: secret.NewString(authToken),
		From: sender, CallbackURL: callback, BaseURL: base,
	}
}

func open(t testing.TB, o twilio.Options) *twilio.Provider {
	t.Helper()
	p, err := twilio.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSends(t *testing.T) {
	for _, tc := range []struct {
		name  string
		opts  func(*twilio.Options)
		text  string
		valid time.Duration
		want  url.Values
	}{
		{"from a number", func(*twilio.Options) {}, smstest.Text, 10 * time.Minute, url.Values{
			"To": {smstest.Number}, "Body": {smstest.Text}, "From": {sender},
			"StatusCallback": {callback}, "ValidityPeriod": {"600"},
		}},
		{"from a messaging service, with an API key", func(o *twilio.Options) {
			o.From, o.MessagingServiceSID = "", mg
			o.AuthToken, o.CallbackURL = secret.String{}, ""
			o.APIKeySID, o.APIKeySecret = keySID, secret.NewString(keySecret)
		}, smstest.Text, 0, url.Values{
			"To": {smstest.Number}, "Body": {smstest.Text}, "MessagingServiceSid": {mg},
		}},
		{"outside of GSM-7, with an API key and a token", func(o *twilio.Options) {
			o.APIKeySID, o.APIKeySecret = keySID, secret.NewString(keySecret)
		}, "Ваш код & ключ = 739105 🔑+%", 1500 * time.Millisecond, url.Values{
			"To": {smstest.Number}, "Body": {"Ваш код & ключ = 739105 🔑+%"}, "From": {sender},
			"StatusCallback": {callback}, "ValidityPeriod": {"1"},
		}},
		{"for less than Twilio's minimum", func(*twilio.Options) {}, smstest.Text, time.Millisecond, url.Values{
			"To": {smstest.Number}, "Body": {smstest.Text}, "From": {sender},
			"StatusCallback": {callback}, "ValidityPeriod": {"1"},
		}},
		{"for more than Twilio's maximum", func(*twilio.Options) {}, smstest.Text, 24 * time.Hour, url.Values{
			"To": {smstest.Number}, "Body": {smstest.Text}, "From": {sender},
			"StatusCallback": {callback}, "ValidityPeriod": {"36000"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble(t)
			o := options(d.URL + "/")
			tc.opts(&o)
			m := smstest.NewMessage(tc.text)
			m.ValidFor = tc.valid
			id, err := open(t, o).Send(t.Context(), m)
			if err != nil || id != "SM00000000000000000000000000000001" {
				t.Fatalf("Send = %q, %v", id, err)
			}
			if len(d.accepted) != 1 || d.accepted[0].Encode() != tc.want.Encode() {
				t.Errorf("the service has %v; want %v", d.accepted, tc.want)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	d := newDouble(t)
	p := open(t, options(d.URL))
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
			d.refuse[smstest.Number] = refusal{tc.status, tc.code}
			_, err := p.Send(t.Context(), smstest.NewMessage(smstest.Text))
			smstest.CheckError(t, err, sms.Error{Kind: tc.kind, Code: strconv.Itoa(tc.code), RetryAfter: tc.wait})
		})
	}
	t.Run("another token", func(t *testing.T) {
		o := options(d.URL)
		o.AuthToken = secret.NewString(smstest.Secret + "2")
		_, err := open(t, o).Send(t.Context(), smstest.NewMessage(smstest.Text))
		smstest.CheckError(t, err, sms.Error{Kind: sms.Unavailable, Code: "20003"})
	})
	t.Run("failed at once", func(t *testing.T) {
		server := httptest.NewServer(smstest.Answer(201, `{"sid":"SM00000000000000000000000000000001","status":"failed","error_code":30002}`))
		defer server.Close()
		_, err := open(t, options(server.URL)).Send(t.Context(), smstest.NewMessage(smstest.Text))
		smstest.CheckError(t, err, sms.Error{Kind: sms.Unavailable, Code: "30002"})
	})
}

func TestFailuresOfTheService(t *testing.T) {
	open := func(t *testing.T, base string) sms.Provider { return open(t, options(base)) }
	smstest.RunBroken(t, open)
	smstest.RunUnreadable(t, open, 201, `{"sid":"SM00000000000000000000000000000001"`, `{"sid":"`+smstest.Number+`"}`, `["`+smstest.Number+`"]`)
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		want string // part of the error; "" if New succeeds
		set  func(*twilio.Options)
	}{
		{"", func(*twilio.Options) {}},
		{"", func(o *twilio.Options) { o.CallbackURL, o.BaseURL = "", "" }},
		{"", func(o *twilio.Options) { o.CallbackURL += "?node=1" }},
		{"account_sid", func(o *twilio.Options) { o.AccountSID = "" }},
		{"account_sid", func(o *twilio.Options) { o.AccountSID = keySID }},
		{"account_sid", func(o *twilio.Options) { o.AccountSID += "/../x" }},
		{"auth_token", func(o *twilio.Options) { o.AuthToken, o.CallbackURL = secret.String{}, "" }},
		{"auth_token", func(o *twilio.Options) {
			o.AuthToken = secret.NewString("")
			o.APIKeySID, o.APIKeySecret = keySID, secret.NewString(keySecret)
		}},
		{"api_key_sid", func(o *twilio.Options) { o.APIKeySecret = secret.NewString(keySecret) }},
		{"api_key_sid", func(o *twilio.Options) {
			o.APIKeySID, o.APIKeySecret = accountSID, secret.NewString(keySecret)
		}},
		{"api_key_secret", func(o *twilio.Options) { o.APIKeySID = keySID }},
		{"from", func(o *twilio.Options) { o.From = "" }},
		{"messaging_service_sid", func(o *twilio.Options) { o.MessagingServiceSID = mg }},
		{"messaging_service_sid", func(o *twilio.Options) { o.From, o.MessagingServiceSID = "", "MG1" }},
		{"callback_url", func(o *twilio.Options) { o.CallbackURL = "http://mfa.example.com/x" }},
		{"callback_url", func(o *twilio.Options) { o.CallbackURL = "https://mfa.example.com" }},
		{"callback_url", func(o *twilio.Options) { o.CallbackURL = "https://a:b@mfa.example.com/x" }},
		{"callback_url", func(o *twilio.Options) { o.CallbackURL += "#rc=3" }},
		{"callback_url", func(o *twilio.Options) { o.CallbackURL = "/sms/twilio" }},
		{"base_url", func(o *twilio.Options) { o.BaseURL = "http://api.twilio.com" }},
		{"base_url", func(o *twilio.Options) { o.BaseURL = "api.twilio.com" }},
	} {
		o := options("https://api.dublin.ie1.twilio.com")
		tc.set(&o)
		p, err := twilio.New(o)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("New = %v", err)
		case tc.want != "" && (err == nil || p != nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("New = %v; want an error about %s", err, tc.want)
		case err != nil && (strings.Contains(err.Error(), authToken) || strings.Contains(err.Error(), keySecret)):
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func receiptForm(status, code string) url.Values {
	form := url.Values{
		"AccountSid": {accountSID}, "ApiVersion": {"2010-04-01"}, "From": {sender}, "To": {smstest.Number},
		"MessageSid": {"SM00000000000000000000000000000001"}, "SmsSid": {"SM00000000000000000000000000000001"},
		"MessageStatus": {status}, "SmsStatus": {status}, "RawDlrDoneDate": {"2611240159"},
	}
	if code != "" {
		form.Set("ErrorCode", code)
	}
	return form
}

func TestReceipts(t *testing.T) {
	p := open(t, options(""))
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
		{"failed", "to " + smstest.Number, []sms.Receipt{{State: sms.Failed}}},
		{"canceled", "", []sms.Receipt{{State: sms.Failed}}},
		{"received", "", nil},
		{"", "", nil},
	} {
		t.Run(tc.status, func(t *testing.T) {
			form := receiptForm(tc.status, tc.code)
			body := form.Encode()
			for i := range tc.want {
				tc.want[i].ID = "SM00000000000000000000000000000001"
			}
			// The signature does not cover a time, so a repeated receipt is valid.
			for range 2 {
				got, err := p.Receipts(smstest.Post(callback, smstest.FormMedia, body, "X-Twilio-Signature", sign(authToken, callback, form)), []byte(body))
				smstest.CheckReceipts(t, got, err, tc.want...)
			}
		})
	}
}

func TestReceiptsOfOthers(t *testing.T) {
	p := open(t, options(""))
	for name, change := range map[string]func(url.Values){
		"another account": func(f url.Values) { f.Set("AccountSid", "AC"+strings.Repeat("0", 32)) },
		"no id":           func(f url.Values) { f.Del("MessageSid") },
		"another id":      func(f url.Values) { f.Set("MessageSid", smstest.Number) },
	} {
		form := receiptForm("sent", "")
		change(form)
		got, err := p.Receipts(smstest.Post(callback, smstest.FormMedia, form.Encode(), "X-Twilio-Signature", sign(authToken, callback, form)), []byte(form.Encode()))
		if got != nil || err != nil {
			t.Errorf("%s: Receipts = %v, %v; want none", name, got, err)
		}
	}
}

func TestRefusesReceipts(t *testing.T) {
	form := receiptForm("undelivered", "30003")
	body, signature := form.Encode(), sign(authToken, callback, form)
	without := options("")
	without.CallbackURL = ""
	p := open(t, options(""))
	for _, tc := range []struct {
		name string
		p    *twilio.Provider
		r    *http.Request
		body string
	}{
		{"unsigned", p, smstest.Post(callback, smstest.FormMedia, body), body},
		{"an empty signature", p, smstest.Post(callback, smstest.FormMedia, body, "X-Twilio-Signature", ""), body},
		{"signed by another token", p, smstest.Post(callback, smstest.FormMedia, body, "X-Twilio-Signature", sign("another", callback, form)), body},
		{"signed for another URL", p, smstest.Post(callback, smstest.FormMedia, body, "X-Twilio-Signature", sign(authToken, callback+"/", form)), body},
		{"altered", p, smstest.Post(callback, smstest.FormMedia, body, "X-Twilio-Signature", signature), strings.ReplaceAll(body, "undelivered", "delivered")},
		{"longer", p, smstest.Post(callback, smstest.FormMedia, body, "X-Twilio-Signature", signature), body + "&MessageStatus=delivered"},
		{"shorter", p, smstest.Post(callback, smstest.FormMedia, body, "X-Twilio-Signature", signature), strings.Replace(body, "ErrorCode=30003&", "", 1)},
		{"malformed", p, smstest.Post(callback, smstest.FormMedia, body, "X-Twilio-Signature", signature), "%zz" + body},
		{"empty", p, smstest.Post(callback, smstest.FormMedia, "", "X-Twilio-Signature", signature), ""},
		{"sent with GET", p, httptest.NewRequest(http.MethodGet, callback+"?"+body, nil), body},
		{"without a callback URL", open(t, without), smstest.Post(callback, smstest.FormMedia, body, "X-Twilio-Signature", sign(authToken, "", form)), body},
		{"without a callback URL, signed for an empty URL", open(t, without), smstest.Post(callback, smstest.FormMedia, body, "X-Twilio-Signature", sign(authToken, "://", form)), body},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name == "sent with GET" {
				tc.r.Header.Set("X-Twilio-Signature", signature)
			}
			got, err := tc.p.Receipts(tc.r, []byte(tc.body))
			if got != nil || !errors.Is(err, sms.ErrSignature) {
				t.Errorf("Receipts = %v, %v; want ErrSignature", got, err)
			}
		})
	}
}

// The example comes from Twilio's libraries.
func TestSignature(t *testing.T) {
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
			o := options("")
			o.AuthToken, o.CallbackURL = secret.NewString("12345"), tc.callback
			r := smstest.Post(tc.callback, smstest.FormMedia, form.Encode(), "X-Twilio-Signature", tc.signature)
			if _, err := open(t, o).Receipts(r, []byte(form.Encode())); !errors.Is(err, tc.want) {
				t.Errorf("Receipts = %v; want %v", err, tc.want)
			}
		})
	}
}

func FuzzReceipts(f *testing.F) {
	p := open(f, options(""))
	for _, form := range []url.Values{receiptForm("sent", ""), receiptForm("failed", "30008"), {}} {
		f.Add(form.Encode(), sign(authToken, callback, form))
	}
	f.Fuzz(func(t *testing.T, body, signature string) {
		form, err := url.ParseQuery(body)
		if _, got := p.Receipts(smstest.Post(callback, smstest.FormMedia, "", "X-Twilio-Signature", signature), []byte(body)); got == nil && err != nil {
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
		receipts, err := p.Receipts(smstest.Post(callback, smstest.FormMedia, "", "X-Twilio-Signature", sign(authToken, callback, form)), []byte(body))
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

func TestCodesOfNumbersNotServed(t *testing.T) {
	smstest.RunUnserved(t, func(base string) sms.Provider { return open(t, options(base)) },
		smstest.AnswerCode(400, `{"code":`, `}`),
		twilio.CodeTables, []string{"21408", "21608", "21612", "21657", "30450"}, "21606")
}
