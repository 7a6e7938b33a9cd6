package vonage_test

import (
	"encoding/json"
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
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/vonage"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const (
	callback  = "https://mfa.example.com/sms/vonage"
	signature = "my_secret_key_for_testing"
)

var fixedNow = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)

func options(base string) vonage.Options {
	return vonage.Options{
		APIKey: key, APISecret: secret.NewString(apiSecret), From: sender,
		SignatureSecret: secret.NewString(signature), CallbackURL: callback, BaseURL: base,
		Now: func() time.Time { return fixedNow },
	}
}

func open(t testing.TB, o vonage.Options) *vonage.Provider {
	t.Helper()
	p, err := vonage.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSends(t *testing.T) {
	for _, tc := range []struct {
		name, text, encoding string
		valid                time.Duration
		ttl                  string
	}{
		{"GSM-7", smstest.Text, "text", 10 * time.Minute, "600000"},
		{"GSM-7 with its extension", "[Ünder] ^{1€} \\ ~ | Åß & = +%\n\f", "text", 0, ""},
		{"UCS-2", "Ваш код 739105", "unicode", time.Second, "20000"},
		{"UCS-2 for one letter", "Kód 739105 ç", "unicode", 30 * 24 * time.Hour, "604800000"},
		{"outside of the basic plane", "🔑 739105", "unicode", 90 * time.Second, "90000"},
		{"in parts", strings.Repeat("0123456789", 33), "text", 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble(t)
			m := smstest.NewMessage(tc.text)
			m.ValidFor = tc.valid
			id, err := open(t, options(d.URL)).Send(t.Context(), m)
			if err != nil || id != "0A00000000ABCD00" {
				t.Fatalf("Send = %q, %v", id, err)
			}
			want := url.Values{
				"api_key": {key}, "api_secret": {apiSecret}, "from": {sender}, "to": {smstest.Number[1:]},
				"text": {tc.text}, "type": {tc.encoding}, "client-ref": {smstest.Reference}, "callback": {callback},
			}
			if tc.ttl != "" {
				want.Set("ttl", tc.ttl)
			}
			if len(d.accepted) != 1 || d.accepted[0].Encode() != want.Encode() {
				t.Errorf("the service has %v; want %v", d.accepted, want)
			}
		})
	}
	t.Run("without receipts, from a number", func(t *testing.T) {
		d := newDouble(t)
		o := options(d.URL)
		o.From, o.CallbackURL, o.SignatureSecret = "+447700900001", "", secret.String{}
		if _, err := open(t, o).Send(t.Context(), smstest.NewMessage(smstest.Text)); err != nil {
			t.Fatal(err)
		}
		if d.accepted[0].Has("callback") {
			t.Error("a callback was named")
		}
	})
}

func TestRefuses(t *testing.T) {
	for _, tc := range []struct {
		status string
		kind   sms.Kind
	}{
		{"7", sms.Refused},
		{"33", sms.Refused},
		{"1", sms.Unavailable},
		{"2", sms.Unavailable},
		{"3", sms.Unavailable},
		{"4", sms.Unavailable},
		{"5", sms.Unavailable},
		{"6", sms.Unavailable},
		{"8", sms.Unavailable},
		{"9", sms.Unavailable},
		{"10", sms.Unavailable},
		{"11", sms.Unavailable},
		{"12", sms.Unavailable},
		{"15", sms.Unavailable},
		{"29", sms.Unavailable},
		{"32", sms.Unavailable},
		{"99", sms.Unavailable}, // not in the table
	} {
		t.Run(tc.status, func(t *testing.T) {
			d := newDouble(t)
			d.status = []string{tc.status}
			id, err := open(t, options(d.URL)).Send(t.Context(), smstest.NewMessage(smstest.Text))
			if id != "" {
				t.Errorf("Send = %q; want no id", id)
			}
			smstest.CheckError(t, err, sms.Error{Kind: tc.kind, Code: tc.status})
		})
	}
	t.Run("all parts", func(t *testing.T) {
		d := newDouble(t)
		d.status = []string{"7", "1"}
		m := smstest.NewMessage(strings.Repeat("739105 ", 30))
		_, err := open(t, options(d.URL)).Send(t.Context(), m)
		smstest.CheckError(t, err, sms.Error{Kind: sms.Refused, Code: "7"})
	})
	for name, parts := range map[string][]string{"the second part": {"0", "1"}, "the first part": {"7", "0"}} {
		t.Run(name, func(t *testing.T) {
			d := newDouble(t)
			d.status = parts
			m := smstest.NewMessage(strings.Repeat("739105 ", 30))
			_, err := open(t, options(d.URL)).Send(t.Context(), m)
			smstest.CheckError(t, err, sms.Error{Kind: sms.Uncertain})
		})
	}
	t.Run("another secret", func(t *testing.T) {
		d := newDouble(t)
		o := options(d.URL)
		o.APISecret = secret.NewString(smstest.Secret + "2")
		_, err := open(t, o).Send(t.Context(), smstest.NewMessage(smstest.Text))
		smstest.CheckError(t, err, sms.Error{Kind: sms.Unavailable, Code: "4"})
	})
	t.Run("an invalid status", func(t *testing.T) {
		server := httptest.NewServer(smstest.Answer(200, `{"messages":[{"status":`+smstest.Number[1:]+`}]}`))
		defer server.Close()
		_, err := open(t, options(server.URL)).Send(t.Context(), smstest.NewMessage(smstest.Text))
		smstest.CheckError(t, err, sms.Error{Kind: sms.Unavailable})
	})
}

func TestFailuresOfTheService(t *testing.T) {
	open := func(t *testing.T, base string) sms.Provider { return open(t, options(base)) }
	smstest.RunBroken(t, open)
	smstest.RunUnreadable(t, open, 200, `{"messages":[{"status":"0","message-id":"0A00000000ABCD00"}]`, `{"messages":[]}`,
		`{"messages":[{"status":0,"message-id":"`+smstest.Number+`"}]}`, `["`+smstest.Number+`"]`)
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		want string // part of the error; "" if New succeeds
		set  func(*vonage.Options)
	}{
		{"", func(*vonage.Options) {}},
		{"", func(o *vonage.Options) { o.SignatureMethod, o.BaseURL, o.Now = "md5hash", "", nil }},
		{"", func(o *vonage.Options) { o.CallbackURL, o.SignatureSecret = "", secret.String{} }},
		{"api_key", func(o *vonage.Options) { o.APIKey = "" }},
		{"api_secret", func(o *vonage.Options) { o.APISecret = secret.String{} }},
		{"from", func(o *vonage.Options) { o.From = "" }},
		{"signature_secret", func(o *vonage.Options) { o.SignatureSecret = secret.String{} }},
		{"callback_url", func(o *vonage.Options) { o.CallbackURL = "" }},
		{"callback_url", func(o *vonage.Options) { o.CallbackURL += "?a=1" }},
		{"callback_url", func(o *vonage.Options) { o.CallbackURL = "http://mfa.example.com/x" }},
		{"signature_method", func(o *vonage.Options) { o.SignatureMethod = "sha3" }},
		{"base_url", func(o *vonage.Options) { o.BaseURL = "http://rest.nexmo.com" }},
	} {
		o := options("https://rest.nexmo.com")
		tc.set(&o)
		p, err := vonage.New(o)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("New = %v", err)
		case tc.want != "" && (err == nil || p != nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("New = %v; want an error about %s", err, tc.want)
		}
	}
}

func receiptParams(status, code string) map[string]string {
	return map[string]string{
		"msisdn": smstest.Number[1:], "to": sender, "network-code": "26201", "messageId": "0A00000000ABCD00",
		"price": "0.03330000", "status": status, "scts": "2611240200", "err-code": code, "api-key": key, "client-ref": smstest.Reference,
		"message-timestamp": "2026-11-24 02:00:00", "timestamp": strconv.FormatInt(fixedNow.Unix(), 10),
		"nonce": "ec11dd3e-1e7f-4db5-9467-82b02cd223b9",
	}
}

// callbackRequest returns a receipt in one of the three formats of an account:
// "GET", "POST" or "JSON".
func callbackRequest(way string, params map[string]string) (*http.Request, []byte) {
	form := url.Values{}
	for name, value := range params {
		form.Set(name, value)
	}
	switch way {
	case "GET":
		return httptest.NewRequest(http.MethodGet, callback+"?"+form.Encode(), nil), nil
	case "POST":
		return smstest.Post(callback, smstest.FormMedia, form.Encode()), []byte(form.Encode())
	}
	text, _ := json.Marshal(params)
	return smstest.Post(callback, "application/json; charset=utf-8", string(text)), text
}

func TestReceipts(t *testing.T) {
	for _, tc := range []struct {
		status, code string
		want         []sms.Receipt
	}{
		{"accepted", "0", []sms.Receipt{{State: sms.Sent}}},
		{"buffered", "0", []sms.Receipt{{State: sms.Sent}}},
		{"delivered", "0", []sms.Receipt{{State: sms.Delivered}}},
		{"expired", "12", []sms.Receipt{{State: sms.Undelivered, Reason: "12"}}},
		{"failed", "9", []sms.Receipt{{State: sms.Undelivered, Reason: "9"}}},
		{"failed", smstest.Number, []sms.Receipt{{State: sms.Undelivered}}},
		{"rejected", "6", []sms.Receipt{{State: sms.Failed, Reason: "6"}}},
		{"unknown", "1", nil},
	} {
		for _, way := range []string{"GET", "POST", "JSON"} {
			for _, method := range []string{"md5hash", "md5", "sha1", "sha256", "sha512"} {
				t.Run(tc.status+" "+way+" "+method, func(t *testing.T) {
					o := options("")
					o.SignatureMethod = method
					params := receiptParams(tc.status, tc.code)
					params["client-ref"] = "a&b=c d+e"
					params["sig"] = sign(method, signature, params)
					want := slices.Clone(tc.want)
					for i := range want {
						want[i].ID = "0A00000000ABCD00"
					}
					r, body := callbackRequest(way, params)
					got, err := open(t, o).Receipts(r, body)
					smstest.CheckReceipts(t, got, err, want...)
				})
			}
		}
	}
}

func TestReceiptsAge(t *testing.T) {
	for _, tc := range []struct {
		name string
		age  time.Duration
		want error
	}{
		{"from a fast clock", -5 * time.Minute, nil},
		{"from the future", -5*time.Minute - time.Second, sms.ErrSignature},
		{"repeated after a day", 24 * time.Hour, nil},
		{"last second", 24*time.Hour + 5*time.Minute, nil},
		{"stale", 24*time.Hour + 5*time.Minute + time.Second, sms.ErrSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			params := receiptParams("delivered", "0")
			params["timestamp"] = strconv.FormatInt(fixedNow.Add(-tc.age).Unix(), 10)
			params["sig"] = sign("sha256", signature, params)
			r, body := callbackRequest("POST", params)
			if _, err := open(t, options("")).Receipts(r, body); !errors.Is(err, tc.want) {
				t.Errorf("Receipts = %v; want %v", err, tc.want)
			}
		})
	}
}

func TestRefusesReceipts(t *testing.T) {
	without := options("")
	without.CallbackURL, without.SignatureSecret = "", secret.String{}
	md5hash := options("")
	md5hash.SignatureMethod = "md5hash"
	for _, tc := range []struct {
		name   string
		opts   vonage.Options
		secret string
		before func(map[string]string) // changes the parameters before they are signed
		after  func(map[string]string)
	}{
		{"unsigned", options(""), signature, nil, func(p map[string]string) { delete(p, "sig") }},
		{"an empty signature", options(""), signature, nil, func(p map[string]string) { p["sig"] = "" }},
		{"half a signature", options(""), signature, nil, func(p map[string]string) { p["sig"] = p["sig"][:32] }},
		{"signed by another secret", options(""), "another", nil, nil},
		{"signed by another method", md5hash, signature, nil, nil},
		{"signed without a secret", without, "", nil, nil},
		{"altered", options(""), signature, nil, func(p map[string]string) { p["status"] = "failed" }},
		{"shorter", options(""), signature, nil, func(p map[string]string) { delete(p, "err-code") }},
		{"longer", options(""), signature, nil, func(p map[string]string) { p["x"] = "" }},
		{"two parameters as one", options(""), signature, nil, func(p map[string]string) {
			p["client-ref=m-1&err-code"] = p["err-code"]
			delete(p, "client-ref")
			delete(p, "err-code")
		}},
		{"without a time", options(""), signature, func(p map[string]string) { delete(p, "timestamp") }, nil},
		{"at an invalid time", options(""), signature, func(p map[string]string) { p["timestamp"] = "now" }, nil},
	} {
		for _, way := range []string{"GET", "POST", "JSON"} {
			t.Run(tc.name+" "+way, func(t *testing.T) {
				params := receiptParams("delivered", "0")
				if tc.before != nil {
					tc.before(params)
				}
				params["sig"] = sign("sha256", tc.secret, params)
				if tc.after != nil {
					tc.after(params)
				}
				r, body := callbackRequest(way, params)
				got, err := open(t, tc.opts).Receipts(r, body)
				if got != nil || !errors.Is(err, sms.ErrSignature) {
					t.Errorf("Receipts = %v, %v; want ErrSignature", got, err)
				}
			})
		}
	}
	params := receiptParams("delivered", "0")
	params["sig"] = sign("sha256", signature, params)
	_, form := callbackRequest("POST", params)
	_, text := callbackRequest("JSON", params)
	for name, r := range map[string]struct {
		r    *http.Request
		body string
	}{
		"a parameter twice":   {smstest.Post(callback, smstest.FormMedia, ""), string(form) + "&status=failed"},
		"a malformed form":    {smstest.Post(callback, smstest.FormMedia, ""), string(form) + "&%zz"},
		"malformed JSON":      {smstest.Post(callback, "application/json", ""), string(text[:len(text)-1])},
		"two JSON values":     {smstest.Post(callback, "application/json", ""), string(text) + "{}"},
		"nested JSON":         {smstest.Post(callback, "application/json", ""), `{"a":{},` + string(text[1:])},
		"another JSON":        {smstest.Post(callback, "application/json", ""), `[]`},
		"nothing":             {smstest.Post(callback, smstest.FormMedia, ""), ""},
		"JSON called a form":  {smstest.Post(callback, smstest.FormMedia, ""), string(text)},
		"another HTTP method": {httptest.NewRequest(http.MethodPut, callback, nil), string(form)},
	} {
		if got, err := open(t, options("")).Receipts(r.r, []byte(r.body)); got != nil || !errors.Is(err, sms.ErrSignature) {
			t.Errorf("%s: Receipts = %v, %v; want ErrSignature", name, got, err)
		}
	}
}

// The examples come from Vonage's libraries: incoming messages, which have the same
// signature as receipts.
func TestSignature(t *testing.T) {
	params := map[string]string{
		"message-timestamp": "2013-11-21 15:27:30", "messageId": "020000001B0FE827", "msisdn": "14843472194",
		"text": "Test again", "timestamp": "1385047698", "to": "13239877404", "type": "text",
	}
	withSeparators := map[string]string{
		"keyword": "TEST", "message-timestamp": "2017-04-04 22:57:47", "messageId": "0B00000042AC53BD", "msisdn": "14843472194",
		"nonce": "929d6744-bd28-42c8-b6cf-31d5b4f43732", "text": "Test with & and =", "timestamp": "1491346667", "to": "12192259404", "type": "text",
	}
	for _, tc := range []struct {
		method, sig string
		params      map[string]string
		want        error
	}{
		{"md5hash", "d2e7b1dc968737c5998ad624e02f90b7", params, nil},
		{"md5", "DDEBD46008C2D4E93CCE578A332A52D5", params, nil},
		{"sha1", "27D0D05C2876C7CB1720DBCDBA4D492E1E55C09A", params, nil},
		{"sha256", "DDB8397C2B90AAC7F3882D306475C9A5058C92322EEF43C92B298B6E0FC0D330", params, nil},
		{"sha512", "E0D3C650F8C9D1A5C174D10DDDBFB003E561F59B265616208B0487C5D819481CD3C311D59CF6165ECD1139622D5BA3A256C0D763AC4A9AD9144B5A426B94FE82", params, nil},
		{"md5hash", "e06d9763e3fd0b9c31beb5fc2fcb011c", withSeparators, nil},
		{"sha256", "DDB8397C2B90AAC7F3882D306475C9A5058C92322EEF43C92B298B6E0FC0D331", params, sms.ErrSignature},
	} {
		o := options("")
		o.SignatureMethod = tc.method
		seconds, _ := strconv.ParseInt(tc.params["timestamp"], 10, 64)
		o.Now = func() time.Time { return time.Unix(seconds, 0) }
		signed := maps.Clone(tc.params)
		signed["sig"] = tc.sig
		r, body := callbackRequest("GET", signed)
		if _, err := open(t, o).Receipts(r, body); !errors.Is(err, tc.want) {
			t.Errorf("%s: Receipts = %v; want %v", tc.method, err, tc.want)
		}
	}
}

func FuzzReceipts(f *testing.F) {
	p := open(f, options(""))
	params := receiptParams("failed", "9")
	params["sig"] = sign("sha256", signature, params)
	for _, way := range []string{"GET", "POST", "JSON"} {
		r, body := callbackRequest(way, params)
		f.Add(r.URL.RawQuery, r.Method == http.MethodGet, r.Header.Get("Content-Type"), body)
	}
	f.Fuzz(func(t *testing.T, query string, get bool, media string, body []byte) {
		r := smstest.Post(callback, media, "")
		r.URL.RawQuery = query
		if get {
			r.Method = http.MethodGet
		}
		receipts, err := p.Receipts(r, body)
		if err != nil && (receipts != nil || !errors.Is(err, sms.ErrSignature)) {
			t.Errorf("Receipts = %v, %v", receipts, err)
		}
		for _, receipt := range receipts {
			if receipt.ID != "0A00000000ABCD00" {
				t.Errorf("receipt %+v was never signed", receipt)
			}
		}
	})
}

func TestCodesOfNumbersNotServed(t *testing.T) {
	smstest.RunUnserved(t, func(base string) sms.Provider { return open(t, options(base)) },
		smstest.AnswerCode(200, `{"messages":[{"status":"`, `"}]}`),
		vonage.CodeTables, []string{"15", "29", "6"}, "9")
}
