package sms_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/secret"
)

var birdNow = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

const (
	birdSigning  = "PlLrKaqvZNRR5zAjm42ZT6q1SQxgbbGd"
	birdCallback = "https://mfa.example.com/sms/messagebird"
	birdID       = "eef0ab57a9e049be946f3821568c2b2e"
)

// birdOptions are options that work, as they are after change.
func birdOptions(baseURL string, change func(*sms.MessageBirdOptions)) sms.MessageBirdOptions {
	o := sms.MessageBirdOptions{
		AccessKey: secret.NewString(birdKey), Originator: "Acme", SigningKey: secret.NewString(birdSigning),
		CallbackURL: birdCallback, BaseURL: baseURL, Now: func() time.Time { return birdNow },
	}
	if change != nil {
		change(&o)
	}
	return o
}

func openBird(t *testing.T, baseURL string, change func(*sms.MessageBirdOptions)) *sms.MessageBird {
	t.Helper()
	p, err := sms.NewMessageBird(birdOptions(baseURL, change))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMessageBirdSends(t *testing.T) {
	for _, tc := range []struct {
		name     string
		change   func(*sms.MessageBirdOptions)
		text     string
		validFor time.Duration
		validity int // 0 for none
		report   string
	}{
		{"plain", nil, wireText, 10 * time.Minute, 600, birdCallback},
		{"beyond GSM-7", nil, "Код: 739105 <&> 🔑", 90*time.Second + time.Millisecond, 90, birdCallback},
		{"longer than may be", nil, wireText, 100 * time.Hour, 172800, birdCallback},
		{"hardly", nil, wireText, time.Millisecond, 1, birdCallback},
		{"for as long as the service likes", nil, wireText, 0, 0, birdCallback},
		{"without receipts", func(o *sms.MessageBirdOptions) { o.CallbackURL, o.SigningKey = "", secret.String{} }, wireText, time.Minute, 60, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newBirdDouble(t)
			m := wireMessage(tc.text)
			m.ValidFor = tc.validFor
			id, err := openBird(t, d.URL, tc.change).Send(t.Context(), m)
			if err != nil || len(d.all()) != 1 {
				t.Fatalf("Send = %q, %v with %d accepted; want one", id, err, len(d.all()))
			}
			got, validity := d.all()[0], 0
			if got.Validity != nil {
				validity = *got.Validity
			}
			if id == "" || id != got.ID || got.Originator != "Acme" || got.Recipients[0] != wireNumber[1:] || got.Reference != m.Reference {
				t.Errorf("id %q, accepted %+v", id, got)
			}
			if got.Shown != tc.text || validity != tc.validity || got.ReportURL != tc.report {
				t.Errorf("shown %q, validity %d, reportUrl %q; want %q, %d, %q", got.Shown, validity, got.ReportURL, tc.text, tc.validity, tc.report)
			}
		})
	}
}

func TestMessageBirdIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*sms.MessageBirdOptions)
		spoil  func(*birdDouble)
		to     string
		want   sms.Error
	}{
		{"wrong key", func(o *sms.MessageBirdOptions) { o.AccessKey = secret.NewString("test_" + wireSecret) }, nil, wireNumber, sms.Error{Kind: sms.Unavailable, Code: "2"}},
		{"sender not allowed", func(o *sms.MessageBirdOptions) { o.Originator = "Forbidden" }, nil, wireNumber, sms.Error{Kind: sms.Unavailable, Code: "10"}},
		{"no number", nil, nil, "+1607", sms.Error{Kind: sms.Refused, Code: "9"}},
		{"no number, sender not allowed", func(o *sms.MessageBirdOptions) { o.Originator = "Forbidden" }, nil, "+1607", sms.Error{Kind: sms.Refused, Code: "9"}},
		{"out of credit", nil, func(d *birdDouble) { d.broke = true }, wireNumber, sms.Error{Kind: sms.Unavailable, Code: "25"}},
		{"unknown at once", nil, func(d *birdDouble) { d.failed = 1 }, wireNumber, sms.Error{Kind: sms.Refused, Code: "1"}},
		{"not in service", nil, func(d *birdDouble) { d.failed = 9 }, wireNumber, sms.Error{Kind: sms.Refused, Code: "9"}},
		{"without text messages", nil, func(d *birdDouble) { d.failed = 11 }, wireNumber, sms.Error{Kind: sms.Refused, Code: "11"}},
		{"barred", nil, func(d *birdDouble) { d.failed = 13 }, wireNumber, sms.Error{Kind: sms.Refused, Code: "13"}},
		{"opted out", nil, func(d *birdDouble) { d.failed = 103 }, wireNumber, sms.Error{Kind: sms.Refused, Code: "103"}},
		{"not registered", nil, func(d *birdDouble) { d.failed = 104 }, wireNumber, sms.Error{Kind: sms.Unavailable, Code: "104"}},
		{"failed at once", nil, func(d *birdDouble) { d.failed = 34 }, wireNumber, sms.Error{Kind: sms.Unavailable, Code: "34"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newBirdDouble(t)
			if tc.spoil != nil {
				tc.spoil(d)
			}
			m := wireMessage(wireText)
			m.To = secret.NewString(tc.to)
			id, err := openBird(t, d.URL, tc.change).Send(t.Context(), m)
			wireError(t, err, tc.want)
			if id != "" {
				t.Errorf("the id is %q", id)
			}
		})
	}
}

func TestMessageBirdErrorCodes(t *testing.T) {
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
			srv := httptest.NewServer(wireAnswer(tc.status, tc.body))
			defer srv.Close()
			_, err := openBird(t, srv.URL, nil).Send(t.Context(), wireMessage(wireText))
			wireError(t, err, tc.want)
		})
	}
}

func TestMessageBirdOnBrokenWires(t *testing.T) {
	open := func(t *testing.T, baseURL string) sms.Provider { return openBird(t, baseURL, nil) }
	testWires(t, open)
	testUnreadable(t, open, 201, `{"id":null}`, `{"id":"`+wireNumber+`"}`)
}

func TestMessageBirdOptions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*sms.MessageBirdOptions)
		want   string // in the error; "" if there is none
	}{
		{"complete", nil, ""},
		{"defaults", func(o *sms.MessageBirdOptions) { o.BaseURL, o.Now = "", nil }, ""},
		{"a number", func(o *sms.MessageBirdOptions) { o.Originator = "+31612345678" }, ""},
		{"no key", func(o *sms.MessageBirdOptions) { o.AccessKey = secret.String{} }, "access_key"},
		{"no sender", func(o *sms.MessageBirdOptions) { o.Originator = "" }, "originator"},
		{"a bad sender", func(o *sms.MessageBirdOptions) { o.Originator = "Acme & Sons" }, "originator"},
		{"a callback that cannot be checked", func(o *sms.MessageBirdOptions) { o.SigningKey = secret.String{} }, "signing_key"},
		{"a plain callback", func(o *sms.MessageBirdOptions) { o.CallbackURL = "http://mfa.example.com/" }, "callback_url"},
		{"a bad base", func(o *sms.MessageBirdOptions) { o.BaseURL = "ftp://rest.messagebird.com" }, "base_url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := sms.NewMessageBird(birdOptions("", tc.change))
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("NewMessageBird: %v; want an error with %q", err, tc.want)
			}
		})
	}
}

// birdRequest is a status report, signed with a token. A proxy has changed its path.
func birdRequest(query string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/inside?"+query, nil)
	r.Header.Set("MessageBird-Signature-JWT", birdToken(birdSigning, birdHeader, birdClaims(birdNow, birdCallback+"?"+query, nil)))
	return r
}

func TestMessageBirdReceipts(t *testing.T) {
	p := openBird(t, "", nil)
	for _, tc := range []struct {
		name, query string
		want        []sms.Receipt
	}{
		{"scheduled", birdReport(birdID, "scheduled"), []sms.Receipt{{ID: birdID, State: sms.Queued}}},
		{"sent", birdReport(birdID, "sent"), []sms.Receipt{{ID: birdID, State: sms.Sent}}},
		{"buffered", birdReport(birdID, "buffered", "statusErrorCode", "27"), []sms.Receipt{{ID: birdID, State: sms.Sent}}},
		{"delivered", birdReport(birdID, "delivered"), []sms.Receipt{{ID: birdID, State: sms.Delivered}}},
		{"expired", birdReport(birdID, "expired", "statusReason", "DLR not received"), []sms.Receipt{{ID: birdID, State: sms.Undelivered, Reason: "DLR_not_received"}}},
		{"undelivered", birdReport(birdID, "delivery_failed", "statusErrorCode", "1", "statusReason", "unknown subscriber"), []sms.Receipt{{ID: birdID, State: sms.Undelivered, Reason: "1"}}},
		{"without a code", birdReport(birdID, "delivery_failed", "statusErrorCode", "0", "statusReason", "carrier rejected"), []sms.Receipt{{ID: birdID, State: sms.Undelivered, Reason: "carrier_rejected"}}},
		{"opted out", birdReport(birdID, "delivery_failed", "statusErrorCode", "103"), []sms.Receipt{{ID: birdID, State: sms.Failed, Reason: "103"}}},
		{"a reason that may be a number", birdReport(birdID, "delivery_failed", "statusReason", wireNumber[1:]), []sms.Receipt{{ID: birdID, State: sms.Undelivered}}},
		{"a status of tomorrow", birdReport(birdID, "teleported"), nil},
		{"no id", birdReport("", "delivered"), nil},
		{"an id that is none", birdReport("a b", "delivered"), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := p.Receipts(birdRequest(tc.query), nil)
			wireReceipts(t, got, err, tc.want...)
			old := httptest.NewRequest(http.MethodGet, "/inside?"+tc.query, nil)
			birdOldSignature(old, birdSigning, birdNow, tc.query)
			got, err = p.Receipts(old, nil)
			wireReceipts(t, got, err, tc.want...)
		})
	}
	t.Run("malformed", func(t *testing.T) {
		got, err := p.Receipts(birdRequest("id=%zz"), nil)
		if err == nil || errors.Is(err, sms.ErrSignature) || got != nil {
			t.Errorf("Receipts = %v, %v; want another error", got, err)
		}
	})
	t.Run("a callback URL with a query", func(t *testing.T) {
		p := openBird(t, "", func(o *sms.MessageBirdOptions) { o.CallbackURL += "?tenant=a" })
		got, err := p.Receipts(birdRequest("tenant=a&"+birdReport(birdID, "delivered")), nil)
		wireReceipts(t, got, err, sms.Receipt{ID: birdID, State: sms.Delivered})
	})
}

// The signatures are examples of MessageBird's own client libraries: of
// ruby-rest-api, signed_request_verification.rb, and of go-rest-api,
// signature_jwt/testdata/reference.json.
func TestMessageBirdExamples(t *testing.T) {
	t.Run("older signature", func(t *testing.T) {
		p := openBird(t, "", func(o *sms.MessageBirdOptions) { o.Now = func() time.Time { return time.Unix(1547198231, 0) } })
		r := httptest.NewRequest(http.MethodGet, "/?recipient=31612345678&reference=FOO&statusDatetime=2019-01-11T09:17:11%2B00:00&id="+birdID+"&status=delivered&mccmnc=20408&ported=1", nil)
		r.Header.Set("MessageBird-Request-Timestamp", "1547198231")
		r.Header.Set("MessageBird-Signature", "KVBdcVdz2lYMwcBLZCRITgxUfA/WkwSi+T3Wxl2HL6w=")
		got, err := p.Receipts(r, nil)
		wireReceipts(t, got, err, sms.Receipt{ID: birdID, State: sms.Delivered})
	})
	const claims = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJNZXNzYWdlQmlyZCIsIm5iZiI6MTYyNTQ3OTIwMCwiZXhwIjoxNjI1NDc5MjYwLCJqdGkiOi"
	for _, tc := range []struct{ name, query, body, token string }{
		{"query", "bar=1&foo=2", "", claims + "JjOTQ2YWY3Ny1lMTgyLTRlYWEtYjJmZi0xYTU0NWI1ZTk5MWEiLCJ1cmxfaGFzaCI6IjQxZjA1ZjBkZGQwYTIyYWIyMDlhYzQ2ZjQ3YzQ1NzJkOWNlZmEyNTdlZDc0YjI0MDA0YmFlNzUzZWNlNmMyNjAifQ.huo2ou6JDoDc7sV25d75UMWeYhBeavQlLsqIibSZuac"},
		{"query and body", "bar=1&foo=2", "Hello, World!", claims + "I5M2U1NTAwNi1hMGU4LTQ1MjYtYTE5MC1mYTVmZjAwZWExMTYiLCJ1cmxfaGFzaCI6IjQxZjA1ZjBkZGQwYTIyYWIyMDlhYzQ2ZjQ3YzQ1NzJkOWNlZmEyNTdlZDc0YjI0MDA0YmFlNzUzZWNlNmMyNjAiLCJwYXlsb2FkX2hhc2giOiJkZmZkNjAyMWJiMmJkNWIwYWY2NzYyOTA4MDllYzNhNTMxOTFkZDgxYzdmNzBhNGIyODY4OGEzNjIxODI5ODZmIn0._H--TOuYFLpeEH39-rg5E3IHVkjHozBcaKVWPRC5m9I"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := openBird(t, "", func(o *sms.MessageBirdOptions) {
				o.CallbackURL = "https://example.com/path"
				o.SigningKey = secret.NewString("36efdd1aace2e26cd490f0d951138253bef2f7c6d34d18981da781555cc4cebb")
				o.Now = func() time.Time { return time.Unix(1625479200, 0) }
			})
			r := httptest.NewRequest(http.MethodGet, "/path?"+tc.query, nil)
			r.Header.Set("MessageBird-Signature-JWT", tc.token)
			got, err := p.Receipts(r, []byte(tc.body))
			wireReceipts(t, got, err)
		})
	}
}

func TestMessageBirdRefusesForgedReceipts(t *testing.T) {
	query := birdReport(birdID, "delivered")
	token := func(key, header string, change func(claims map[string]any)) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/inside?"+query, nil)
		claims := birdClaims(birdNow, birdCallback+"?"+query, nil)
		if change != nil {
			change(claims)
		}
		r.Header.Set("MessageBird-Signature-JWT", birdToken(key, header, claims))
		return r
	}
	set := func(name string, value any) *http.Request {
		return token(birdSigning, birdHeader, func(claims map[string]any) { claims[name] = value })
	}
	old := func(key string, at time.Time, change func(*http.Request)) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/inside?"+query, nil)
		birdOldSignature(r, key, at, query)
		if change != nil {
			change(r)
		}
		return r
	}
	altered := func(r *http.Request) {
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "status=delivered", "status=expired", 1)
	}
	change := func(r *http.Request, change func(*http.Request)) *http.Request { change(r); return r }
	now := birdNow.Unix()
	for _, tc := range []struct {
		name string
		r    *http.Request
		body string
		ok   bool
	}{
		{"genuine", token(birdSigning, birdHeader, nil), "", true},
		{"a clock that is behind", set("nbf", now+60), "", true},
		{"a clock that is ahead", set("exp", now-60), "", true},
		{"of the future", set("nbf", now+61), "", false},
		{"stale", set("exp", now-61), "", false},
		{"for ever", token(birdSigning, birdHeader, func(c map[string]any) { delete(c, "exp") }), "", false},
		{"of another issuer", set("iss", "Bird"), "", false},
		{"unnamed", set("jti", ""), "", false},
		{"for another URL", set("url_hash", strings.Repeat("0", 64)), "", false},
		{"for no URL", set("url_hash", ""), "", false},
		{"with a body that is not signed", token(birdSigning, birdHeader, nil), "body", false},
		{"without the body that is signed", set("payload_hash", strings.Repeat("0", 64)), "", false},
		{"with another body", set("payload_hash", strings.Repeat("0", 64)), "body", false},
		{"claims of another kind", set("exp", "tomorrow"), "", false},
		{"altered", change(token(birdSigning, birdHeader, nil), altered), "", false},
		{"signed by another", token("another", birdHeader, nil), "", false},
		{"signed by nobody", token("", birdHeader, nil), "", false},
		{"without an algorithm", token(birdSigning, `{"alg":"none"}`, nil), "", false},
		{"of another algorithm", token(birdSigning, `{"alg":"HS512"}`, nil), "", false},
		{"a header that is none", token(birdSigning, `alg`, nil), "", false},
		{"a token that is none", change(token(birdSigning, birdHeader, nil), func(r *http.Request) { r.Header.Set("MessageBird-Signature-JWT", "a.b") }), "", false},
		{"unsigned", httptest.NewRequest(http.MethodGet, "/inside?"+query, nil), "", false},

		{"older: genuine", old(birdSigning, birdNow, nil), "", true},
		{"older: as old as it may be", old(birdSigning, birdNow.Add(-5*time.Minute), nil), "", true},
		{"older: stale", old(birdSigning, birdNow.Add(-5*time.Minute-time.Second), nil), "", false},
		{"older: of the future", old(birdSigning, birdNow.Add(5*time.Minute+time.Second), nil), "", false},
		{"older: altered", old(birdSigning, birdNow, altered), "", false},
		{"older: with a body that is not signed", old(birdSigning, birdNow, nil), "body", false},
		{"older: signed by another", old("another", birdNow, nil), "", false},
		{"older: replayed under a new time", old(birdSigning, birdNow, func(r *http.Request) { r.Header.Set("MessageBird-Request-Timestamp", "1795514401") }), "", false},
		{"older: without a signature", old(birdSigning, birdNow, func(r *http.Request) { r.Header.Del("MessageBird-Signature") }), "", false},
		{"older: beside a wrong token", old(birdSigning, birdNow, func(r *http.Request) { r.Header.Set("MessageBird-Signature-JWT", "a.b.c") }), "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := openBird(t, "", nil).Receipts(tc.r, []byte(tc.body))
			if tc.ok != (err == nil) || err != nil && !errors.Is(err, sms.ErrSignature) {
				t.Errorf("Receipts: %v; want it taken: %v", err, tc.ok)
			}
		})
	}
	t.Run("without a key", func(t *testing.T) {
		p := openBird(t, "", func(o *sms.MessageBirdOptions) { o.SigningKey, o.CallbackURL = secret.String{}, "" })
		for _, r := range []*http.Request{token("", birdHeader, nil), old("", birdNow, nil)} {
			if _, err := p.Receipts(r, nil); !errors.Is(err, sms.ErrSignature) {
				t.Errorf("Receipts: %v; want %v", err, sms.ErrSignature)
			}
		}
	})
}

func FuzzMessageBirdReceipts(f *testing.F) {
	f.Add(birdReport(birdID, "delivery_failed", "statusErrorCode", "103"), birdHeader, `{"iss":"MessageBird"}`)
	f.Add("id=%zz&;", "{}", "[]")
	p, err := sms.NewMessageBird(birdOptions("", nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, header, token string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.RawQuery = query
		for _, token := range []string{token, birdToken(birdSigning, header, map[string]any{"iss": token})} {
			r.Header["Messagebird-Signature-Jwt"] = []string{token}
			if got, err := p.Receipts(r, nil); !errors.Is(err, sms.ErrSignature) {
				t.Fatalf("unsigned: %v, %v", got, err)
			}
		}
		asked := birdCallback
		if query != "" {
			asked += "?" + query
		}
		r.Header.Set("MessageBird-Signature-JWT", birdToken(birdSigning, birdHeader, birdClaims(birdNow, asked, nil)))
		got, err := p.Receipts(r, nil)
		wireFuzzed(t, got, err)
	})
}
