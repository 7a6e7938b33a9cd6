package receipt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/secret"
)

var at = time.Date(2026, 3, 27, 12, 0, 0, 432e6, time.UTC)

func keyset(t testing.TB) *secret.Keyset {
	t.Helper()
	k, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// parts returns the decoded header and payload of a receipt, and its signature.
func parts(t testing.TB, text string) (header, payload map[string]any, signature []byte) {
	t.Helper()
	segments := strings.Split(text, ".")
	if len(segments) != 3 {
		t.Fatalf("%q has %d parts; want 3", text, len(segments))
	}
	for i, to := range []any{&header, &payload, nil} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(segments[i])
		if err != nil {
			t.Fatal(err)
		}
		if to == nil {
			return header, payload, b
		}
		if err := json.Unmarshal(b, to); err != nil {
			t.Fatal(err)
		}
	}
	panic("unreachable")
}

func sign(t testing.TB, k *secret.Keyset, r receipt.Request, c receipt.Claims) string {
	t.Helper()
	text, err := receipt.Sign(k.Signer(), &r, c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAReceiptHasItsClaims(t *testing.T) {
	k, yes := keyset(t), true
	r := receipt.Request{
		Audience: "https://pay.example.com", Nonce: "n-1", FirstFactor: "pwd", ExpiresIn: 60,
		Action: receipt.Action{Title: "Pay 12 < 13 €", Details: "to \"Ada\"\nnow", SHA256: strings.Repeat("0a", 32)},
	}
	text := sign(t, k, r, receipt.Claims{
		Issuer: "https://mfa.example.com", Subject: "user_42", ID: "auth_challenge_1", At: at, Methods: []string{"pop", "hwk", "user"},
		Class: "phrh", FactorID: "auth_factor_1", FactorType: "webauthn", Verified: &yes,
	})
	header, payload, _ := parts(t, text)
	same(t, header, map[string]any{"alg": "ES256", "kid": k.Signer().ID(), "typ": "countersign-receipt+jwt"})
	same(t, payload, map[string]any{
		"iss": "https://mfa.example.com", "aud": "https://pay.example.com", "sub": "user_42", "iat": at.Unix(), "exp": at.Unix() + 60,
		"jti": "auth_challenge_1", "auth_time": at.Unix(), "amr": []string{"pwd", "pop", "hwk", "user", "mfa"}, "acr": "phrh", "nonce": "n-1",
		"factor_id": "auth_factor_1", "factor_type": "webauthn", "uv": true,
		"action": map[string]any{"title": "Pay 12 < 13 €", "details": "to \"Ada\"\nnow", "sha256": strings.Repeat("0a", 32)},
	})
	if again := sign(t, k, r, receipt.Claims{
		Issuer: "https://mfa.example.com", Subject: "user_42", ID: "auth_challenge_1", At: at, Methods: []string{"pop", "hwk", "user"},
		Class: "phrh", FactorID: "auth_factor_1", FactorType: "webauthn", Verified: &yes,
	}); again != text {
		t.Error("the same verification has two receipts")
	}
}

func TestAShortReceiptHasNoEmptyClaims(t *testing.T) {
	_, payload, _ := parts(t, sign(t, keyset(t), receipt.Request{Audience: "a"}, receipt.Claims{
		Issuer: "i", ID: "c", At: at, Methods: []string{"otp"}, FactorType: "totp", FactorID: "f",
	}))
	same(t, payload, map[string]any{
		"iss": "i", "aud": "a", "iat": at.Unix(), "exp": at.Unix() + 300, "jti": "c", "auth_time": at.Unix(), "amr": []string{"otp"},
		"factor_id": "f", "factor_type": "totp",
	})
}

func TestMethodsOfAReceipt(t *testing.T) {
	for _, tc := range []struct {
		first    string
		methods  []string
		recovery bool
		want     []string
	}{
		{"", []string{"otp", "sms"}, false, []string{"otp", "sms"}},
		{"pwd", []string{"otp", "sms"}, false, []string{"pwd", "otp", "sms", "mfa"}},
		{"fpt", []string{"otp"}, false, []string{"fpt", "otp", "mfa"}},
		{"pwd", []string{"otp"}, true, []string{"pwd", "otp"}},
		{"", []string{"otp"}, true, []string{"otp"}},
	} {
		_, payload, _ := parts(t, sign(t, keyset(t), receipt.Request{Audience: "a", FirstFactor: tc.first}, receipt.Claims{Methods: tc.methods, Recovery: tc.recovery}))
		same(t, payload["amr"], tc.want)
	}
}

func TestTheKeysVerifyAReceipt(t *testing.T) {
	k := keyset(t)
	text := sign(t, k, receipt.Request{Audience: "a"}, receipt.Claims{At: at})
	header, _, signature := parts(t, text)
	set, err := receipt.Keys(k)
	if err != nil {
		t.Fatal(err)
	}
	var jwks struct{ Keys []map[string]string }
	if err := json.Unmarshal(set, &jwks); err != nil || len(jwks.Keys) != 1 {
		t.Fatalf("%s: %v", set, err)
	}
	key := jwks.Keys[0]
	if key["kid"] != header["kid"] || key["kty"] != "EC" || key["crv"] != "P-256" || key["use"] != "sig" || key["alg"] != "ES256" || len(key) != 7 {
		t.Errorf("the key is %v", key)
	}
	coordinate := func(name string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(key[name])
		if err != nil || len(b) != 32 {
			t.Fatalf("%s is %q", name, key[name])
		}
		return b
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, coordinate("x"), coordinate("y")))
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(text[:strings.LastIndexByte(text, '.')]))
	if len(signature) != 64 || !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		t.Error("the signature does not verify")
	}
}

func TestRequestsAreChecked(t *testing.T) {
	long := strings.Repeat("x", 256)
	action := func(a receipt.Action) receipt.Request { return receipt.Request{Audience: "a", Action: a} }
	for _, tc := range []struct {
		name string
		r    receipt.Request
		want string // field and code
	}{
		{"least", receipt.Request{Audience: "a"}, ""},
		{"most", receipt.Request{
			Audience: long[:255], Nonce: long[:255], FirstFactor: "vbm", ExpiresIn: 3600,
			Action: receipt.Action{Title: long[:255], Details: strings.Repeat("é\n", 682), SHA256: strings.Repeat("f", 64)},
		}, ""},
		{"no audience", receipt.Request{}, "aud required"},
		{"long audience", receipt.Request{Audience: long}, "aud too_long"},
		{"an audience of two lines", receipt.Request{Audience: "a\nb"}, "aud invalid_characters"},
		{"long nonce", receipt.Request{Audience: "a", Nonce: long}, "nonce too_long"},
		{"a nonce with NUL", receipt.Request{Audience: "a", Nonce: "\x00"}, "nonce invalid_characters"},
		{"no title", action(receipt.Action{Details: "d"}), "action.title required"},
		{"only a hash", action(receipt.Action{SHA256: strings.Repeat("0", 64)}), "action.title required"},
		{"long title", action(receipt.Action{Title: long}), "action.title too_long"},
		{"long details", action(receipt.Action{Title: "t", Details: strings.Repeat("x", 2049)}), "action.details too_long"},
		{"details with an escape", action(receipt.Action{Title: "t", Details: "\x1b[2J"}), "action.details invalid_characters"},
		{"short hash", action(receipt.Action{Title: "t", SHA256: strings.Repeat("0", 63)}), "action.sha256 not_sha256"},
		{"upper-case hash", action(receipt.Action{Title: "t", SHA256: strings.Repeat("A", 64)}), "action.sha256 not_sha256"},
		{"base64 hash", action(receipt.Action{Title: "t", SHA256: strings.Repeat("x", 64)}), "action.sha256 not_sha256"},
		{"a second possession", receipt.Request{Audience: "a", FirstFactor: "otp"}, "first_factor unsupported"},
		{"mfa", receipt.Request{Audience: "a", FirstFactor: "mfa"}, "first_factor unsupported"},
		{"too soon", receipt.Request{Audience: "a", ExpiresIn: 29}, "expires_in out_of_range"},
		{"too late", receipt.Request{Audience: "a", ExpiresIn: 3601}, "expires_in out_of_range"},
		{"negative", receipt.Request{Audience: "a", ExpiresIn: -60}, "expires_in out_of_range"},
		{"huge", receipt.Request{Audience: "a", ExpiresIn: 1 << 62}, "expires_in out_of_range"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, f := range tc.r.Check() {
				got = append(got, f.Field+" "+f.Code)
			}
			if strings.Join(got, ", ") != tc.want {
				t.Errorf("faults are %q; want %q", got, tc.want)
			}
		})
	}
}

func TestARequestIsReadAsItWasWritten(t *testing.T) {
	for _, r := range []receipt.Request{
		{Audience: "a"},
		{Audience: "a", Nonce: "n", FirstFactor: "pwd", ExpiresIn: 3600, Action: receipt.Action{Title: "t", Details: strings.Repeat("d", 300), SHA256: "s"}},
	} {
		b := r.Encode()
		got, err := receipt.Decode(b)
		if err != nil || *got != r {
			t.Errorf("read %+v, %v; want %+v", got, err, r)
		}
		for n := range b {
			if _, err := receipt.Decode(b[:n]); err == nil {
				t.Errorf("%d of %d bytes were read", n, len(b))
			}
		}
		if _, err := receipt.Decode(append(b, 0)); err == nil {
			t.Error("a byte too many was read")
		}
	}
}

func FuzzDecode(f *testing.F) {
	r := receipt.Request{Audience: "a", Action: receipt.Action{Title: "t"}}
	f.Add(r.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := receipt.Decode(b)
		if err != nil {
			return
		}
		if again, err := receipt.Decode(r.Encode()); err != nil || *again != *r {
			t.Errorf("%+v is read as %+v, %v", r, again, err)
		}
	})
}

// same compares two values by their JSON.
func same(t testing.TB, got, want any) {
	t.Helper()
	var texts []string
	for _, v := range []any{got, want} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var any any
		if err := json.Unmarshal(b, &any); err != nil {
			t.Fatal(err)
		}
		if b, err = json.Marshal(any); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	if !slices.Equal(texts[:1], texts[1:]) {
		t.Errorf("got %s\nwant %s", texts[0], texts[1])
	}
}
