package sms_test

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
	"github.com/countersign-mfa/countersign/internal/secret"
)

const (
	vonageCallback  = "https://mfa.example.com/sms/vonage"
	vonageSignature = "my_secret_key_for_testing"
)

var vonageNow = time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)

func vonageOptions(base string) sms.VonageOptions {
	return sms.VonageOptions{
		APIKey: vonageKey, APISecret: secret.NewString(vonageSecret), From: vonageFrom,
		SignatureSecret: secret.NewString(vonageSignature), CallbackURL: vonageCallback, BaseURL: base,
		Now: func() time.Time { return vonageNow },
	}
}

func openVonage(t testing.TB, o sms.VonageOptions) *sms.Vonage {
	t.Helper()
	p, err := sms.NewVonage(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestVonageSends(t *testing.T) {
	for _, tc := range []struct {
		name, text, encoding string
		valid                time.Duration
		ttl                  string
	}{
		{"GSM-7", wireText, "text", 10 * time.Minute, "600000"},
		{"GSM-7 with its extension", "[Ünder] ^{1€} \\ ~ | Åß & = +%\n\f", "text", 0, ""},
		{"UCS-2", "Ваш код 739105", "unicode", time.Second, "20000"},
		{"UCS-2 for one letter", "Kód 739105 ç", "unicode", 30 * 24 * time.Hour, "604800000"},
		{"beyond the basic plane", "🔑 739105", "unicode", 90 * time.Second, "90000"},
		{"in parts", strings.Repeat("0123456789", 33), "text", 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newVonageDouble(t)
			m := wireMessage(tc.text)
			m.ValidFor = tc.valid
			id, err := openVonage(t, vonageOptions(d.URL)).Send(t.Context(), m)
			if err != nil || id != "0A00000000ABCD00" {
				t.Fatalf("Send = %q, %v", id, err)
			}
			want := url.Values{
				"api_key": {vonageKey}, "api_secret": {vonageSecret}, "from": {vonageFrom}, "to": {wireNumber[1:]},
				"text": {tc.text}, "type": {tc.encoding}, "client-ref": {wireReference}, "callback": {vonageCallback},
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
		d := newVonageDouble(t)
		o := vonageOptions(d.URL)
		o.From, o.CallbackURL, o.SignatureSecret = "+447700900001", "", secret.String{}
		if _, err := openVonage(t, o).Send(t.Context(), wireMessage(wireText)); err != nil {
			t.Fatal(err)
		}
		if d.accepted[0].Has("callback") {
			t.Error("a callback was named")
		}
	})
}

func TestVonageRefuses(t *testing.T) {
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
			d := newVonageDouble(t)
			d.status = []string{tc.status}
			id, err := openVonage(t, vonageOptions(d.URL)).Send(t.Context(), wireMessage(wireText))
			if id != "" {
				t.Errorf("Send = %q; want no id", id)
			}
			wireError(t, err, sms.Error{Kind: tc.kind, Code: tc.status})
		})
	}
	t.Run("all parts", func(t *testing.T) {
		d := newVonageDouble(t)
		d.status = []string{"7", "1"}
		m := wireMessage(strings.Repeat("739105 ", 30))
		_, err := openVonage(t, vonageOptions(d.URL)).Send(t.Context(), m)
		wireError(t, err, sms.Error{Kind: sms.Refused, Code: "7"})
	})
	for name, parts := range map[string][]string{"the second part": {"0", "1"}, "the first part": {"7", "0"}} {
		t.Run(name, func(t *testing.T) {
			d := newVonageDouble(t)
			d.status = parts
			m := wireMessage(strings.Repeat("739105 ", 30))
			_, err := openVonage(t, vonageOptions(d.URL)).Send(t.Context(), m)
			wireError(t, err, sms.Error{Kind: sms.Uncertain})
		})
	}
	t.Run("another secret", func(t *testing.T) {
		d := newVonageDouble(t)
		o := vonageOptions(d.URL)
		o.APISecret = secret.NewString(wireSecret + "2")
		_, err := openVonage(t, o).Send(t.Context(), wireMessage(wireText))
		wireError(t, err, sms.Error{Kind: sms.Unavailable, Code: "4"})
	})
	t.Run("a status that is none", func(t *testing.T) {
		server := httptest.NewServer(wireAnswer(200, `{"messages":[{"status":`+wireNumber[1:]+`}]}`))
		defer server.Close()
		_, err := openVonage(t, vonageOptions(server.URL)).Send(t.Context(), wireMessage(wireText))
		wireError(t, err, sms.Error{Kind: sms.Unavailable})
	})
}

func TestVonageOnBrokenWires(t *testing.T) {
	open := func(t *testing.T, base string) sms.Provider { return openVonage(t, vonageOptions(base)) }
	testWires(t, open)
	testUnreadable(t, open, 200, `{"messages":[{"status":"0","message-id":"0A00000000ABCD00"}]`, `{"messages":[]}`,
		`{"messages":[{"status":0,"message-id":"`+wireNumber+`"}]}`, `["`+wireNumber+`"]`)
}

func TestVonageOptions(t *testing.T) {
	for _, tc := range []struct {
		want string // in the error; "" for none
		set  func(*sms.VonageOptions)
	}{
		{"", func(*sms.VonageOptions) {}},
		{"", func(o *sms.VonageOptions) { o.SignatureMethod, o.BaseURL, o.Now = "md5hash", "", nil }},
		{"", func(o *sms.VonageOptions) { o.CallbackURL, o.SignatureSecret = "", secret.String{} }},
		{"api_key", func(o *sms.VonageOptions) { o.APIKey = "" }},
		{"api_secret", func(o *sms.VonageOptions) { o.APISecret = secret.String{} }},
		{"from", func(o *sms.VonageOptions) { o.From = "" }},
		{"signature_secret", func(o *sms.VonageOptions) { o.SignatureSecret = secret.String{} }},
		{"callback_url", func(o *sms.VonageOptions) { o.CallbackURL = "" }},
		{"callback_url", func(o *sms.VonageOptions) { o.CallbackURL += "?a=1" }},
		{"callback_url", func(o *sms.VonageOptions) { o.CallbackURL = "http://mfa.example.com/x" }},
		{"signature_method", func(o *sms.VonageOptions) { o.SignatureMethod = "sha3" }},
		{"base_url", func(o *sms.VonageOptions) { o.BaseURL = "http://rest.nexmo.com" }},
	} {
		o := vonageOptions("https://rest.nexmo.com")
		tc.set(&o)
		p, err := sms.NewVonage(o)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("NewVonage = %v", err)
		case tc.want != "" && (err == nil || p != nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("NewVonage = %v; want an error about %s", err, tc.want)
		}
	}
}

func vonageReceipt(status, code string) map[string]string {
	return map[string]string{
		"msisdn": wireNumber[1:], "to": vonageFrom, "network-code": "26201", "messageId": "0A00000000ABCD00",
		"price": "0.03330000", "status": status, "scts": "2611240200", "err-code": code, "api-key": vonageKey, "client-ref": wireReference,
		"message-timestamp": "2026-11-24 02:00:00", "timestamp": strconv.FormatInt(vonageNow.Unix(), 10),
		"nonce": "ec11dd3e-1e7f-4db5-9467-82b02cd223b9",
	}
}

// vonageCall is a receipt in one of the three ways that an account can be set to:
// "GET", "POST" or "JSON".
func vonageCall(way string, params map[string]string) (*http.Request, []byte) {
	form := url.Values{}
	for name, value := range params {
		form.Set(name, value)
	}
	switch way {
	case "GET":
		return httptest.NewRequest(http.MethodGet, vonageCallback+"?"+form.Encode(), nil), nil
	case "POST":
		return post(vonageCallback, formMedia, form.Encode()), []byte(form.Encode())
	}
	text, _ := json.Marshal(params)
	return post(vonageCallback, "application/json; charset=utf-8", string(text)), text
}

func TestVonageReceipts(t *testing.T) {
	for _, tc := range []struct {
		status, code string
		want         []sms.Receipt
	}{
		{"accepted", "0", []sms.Receipt{{State: sms.Sent}}},
		{"buffered", "0", []sms.Receipt{{State: sms.Sent}}},
		{"delivered", "0", []sms.Receipt{{State: sms.Delivered}}},
		{"expired", "12", []sms.Receipt{{State: sms.Undelivered, Reason: "12"}}},
		{"failed", "9", []sms.Receipt{{State: sms.Undelivered, Reason: "9"}}},
		{"failed", wireNumber, []sms.Receipt{{State: sms.Undelivered}}},
		{"rejected", "6", []sms.Receipt{{State: sms.Failed, Reason: "6"}}},
		{"unknown", "1", nil},
	} {
		for _, way := range []string{"GET", "POST", "JSON"} {
			for _, method := range []string{"md5hash", "md5", "sha1", "sha256", "sha512"} {
				t.Run(tc.status+" "+way+" "+method, func(t *testing.T) {
					o := vonageOptions("")
					o.SignatureMethod = method
					params := vonageReceipt(tc.status, tc.code)
					params["client-ref"] = "a&b=c d+e"
					params["sig"] = signVonage(method, vonageSignature, params)
					want := slices.Clone(tc.want)
					for i := range want {
						want[i].ID = "0A00000000ABCD00"
					}
					r, body := vonageCall(way, params)
					got, err := openVonage(t, o).Receipts(r, body)
					wireReceipts(t, got, err, want...)
				})
			}
		}
	}
}

func TestVonageReceiptsAge(t *testing.T) {
	for _, tc := range []struct {
		name string
		age  time.Duration
		want error
	}{
		{"from a clock that is fast", -5 * time.Minute, nil},
		{"from the future", -5*time.Minute - time.Second, sms.ErrSignature},
		{"repeated for a day", 24 * time.Hour, nil},
		{"last second", 24*time.Hour + 5*time.Minute, nil},
		{"stale", 24*time.Hour + 5*time.Minute + time.Second, sms.ErrSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			params := vonageReceipt("delivered", "0")
			params["timestamp"] = strconv.FormatInt(vonageNow.Add(-tc.age).Unix(), 10)
			params["sig"] = signVonage("sha256", vonageSignature, params)
			r, body := vonageCall("POST", params)
			if _, err := openVonage(t, vonageOptions("")).Receipts(r, body); !errors.Is(err, tc.want) {
				t.Errorf("Receipts = %v; want %v", err, tc.want)
			}
		})
	}
}

func TestVonageRefusesReceipts(t *testing.T) {
	without := vonageOptions("")
	without.CallbackURL, without.SignatureSecret = "", secret.String{}
	md5hash := vonageOptions("")
	md5hash.SignatureMethod = "md5hash"
	for _, tc := range []struct {
		name   string
		opts   sms.VonageOptions
		secret string
		before func(map[string]string) // it is signed
		after  func(map[string]string)
	}{
		{"unsigned", vonageOptions(""), vonageSignature, nil, func(p map[string]string) { delete(p, "sig") }},
		{"an empty signature", vonageOptions(""), vonageSignature, nil, func(p map[string]string) { p["sig"] = "" }},
		{"half a signature", vonageOptions(""), vonageSignature, nil, func(p map[string]string) { p["sig"] = p["sig"][:32] }},
		{"signed by another secret", vonageOptions(""), "another", nil, nil},
		{"signed by another method", md5hash, vonageSignature, nil, nil},
		{"signed without a secret", without, "", nil, nil},
		{"altered", vonageOptions(""), vonageSignature, nil, func(p map[string]string) { p["status"] = "failed" }},
		{"shorter", vonageOptions(""), vonageSignature, nil, func(p map[string]string) { delete(p, "err-code") }},
		{"longer", vonageOptions(""), vonageSignature, nil, func(p map[string]string) { p["x"] = "" }},
		{"two parameters as one", vonageOptions(""), vonageSignature, nil, func(p map[string]string) {
			p["client-ref=m-1&err-code"] = p["err-code"]
			delete(p, "client-ref")
			delete(p, "err-code")
		}},
		{"without a time", vonageOptions(""), vonageSignature, func(p map[string]string) { delete(p, "timestamp") }, nil},
		{"at no time", vonageOptions(""), vonageSignature, func(p map[string]string) { p["timestamp"] = "now" }, nil},
	} {
		for _, way := range []string{"GET", "POST", "JSON"} {
			t.Run(tc.name+" "+way, func(t *testing.T) {
				params := vonageReceipt("delivered", "0")
				if tc.before != nil {
					tc.before(params)
				}
				params["sig"] = signVonage("sha256", tc.secret, params)
				if tc.after != nil {
					tc.after(params)
				}
				r, body := vonageCall(way, params)
				got, err := openVonage(t, tc.opts).Receipts(r, body)
				if got != nil || !errors.Is(err, sms.ErrSignature) {
					t.Errorf("Receipts = %v, %v; want ErrSignature", got, err)
				}
			})
		}
	}
	params := vonageReceipt("delivered", "0")
	params["sig"] = signVonage("sha256", vonageSignature, params)
	_, form := vonageCall("POST", params)
	_, text := vonageCall("JSON", params)
	for name, r := range map[string]struct {
		r    *http.Request
		body string
	}{
		"a parameter twice":   {post(vonageCallback, formMedia, ""), string(form) + "&status=failed"},
		"a malformed form":    {post(vonageCallback, formMedia, ""), string(form) + "&%zz"},
		"malformed JSON":      {post(vonageCallback, "application/json", ""), string(text[:len(text)-1])},
		"two JSON values":     {post(vonageCallback, "application/json", ""), string(text) + "{}"},
		"nested JSON":         {post(vonageCallback, "application/json", ""), `{"a":{},` + string(text[1:])},
		"another JSON":        {post(vonageCallback, "application/json", ""), `[]`},
		"nothing":             {post(vonageCallback, formMedia, ""), ""},
		"JSON called a form":  {post(vonageCallback, formMedia, ""), string(text)},
		"another HTTP method": {httptest.NewRequest(http.MethodPut, vonageCallback, nil), string(form)},
	} {
		if got, err := openVonage(t, vonageOptions("")).Receipts(r.r, []byte(r.body)); got != nil || !errors.Is(err, sms.ErrSignature) {
			t.Errorf("%s: Receipts = %v, %v; want ErrSignature", name, got, err)
		}
	}
}

// The examples are those of Vonage's own libraries: incoming messages, which are
// signed as receipts are.
func TestVonageSignature(t *testing.T) {
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
		o := vonageOptions("")
		o.SignatureMethod = tc.method
		seconds, _ := strconv.ParseInt(tc.params["timestamp"], 10, 64)
		o.Now = func() time.Time { return time.Unix(seconds, 0) }
		signed := maps.Clone(tc.params)
		signed["sig"] = tc.sig
		r, body := vonageCall("GET", signed)
		if _, err := openVonage(t, o).Receipts(r, body); !errors.Is(err, tc.want) {
			t.Errorf("%s: Receipts = %v; want %v", tc.method, err, tc.want)
		}
	}
}

func FuzzVonageReceipts(f *testing.F) {
	p := openVonage(f, vonageOptions(""))
	params := vonageReceipt("failed", "9")
	params["sig"] = signVonage("sha256", vonageSignature, params)
	for _, way := range []string{"GET", "POST", "JSON"} {
		r, body := vonageCall(way, params)
		f.Add(r.URL.RawQuery, r.Method == http.MethodGet, r.Header.Get("Content-Type"), body)
	}
	f.Fuzz(func(t *testing.T, query string, get bool, media string, body []byte) {
		r := post(vonageCallback, media, "")
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
