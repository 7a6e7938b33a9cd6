package messagebird_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/messagebird"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
	"github.com/countersign-mfa/countersign/internal/secret"
)

var fixedNow = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

const (
	signing   = "PlLrKaqvZNRR5zAjm42ZT6q1SQxgbbGd"
	callback  = "https://mfa.example.com/sms/messagebird"
	messageID = "eef0ab57a9e049be946f3821568c2b2e"
)

// options returns valid options after change.
func options(baseURL string, change func(*messagebird.Options)) messagebird.Options {
	o := messagebird.Options{
		AccessKey: secret.NewString(accessKey), Originator: "Acme", SigningKey: secret.NewString(signing),
		CallbackURL: callback, BaseURL: baseURL, Now: func() time.Time { return fixedNow },
	}
	if change != nil {
		change(&o)
	}
	return o
}

func open(t *testing.T, baseURL string, change func(*messagebird.Options)) *messagebird.Provider {
	t.Helper()
	p, err := messagebird.New(options(baseURL, change))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSends(t *testing.T) {
	for _, tc := range []struct {
		name     string
		change   func(*messagebird.Options)
		text     string
		validFor time.Duration
		validity int // 0 if the field is missing
		report   string
	}{
		{"plain", nil, smstest.Text, 10 * time.Minute, 600, callback},
		{"outside of GSM-7", nil, "Код: 739105 <&> 🔑", 90*time.Second + time.Millisecond, 90, callback},
		{"longer than may be", nil, smstest.Text, 100 * time.Hour, 172800, callback},
		{"hardly", nil, smstest.Text, time.Millisecond, 1, callback},
		{"for as long as the service likes", nil, smstest.Text, 0, 0, callback},
		{"without receipts", func(o *messagebird.Options) { o.CallbackURL, o.SigningKey = "", secret.String{} }, smstest.Text, time.Minute, 60, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble(t)
			m := smstest.NewMessage(tc.text)
			m.ValidFor = tc.validFor
			id, err := open(t, d.URL, tc.change).Send(t.Context(), m)
			if err != nil || len(d.all()) != 1 {
				t.Fatalf("Send = %q, %v with %d accepted; want one", id, err, len(d.all()))
			}
			got, validity := d.all()[0], 0
			if got.Validity != nil {
				validity = *got.Validity
			}
			if id == "" || id != got.ID || got.Originator != "Acme" || got.Recipients[0] != smstest.Number[1:] || got.Reference != m.Reference {
				t.Errorf("id %q, accepted %+v", id, got)
			}
			if got.Shown != tc.text || validity != tc.validity || got.ReportURL != tc.report {
				t.Errorf("shown %q, validity %d, reportUrl %q; want %q, %d, %q", got.Shown, validity, got.ReportURL, tc.text, tc.validity, tc.report)
			}
		})
	}
}

func TestIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*messagebird.Options)
		spoil  func(*double)
		to     string
		want   sms.Error
	}{
		{"wrong key", func(o *messagebird.Options) { o.AccessKey = secret.NewString("test_" + smstest.Secret) }, nil, smstest.Number, sms.Error{Kind: sms.Unavailable, Code: "2"}},
		{"sender not allowed", func(o *messagebird.Options) { o.Originator = "Forbidden" }, nil, smstest.Number, sms.Error{Kind: sms.Unavailable, Code: "10"}},
		{"not a number", nil, nil, "+1607", sms.Error{Kind: sms.Refused, Code: "9"}},
		{"no number, sender not allowed", func(o *messagebird.Options) { o.Originator = "Forbidden" }, nil, "+1607", sms.Error{Kind: sms.Refused, Code: "9"}},
		{"out of credit", nil, func(d *double) { d.broke = true }, smstest.Number, sms.Error{Kind: sms.Unavailable, Code: "25"}},
		{"unknown at once", nil, func(d *double) { d.failed = 1 }, smstest.Number, sms.Error{Kind: sms.Refused, Code: "1"}},
		{"not in service", nil, func(d *double) { d.failed = 9 }, smstest.Number, sms.Error{Kind: sms.Refused, Code: "9"}},
		{"without text messages", nil, func(d *double) { d.failed = 11 }, smstest.Number, sms.Error{Kind: sms.Refused, Code: "11"}},
		{"barred", nil, func(d *double) { d.failed = 13 }, smstest.Number, sms.Error{Kind: sms.Refused, Code: "13"}},
		{"opted out", nil, func(d *double) { d.failed = 103 }, smstest.Number, sms.Error{Kind: sms.Refused, Code: "103"}},
		{"not registered", nil, func(d *double) { d.failed = 104 }, smstest.Number, sms.Error{Kind: sms.Unavailable, Code: "104"}},
		{"failed at once", nil, func(d *double) { d.failed = 34 }, smstest.Number, sms.Error{Kind: sms.Unavailable, Code: "34"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble(t)
			if tc.spoil != nil {
				tc.spoil(d)
			}
			m := smstest.NewMessage(smstest.Text)
			m.To = secret.NewString(tc.to)
			id, err := open(t, d.URL, tc.change).Send(t.Context(), m)
			smstest.CheckError(t, err, tc.want)
			if id != "" {
				t.Errorf("the id is %q", id)
			}
		})
	}
}

func TestErrorCodes(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		status     int
		want       sms.Error
	}{
		{"recipient invalid", `{"errors":[{"code":10,"description":"invalid","parameter":"recipient"}]}`, 422, sms.Error{Kind: sms.Refused, Code: "10"}},
		{"text invalid", `{"errors":[{"code":10,"description":"invalid","parameter":"body"}]}`, 422, sms.Error{Kind: sms.Unavailable, Code: "10"}},
		{"recipients not allowed", `{"errors":[{"code":2,"description":"no","parameter":"recipients"}]}`, 403, sms.Error{Kind: sms.Unavailable, Code: "2"}},
		{"internal error", `{"errors":[{"code":99,"description":"internal error","parameter":null}]}`, 500, sms.Error{Kind: sms.Unavailable, Code: "99"}},
		{"unknown", `{"errors":[{"code":1234,"description":"new","parameter":null}]}`, 422, sms.Error{Kind: sms.Unavailable, Code: "1234"}},
		{"none", `{"errors":[]}`, 405, sms.Error{Kind: sms.Unavailable, Code: "405"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewServer(smstest.Answer(tc.status, tc.body))
			defer srv.Close()
			_, err := open(t, srv.URL, nil).Send(t.Context(), smstest.NewMessage(smstest.Text))
			smstest.CheckError(t, err, tc.want)
		})
	}
}

func TestFailuresOfTheService(t *testing.T) {
	open := func(t *testing.T, baseURL string) sms.Provider { return open(t, baseURL, nil) }
	smstest.RunBroken(t, open)
	smstest.RunUnreadable(t, open, 201, `{"id":null}`, `{"id":"`+smstest.Number+`"}`)
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*messagebird.Options)
		want   string // part of the error; "" if New succeeds
	}{
		{"complete", nil, ""},
		{"defaults", func(o *messagebird.Options) { o.BaseURL, o.Now = "", nil }, ""},
		{"a number", func(o *messagebird.Options) { o.Originator = "+31612345678" }, ""},
		{"no key", func(o *messagebird.Options) { o.AccessKey = secret.String{} }, "access_key"},
		{"no sender", func(o *messagebird.Options) { o.Originator = "" }, "originator"},
		{"a bad sender", func(o *messagebird.Options) { o.Originator = "Acme & Sons" }, "originator"},
		{"a callback that cannot be checked", func(o *messagebird.Options) { o.SigningKey = secret.String{} }, "signing_key"},
		{"a plain callback", func(o *messagebird.Options) { o.CallbackURL = "http://mfa.example.com/" }, "callback_url"},
		{"a bad base", func(o *messagebird.Options) { o.BaseURL = "ftp://rest.messagebird.com" }, "base_url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := messagebird.New(options("", tc.change))
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New: %v; want an error with %q", err, tc.want)
			}
		})
	}
}

// callbackRequest returns a status report, signed with a token. A proxy has changed its
// path.
func callbackRequest(query string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/inside?"+query, nil)
	r.Header.Set("MessageBird-Signature-JWT", signToken(signing, tokenHeader, newClaims(fixedNow, callback+"?"+query, nil)))
	return r
}

func TestReceipts(t *testing.T) {
	p := open(t, "", nil)
	for _, tc := range []struct {
		name, query string
		want        []sms.Receipt
	}{
		{"scheduled", statusReport(messageID, "scheduled"), []sms.Receipt{{ID: messageID, State: sms.Queued}}},
		{"sent", statusReport(messageID, "sent"), []sms.Receipt{{ID: messageID, State: sms.Sent}}},
		{"buffered", statusReport(messageID, "buffered", "statusErrorCode", "27"), []sms.Receipt{{ID: messageID, State: sms.Sent}}},
		{"delivered", statusReport(messageID, "delivered"), []sms.Receipt{{ID: messageID, State: sms.Delivered}}},
		{"expired", statusReport(messageID, "expired", "statusReason", "DLR not received"), []sms.Receipt{{ID: messageID, State: sms.Undelivered, Reason: "DLR_not_received"}}},
		{"undelivered", statusReport(messageID, "delivery_failed", "statusErrorCode", "1", "statusReason", "unknown subscriber"), []sms.Receipt{{ID: messageID, State: sms.Undelivered, Reason: "1"}}},
		{"without a code", statusReport(messageID, "delivery_failed", "statusErrorCode", "0", "statusReason", "carrier rejected"), []sms.Receipt{{ID: messageID, State: sms.Undelivered, Reason: "carrier_rejected"}}},
		{"opted out", statusReport(messageID, "delivery_failed", "statusErrorCode", "103"), []sms.Receipt{{ID: messageID, State: sms.Failed, Reason: "103"}}},
		{"a reason that may be a number", statusReport(messageID, "delivery_failed", "statusReason", smstest.Number[1:]), []sms.Receipt{{ID: messageID, State: sms.Undelivered}}},
		{"an unknown status", statusReport(messageID, "teleported"), nil},
		{"no id", statusReport("", "delivered"), nil},
		{"an id that is none", statusReport("a b", "delivered"), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := p.Receipts(callbackRequest(tc.query), nil)
			smstest.CheckReceipts(t, got, err, tc.want...)
			old := httptest.NewRequest(http.MethodGet, "/inside?"+tc.query, nil)
			setOldSignature(old, signing, fixedNow, tc.query)
			got, err = p.Receipts(old, nil)
			smstest.CheckReceipts(t, got, err, tc.want...)
		})
	}
	t.Run("malformed", func(t *testing.T) {
		got, err := p.Receipts(callbackRequest("id=%zz"), nil)
		if err == nil || errors.Is(err, sms.ErrSignature) || got != nil {
			t.Errorf("Receipts = %v, %v; want another error", got, err)
		}
	})
	t.Run("a callback URL with a query", func(t *testing.T) {
		p := open(t, "", func(o *messagebird.Options) { o.CallbackURL += "?tenant=a" })
		got, err := p.Receipts(callbackRequest("tenant=a&"+statusReport(messageID, "delivered")), nil)
		smstest.CheckReceipts(t, got, err, sms.Receipt{ID: messageID, State: sms.Delivered})
	})
}

// The signatures are examples in MessageBird's client libraries:
// ruby-rest-api, signed_request_verification.rb, and go-rest-api,
// signature_jwt/testdata/reference.json.
func TestExamples(t *testing.T) {
	t.Run("older signature", func(t *testing.T) {
		p := open(t, "", func(o *messagebird.Options) { o.Now = func() time.Time { return time.Unix(1547198231, 0) } })
		r := httptest.NewRequest(http.MethodGet, "/?recipient=31612345678&reference=FOO&statusDatetime=2019-01-11T09:17:11%2B00:00&id="+messageID+"&status=delivered&mccmnc=20408&ported=1", nil)
		r.Header.Set("MessageBird-Request-Timestamp", "1547198231")
		r.Header.Set("MessageBird-Signature", "KVBdcVdz2lYMwcBLZCRITgxUfA/WkwSi+T3Wxl2HL6w=")
		got, err := p.Receipts(r, nil)
		smstest.CheckReceipts(t, got, err, sms.Receipt{ID: messageID, State: sms.Delivered})
	})
	const claims = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJNZXNzYWdlQmlyZCIsIm5iZiI6MTYyNTQ3OTIwMCwiZXhwIjoxNjI1NDc5MjYwLCJqdGkiOi"
	for _, tc := range []struct{ name, query, body, token string }{
		{"query", "bar=1&foo=2", "", claims + "JjOTQ2YWY3Ny1lMTgyLTRlYWEtYjJmZi0xYTU0NWI1ZTk5MWEiLCJ1cmxfaGFzaCI6IjQxZjA1ZjBkZGQwYTIyYWIyMDlhYzQ2ZjQ3YzQ1NzJkOWNlZmEyNTdlZDc0YjI0MDA0YmFlNzUzZWNlNmMyNjAifQ.huo2ou6JDoDc7sV25d75UMWeYhBeavQlLsqIibSZuac"},
		{"query and body", "bar=1&foo=2", "Hello, World!", claims + "I5M2U1NTAwNi1hMGU4LTQ1MjYtYTE5MC1mYTVmZjAwZWExMTYiLCJ1cmxfaGFzaCI6IjQxZjA1ZjBkZGQwYTIyYWIyMDlhYzQ2ZjQ3YzQ1NzJkOWNlZmEyNTdlZDc0YjI0MDA0YmFlNzUzZWNlNmMyNjAiLCJwYXlsb2FkX2hhc2giOiJkZmZkNjAyMWJiMmJkNWIwYWY2NzYyOTA4MDllYzNhNTMxOTFkZDgxYzdmNzBhNGIyODY4OGEzNjIxODI5ODZmIn0._H--TOuYFLpeEH39-rg5E3IHVkjHozBcaKVWPRC5m9I"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := open(t, "", func(o *messagebird.Options) {
				o.CallbackURL = "https://example.com/path"
				o.SigningKey = secret.NewString("36efdd1aace2e26cd490f0d951138253bef2f7c6d34d18981da781555cc4cebb")
				o.Now = func() time.Time { return time.Unix(1625479200, 0) }
			})
			r := httptest.NewRequest(http.MethodGet, "/path?"+tc.query, nil)
			r.Header.Set("MessageBird-Signature-JWT", tc.token)
			got, err := p.Receipts(r, []byte(tc.body))
			smstest.CheckReceipts(t, got, err)
		})
	}
}

func TestRefusesForgedReceipts(t *testing.T) {
	query := statusReport(messageID, "delivered")
	token := func(key, header string, change func(claims map[string]any)) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/inside?"+query, nil)
		claims := newClaims(fixedNow, callback+"?"+query, nil)
		if change != nil {
			change(claims)
		}
		r.Header.Set("MessageBird-Signature-JWT", signToken(key, header, claims))
		return r
	}
	set := func(name string, value any) *http.Request {
		return token(signing, tokenHeader, func(claims map[string]any) { claims[name] = value })
	}
	old := func(key string, at time.Time, change func(*http.Request)) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/inside?"+query, nil)
		setOldSignature(r, key, at, query)
		if change != nil {
			change(r)
		}
		return r
	}
	altered := func(r *http.Request) {
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "status=delivered", "status=expired", 1)
	}
	change := func(r *http.Request, change func(*http.Request)) *http.Request { change(r); return r }
	now := fixedNow.Unix()
	for _, tc := range []struct {
		name string
		r    *http.Request
		body string
		ok   bool
	}{
		{"genuine", token(signing, tokenHeader, nil), "", true},
		{"a clock that is behind", set("nbf", now+60), "", true},
		{"a clock that is ahead", set("exp", now-60), "", true},
		{"from the future", set("nbf", now+61), "", false},
		{"stale", set("exp", now-61), "", false},
		{"for ever", token(signing, tokenHeader, func(c map[string]any) { delete(c, "exp") }), "", false},
		{"of another issuer", set("iss", "Bird"), "", false},
		{"unnamed", set("jti", ""), "", false},
		{"for another URL", set("url_hash", strings.Repeat("0", 64)), "", false},
		{"for no URL", set("url_hash", ""), "", false},
		{"with a body that is not signed", token(signing, tokenHeader, nil), "body", false},
		{"without the body that is signed", set("payload_hash", strings.Repeat("0", 64)), "", false},
		{"with another body", set("payload_hash", strings.Repeat("0", 64)), "body", false},
		{"claims of another kind", set("exp", "tomorrow"), "", false},
		{"altered", change(token(signing, tokenHeader, nil), altered), "", false},
		{"signed by another", token("another", tokenHeader, nil), "", false},
		{"signed by nobody", token("", tokenHeader, nil), "", false},
		{"without an algorithm", token(signing, `{"alg":"none"}`, nil), "", false},
		{"of another algorithm", token(signing, `{"alg":"HS512"}`, nil), "", false},
		{"a header that is none", token(signing, `alg`, nil), "", false},
		{"a token that is none", change(token(signing, tokenHeader, nil), func(r *http.Request) { r.Header.Set("MessageBird-Signature-JWT", "a.b") }), "", false},
		{"unsigned", httptest.NewRequest(http.MethodGet, "/inside?"+query, nil), "", false},

		{"older: genuine", old(signing, fixedNow, nil), "", true},
		{"older: as old as it may be", old(signing, fixedNow.Add(-5*time.Minute), nil), "", true},
		{"older: stale", old(signing, fixedNow.Add(-5*time.Minute-time.Second), nil), "", false},
		{"older: of the future", old(signing, fixedNow.Add(5*time.Minute+time.Second), nil), "", false},
		{"older: altered", old(signing, fixedNow, altered), "", false},
		{"older: with a body that is not signed", old(signing, fixedNow, nil), "body", false},
		{"older: signed by another", old("another", fixedNow, nil), "", false},
		{"older: replayed under a new time", old(signing, fixedNow, func(r *http.Request) { r.Header.Set("MessageBird-Request-Timestamp", "1795514401") }), "", false},
		{"older: without a signature", old(signing, fixedNow, func(r *http.Request) { r.Header.Del("MessageBird-Signature") }), "", false},
		{"older: beside a wrong token", old(signing, fixedNow, func(r *http.Request) { r.Header.Set("MessageBird-Signature-JWT", "a.b.c") }), "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := open(t, "", nil).Receipts(tc.r, []byte(tc.body))
			if tc.ok != (err == nil) || err != nil && !errors.Is(err, sms.ErrSignature) {
				t.Errorf("Receipts: %v; want it accepted: %v", err, tc.ok)
			}
		})
	}
	t.Run("without a key", func(t *testing.T) {
		p := open(t, "", func(o *messagebird.Options) { o.SigningKey, o.CallbackURL = secret.String{}, "" })
		for _, r := range []*http.Request{token("", tokenHeader, nil), old("", fixedNow, nil)} {
			if _, err := p.Receipts(r, nil); !errors.Is(err, sms.ErrSignature) {
				t.Errorf("Receipts: %v; want %v", err, sms.ErrSignature)
			}
		}
	})
}

func FuzzReceipts(f *testing.F) {
	f.Add(statusReport(messageID, "delivery_failed", "statusErrorCode", "103"), tokenHeader, `{"iss":"MessageBird"}`)
	f.Add("id=%zz&;", "{}", "[]")
	p, err := messagebird.New(options("", nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, header, token string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.RawQuery = query
		for _, token := range []string{token, signToken(signing, header, map[string]any{"iss": token})} {
			r.Header["Messagebird-Signature-Jwt"] = []string{token}
			if got, err := p.Receipts(r, nil); !errors.Is(err, sms.ErrSignature) {
				t.Fatalf("unsigned: %v, %v", got, err)
			}
		}
		asked := callback
		if query != "" {
			asked += "?" + query
		}
		r.Header.Set("MessageBird-Signature-JWT", signToken(signing, tokenHeader, newClaims(fixedNow, asked, nil)))
		got, err := p.Receipts(r, nil)
		smstest.CheckFuzzed(t, got, err)
	})
}

func TestCallbacks(t *testing.T) {
	report := statusReport(messageID, "delivered")
	smstest.RunCallbacks(t, []sms.Named{{Name: "bird", Provider: open(t, "", nil)}}, []string{messageID}, []smstest.Callback{
		{Name: "got, with a query of any form", Provider: "bird", Request: callbackRequest("z=%7e&;x&" + report), Status: 400, Logged: "bird"},
		{Name: "got", Provider: "bird", Request: callbackRequest(report), Status: 200, Kept: "bird " + messageID + " delivered"},
	}...)
}

func TestCodesOfNumbersNotServed(t *testing.T) {
	smstest.RunUnserved(t, func(base string) sms.Provider { return open(t, base, nil) },
		smstest.AnswerCode(201, `{"id":"`+messageID+`","recipients":{"items":[{"status":"delivery_failed","statusErrorCode":`, `}]}}`),
		messagebird.CodeTables, []string{"104", "105"}, "106")
}
