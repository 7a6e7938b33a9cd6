package httpapi

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/web"
)

func TestTimesHaveTheFormOfTheWire(t *testing.T) {
	same := func(ms int64) bool {
		at := time.UnixMilli(ms % 400_000_000_000_000).In(time.FixedZone("", 3600))
		return string(appendTime([]byte("before "), at)) == `before "`+at.UTC().Format("2006-01-02T15:04:05.000Z")+`"`
	}
	if err := quick.Check(same, &quick.Config{MaxCount: 20_000}); err != nil {
		t.Error(err)
	}
}

// hostile has each kind of character that JSON escapes or may escape, and an invalid byte.
const hostile = "\x00\x1f\"\\/<>&\x7f\u00e9\u2028\u2029\U0001d11e\xff'"

func TestTextsAreWrittenAsEncodingJSONDoes(t *testing.T) {
	same := func(s string) bool {
		want, err := web.Encode(s)
		return err == nil && string(appendString([]byte("before "), s)) == "before "+string(want)
	}
	for c := range 256 {
		if s := "a" + string([]byte{byte(c)}) + "b"; !same(s) {
			t.Errorf("%q is written as %s", s, appendString(nil, s))
		}
	}
	if !same(hostile) || !same("") {
		t.Errorf("%q is written as %s", hostile, appendString(nil, hostile))
	}
	if err := quick.Check(same, &quick.Config{MaxCount: 5000}); err != nil {
		t.Error(err)
	}
}

// TestShapesAreJSON appends each shape with hostile text in all texts, and parses it.
func TestShapesAreJSON(t *testing.T) {
	at := time.Date(2026, 3, 27, 12, 0, 0, 432e6, time.UTC)
	f := mfa.Factor{ID: mfa.FactorID{1}, Type: mfa.TOTP, User: hostile, CreatedAt: at, FactorState: mfa.FactorState{UpdatedAt: at}}
	c := &mfa.IssuedChallenge{Code: secret.NewString(hostile), Challenge: mfa.Challenge{
		ID: mfa.ChallengeID{2}, Factor: f.ID, CreatedAt: at, ExpiresAt: at, ChallengeState: mfa.ChallengeState{
			UpdatedAt: at, Messages: []delivery.Record{{State: hostile, Reason: hostile, Segments: 3, At: at, UpdatedAt: at}},
		},
	}}
	text := secret.NewString(hostile)
	e := &mfa.Enrollment{Details: mfa.Details{Factor: f, Issuer: hostile, Account: hostile}, Secret: text, URI: text, QRCode: text, Challenge: c}
	phone := mfa.Details{Factor: mfa.Factor{ID: f.ID, Type: mfa.SMS, CreatedAt: at, FactorState: mfa.FactorState{UpdatedAt: at}}}
	service, err := mfa.NewService(nil, nil, nil, mfa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &API{mfa: service, opts: Options{Now: func() time.Time { return at }}}
	for name, tc := range map[string]struct {
		body  []byte
		texts int // the number of hostile values
	}{
		"factor":       {appendDetails(nil, &e.Details), 3},
		"sms factor":   {appendDetails(nil, &phone), 0},
		"enrollment":   {appendEnrollment(nil, e), 6},
		"challenge":    {a.appendChallenge(nil, c), 3},
		"verification": {a.appendVerification(nil, &mfa.Verification{Challenge: *c, Valid: true}), 3},
		"of a user":    {a.appendUserEnrollment(nil, e), 9},
		"page":         {appendPage(nil, &mfa.Page{Factors: []mfa.Details{e.Details, phone}, Before: hostile}), 4},
		"empty page":   {appendPage(nil, &mfa.Page{}), 0},
	} {
		var v any
		if err := json.Unmarshal(tc.body, &v); err != nil {
			t.Errorf("%s: %v in %s", name, err, tc.body)
			continue
		}
		back, _ := json.Marshal(v)
		want, _ := json.Marshal(strings.ToValidUTF8(hostile, "\ufffd"))
		if got := strings.Count(string(back), string(want)); got != tc.texts {
			t.Errorf("%s: %d texts are unchanged; want %d\n%s", name, got, tc.texts, tc.body)
		}
	}
}

func BenchmarkShapes(b *testing.B) {
	at := time.Date(2026, 3, 27, 12, 0, 0, 432e6, time.UTC)
	a := &API{opts: Options{Now: time.Now}}
	c := &mfa.IssuedChallenge{Code: secret.NewString("123456"), Challenge: mfa.Challenge{CreatedAt: at, ExpiresAt: at, ChallengeState: mfa.ChallengeState{UpdatedAt: at}}}
	f := &mfa.Details{Factor: mfa.Factor{Type: mfa.TOTP, CreatedAt: at, FactorState: mfa.FactorState{UpdatedAt: at}}, Issuer: "Example", Account: "ada@example.com"}
	for name, toJSON := range map[string]func([]byte) []byte{
		"challenge": func(b []byte) []byte { return a.appendChallenge(b, c) },
		"factor":    func(b []byte) []byte { return appendDetails(b, f) },
	} {
		b.Run(name, func(b *testing.B) {
			var body []byte
			b.ReportAllocs()
			for b.Loop() {
				body = toJSON(body[:0])
			}
		})
	}
}
