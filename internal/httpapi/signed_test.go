package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

var receipts = setup{mfa: mfa.Options{PublicURL: "https://mfa.example.com"}}

// payload returns the claims of a receipt, without a check of its signature.
func payload(t *testing.T, receipt string) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(receipt, ".")
	if len(parts) != 3 {
		t.Fatalf("the receipt is %q", receipt)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(b, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestAReceiptIsRepeatedByteForByte(t *testing.T) {
	w := newFixture(t, receipts)
	const wants = `"receipt":{"aud":"https://pay.example.com","nonce":"n","first_factor":"pwd","expires_in":60,"action":{"title":"Pay","details":"a\nb","sha256":"` +
		"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a" + `"}}`
	for _, tc := range []struct{ name, challenge, verify string }{
		{"of the challenge", `{` + wants + `}`, `{"code":"CODE"}`},
		{"of the verification", `{}`, `{"code":"CODE",` + wants + `}`},
		{"of both", `{` + wants + `}`, `{` + wants + `,"code":"CODE"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			factor := w.enroll(`{"type":"generic_otp","user_id":"user_42"}`)
			c := w.post("/auth/factors/"+factor+"/challenge", tc.challenge).is(http.StatusCreated)
			path, body := "/auth/challenges/"+c.text("id")+"/verify", strings.Replace(tc.verify, "CODE", c.text("code"), 1)
			key := "Idempotency-Key: " + tc.name
			first := w.post(path, body, key).is(http.StatusCreated)
			got := payload(t, first.text("receipt"))
			if got["aud"] != "https://pay.example.com" || got["sub"] != "user_42" || got["jti"] != c.text("id") || got["factor_id"] != factor ||
				got["exp"].(float64)-got["iat"].(float64) != 60 || got["action"].(map[string]any)["details"] != "a\nb" {
				t.Errorf("claims are %v", got)
			}
			w.clock.Advance(time.Hour)
			replays(t, first, w.post(path, body, key))
		})
	}
}

func TestAnAnswerWithoutAReceiptHasNoKeyForIt(t *testing.T) {
	w := newFixture(t, receipts)
	for _, body := range []string{`{"code":"CODE"}`, `{"code":"CODE","receipt":null}`} {
		c := w.challenge(w.generic())
		r := w.post("/auth/challenges/"+c.text("id")+"/verify", strings.Replace(body, "CODE", c.text("code"), 1)).is(http.StatusCreated)
		if strings.Contains(r.body, "receipt") {
			t.Errorf("the answer is %s", r.body)
		}
	}
	c := w.challenge(w.generic())
	r := w.post("/auth/challenges/"+c.text("id")+"/verify", `{"code":"`+wrong+`","receipt":{"aud":"a"}}`).is(http.StatusCreated)
	if strings.Contains(r.body, "receipt") {
		t.Errorf("the answer to a wrong code is %s", r.body)
	}
}

func TestTheErrorNamesTheKeyOfAReceipt(t *testing.T) {
	w := newFixture(t, receipts)
	factor := w.generic()
	for body, want := range map[string]string{
		`{"receipt":[]}`:                                                          `"field":"receipt","code":"receipt_not_an_object","message":"receipt must be an object"`,
		`{"receipt":{}}`:                                                          `"field":"receipt.aud","code":"receipt_aud_required","message":"receipt.aud is required: it names the service that will check the receipt"`,
		`{"receipt":{"aud":"a","nonse":"n"}}`:                                     `"field":"receipt","code":"receipt_unknown_key"`,
		`{"receipt":{"aud":"a","nonce":7}}`:                                       `"field":"receipt.nonce","code":"receipt_nonce_not_a_string","message":"receipt.nonce must be a string"`,
		`{"receipt":{"aud":"a","action":{}}}`:                                     `"field":"receipt.action.title","code":"receipt_action_title_required"`,
		`{"receipt":{"aud":"a","action":{"title":"t","sha256":"ABC"}}}`:           `"field":"receipt.action.sha256","code":"receipt_action_sha256_not_sha256"`,
		`{"receipt":{"aud":"a","expires_in":7200}}`:                               `"field":"receipt.expires_in","code":"receipt_expires_in_out_of_range"`,
		`{"receipt":{"aud":"a","first_factor":"sms"}}`:                            `"field":"receipt.first_factor","code":"receipt_first_factor_unsupported"`,
		`{"ip_address":"x","receipt":{"aud":"` + strings.Repeat("é", 200) + `"}}`: `"field":"receipt.aud","code":"receipt_aud_too_long"`,
	} {
		r := w.post("/auth/factors/"+factor+"/challenge", body).is(http.StatusUnprocessableEntity)
		if !strings.Contains(r.body, want) {
			t.Errorf("%s is answered %s; want %s", body, r.body, want)
		}
	}
}

func TestKeysOfReceipts(t *testing.T) {
	w := newFixture(t, receipts)
	before := w.get("/.well-known/jwks.json", "Authorization:").is(http.StatusOK)
	if got := before.header.Get("Cache-Control"); got != "public, max-age=300" {
		t.Errorf("Cache-Control is %q", got)
	}
	if got := before.header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		t.Errorf("Content-Type is %q", got)
	}
	added, err := w.keyset.Add()
	if err != nil {
		t.Fatal(err)
	}
	w.service.SetKeys(added)
	after := w.get("/.well-known/jwks.json").is(http.StatusOK)
	if len(before.at("keys").([]any)) != 1 || len(after.at("keys").([]any)) != 2 {
		t.Errorf("the keys are %s, and during a rotation %s", before.body, after.body)
	}
	for _, secret := range []string{`"d"`, "private"} {
		if strings.Contains(after.body, secret) {
			t.Errorf("the keys have %s", secret)
		}
	}
}
