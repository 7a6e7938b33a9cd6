package mfa_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const publicURL = "https://mfa.example.com"

// claims verifies a receipt by the public keys of a keyset, and returns its claims.
func claims(t testing.TB, keys *secret.Keyset, text string) map[string]any {
	t.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("a receipt of %d parts", len(parts))
	}
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var header struct{ Alg, Kid, Typ string }
	var found map[string]any
	if err := errors.Join(json.Unmarshal(decode(parts[0]), &header), json.Unmarshal(decode(parts[1]), &found)); err != nil {
		t.Fatal(err)
	}
	if header.Alg != "ES256" || header.Typ != "countersign-receipt+jwt" {
		t.Errorf("header is %+v", header)
	}
	digest, signature := sha256.Sum256([]byte(parts[0]+"."+parts[1])), decode(parts[2])
	for _, k := range keys.PublicKeys() {
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, k.X[:], k.Y[:]))
		if err != nil {
			t.Fatal(err)
		}
		if k.ID == header.Kid && ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			return found
		}
	}
	t.Fatal("no key of the keyset verifies the receipt")
	return nil
}

func withReceipt(r *receipt.Request) mfa.ChallengeParams { return mfa.ChallengeParams{Receipt: r} }

func payment() *receipt.Request {
	return &receipt.Request{
		Audience: "https://pay.example.com", Nonce: "n-1", ExpiresIn: 120,
		Action: receipt.Action{Title: "Pay 10 €", Details: "To Ada", SHA256: strings.Repeat("0a", 32)},
	}
}

func TestAReceiptOfTheChallengeOrOfTheVerification(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL})
	for _, tc := range []struct {
		name          string
		bound, given  *receipt.Request
		hasReceipt    bool
		field         string // of the error, or ""
		countsAttempt int
	}{
		{"none", nil, nil, false, "", 1},
		{"of the challenge", payment(), nil, true, "", 1},
		{"of the verification", nil, payment(), true, "", 1},
		{"of both, equal", payment(), payment(), true, "", 1},
		{"of both, another action", payment(), &receipt.Request{Audience: "https://pay.example.com", Nonce: "n-1", ExpiresIn: 120, Action: receipt.Action{Title: "Pay 1000 €"}}, false, "receipt", 0},
		{"of both, another audience", payment(), &receipt.Request{Audience: "https://other.example.com"}, false, "receipt", 0},
		{"of the verification, not valid", nil, &receipt.Request{}, false, "receipt.aud", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "user_42"})
			c, err := w.Challenge(t.Context(), sandbox, e.ID, withReceipt(tc.bound), nil)
			if err != nil {
				t.Fatal(err)
			}
			v, err := w.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: w.app(e, 0), Receipt: tc.given}, nil)
			if got := w.attempts(c.ID); got != tc.countsAttempt {
				t.Errorf("%d attempts are counted; want %d", got, tc.countsAttempt)
			}
			if tc.field != "" {
				if wrong, ok := errors.AsType[*mfa.InvalidError](err); !ok || wrong.Fields[0].Field != tc.field || v.Receipt.Reveal() != "" {
					t.Errorf("Verify = %v; want an error of %s", err, tc.field)
				}
				return
			}
			if err != nil || !v.Valid || (v.Receipt.Reveal() != "") != tc.hasReceipt {
				t.Fatalf("Verify = %v, %v, with a receipt: %v; want one: %v", v.Valid, err, v.Receipt.Reveal() != "", tc.hasReceipt)
			}
			if !tc.hasReceipt {
				return
			}
			now := w.clock.Now().Unix()
			want := map[string]any{
				"iss": publicURL + "/environments/Acme%20Test", "aud": "https://pay.example.com", "sub": "user_42", "iat": now, "exp": now + 120, "auth_time": now,
				"jti": c.ID.String(), "amr": []string{"otp"}, "nonce": "n-1", "factor_id": e.ID.String(), "factor_type": "totp",
				"action": map[string]string{"title": "Pay 10 €", "details": "To Ada", "sha256": strings.Repeat("0a", 32)},
			}
			got, err1 := json.Marshal(claims(t, w.keys, v.Receipt.Reveal()))
			wanted, err2 := json.Marshal(want)
			var gotAgain, wantAgain any
			if err := errors.Join(err1, err2, json.Unmarshal(got, &gotAgain), json.Unmarshal(wanted, &wantAgain)); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(gotAgain) != fmt.Sprint(wantAgain) {
				t.Errorf("claims are %s\nwant %s", got, wanted)
			}
		})
	}
}

func TestAWrongCodeHasNoReceipt(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL})
	c, err := w.Challenge(t.Context(), sandbox, w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID, withReceipt(payment()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := w.mustVerify(c.ID, wrong, false); v.Receipt.Reveal() != "" {
		t.Error("a wrong code has a receipt")
	}
	if got := claims(t, w.keys, w.mustVerify(c.ID, c.Code.Reveal(), true).Receipt.Reveal()); got["sub"] != nil {
		t.Errorf("the receipt of a factor without a user has the subject %v", got["sub"])
	}
	if v, err := w.verify(c.ID, c.Code.Reveal()); !errors.Is(err, mfa.ErrAlreadyVerified) || v.Receipt.Reveal() != "" {
		t.Errorf("a second verification: %v", err)
	}
}

func TestMethodsOfEachKindInAReceipt(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL})
	verified := func(e mfa.Enrollment, r *receipt.Request, code func(mfa.IssuedChallenge) string) map[string]any {
		t.Helper()
		c, err := w.Challenge(t.Context(), sandbox, e.ID, withReceipt(r), nil)
		if err != nil {
			t.Fatal(err)
		}
		return claims(t, w.keys, w.mustVerify(c.ID, code(c), true).Receipt.Reveal())
	}
	plain, after := &receipt.Request{Audience: "a"}, &receipt.Request{Audience: "a", FirstFactor: "pwd"}
	app := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	phone := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone})
	generic := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP})
	ofApp := func(mfa.IssuedChallenge) string { return w.app(app, 0) }
	ofPhone := func(c mfa.IssuedChallenge) string { return w.carrier.Last().Code.Reveal() }
	for _, tc := range []struct {
		name string
		got  map[string]any
		amr  string
	}{
		{"totp", verified(app, plain, ofApp), "[otp]"},
		{"sms after a password", verified(phone, after, ofPhone), "[pwd otp sms mfa]"},
		{"generic_otp", verified(generic, plain, func(c mfa.IssuedChallenge) string { return c.Code.Reveal() }), "[otp]"},
	} {
		if got := fmt.Sprint(tc.got["amr"]); got != tc.amr || tc.got["acr"] != nil || tc.got["recovery"] != nil {
			t.Errorf("%s: amr is %s, acr %v, recovery %v; want %s and none", tc.name, got, tc.got["acr"], tc.got["recovery"], tc.amr)
		}
	}
	code, _, err := w.operator().CreateBypass(t.Context(), adaWhy, ofUser("ada"))
	if err != nil {
		t.Fatal(err)
	}
	got := verified(app, after, func(mfa.IssuedChallenge) string { return code.Reveal() })
	if fmt.Sprint(got["amr"]) != "[pwd otp]" || got["recovery"] != true || got["factor_id"] != nil || got["factor_type"] != "bypass_code" {
		t.Errorf("the receipt for a bypass code has the claims %v", got)
	}
}

func TestAReceiptIsTheSameForTheSameRequest(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL})
	told := func(v mfa.Verification, err error) []byte { return fmt.Append(nil, v.Valid, v.Receipt.Reveal(), err) }
	for _, bound := range []bool{true, false} {
		e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
		c, err := w.Challenge(t.Context(), sandbox, e.ID, mfa.ChallengeParams{}, nil)
		p := mfa.VerifyParams{Code: w.app(e, 0), Receipt: payment()}
		if bound {
			c, err = w.Challenge(t.Context(), sandbox, e.ID, withReceipt(payment()), nil)
			p.Receipt = nil
		}
		if err != nil {
			t.Fatal(err)
		}
		once := onceKey[mfa.Verification](fmt.Sprint("k", bound), "r")
		once.Answer = told
		first, err := w.Verify(t.Context(), sandbox, c.ID, p, once)
		if err != nil || first.Receipt.Reveal() == "" {
			t.Fatalf("Verify = %v", err)
		}
		w.clock.Advance(time.Minute)
		rotated, err := w.keys.Rotate()
		if err != nil {
			t.Fatal(err)
		}
		w.SetKeys(rotated) // a receipt that is made again would have another signature
		second, err := w.Verify(t.Context(), sandbox, c.ID, p, once)
		if err != nil || second.Replayed == nil || string(second.Replayed.Bytes) != string(told(first, nil)) {
			t.Errorf("bound %v: the same request gets another answer: %v", bound, err)
		}
		w.SetKeys(w.keys)
	}
}

func TestOneOfManyRacersGetsAReceipt(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
	c, err := w.Challenge(t.Context(), sandbox, e.ID, withReceipt(payment()), nil)
	if err != nil {
		t.Fatal(err)
	}
	code := w.app(e, 0)
	receipts := make([]string, 16)
	mfatest.Together(len(receipts), func(i int) {
		if v, err := w.verify(c.ID, code); err == nil {
			receipts[i] = v.Receipt.Reveal()
		}
	})
	n := 0
	for _, r := range receipts {
		if r != "" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d racers have a receipt; want 1", n)
	}
}

func TestTheActionOfAChallengeIsSealed(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
	c, err := w.Challenge(t.Context(), sandbox, e.ID, withReceipt(payment()), nil)
	if err != nil {
		t.Fatal(err)
	}
	stored := w.kept(c.ID).Receipt
	if len(stored) == 0 || strings.Contains(string(stored), "Ada") {
		t.Errorf("the store has %q", stored)
	}
	other := w.challenge(e.ID)
	if w.kept(other.ID).Receipt != nil {
		t.Error("a challenge without a receipt stores one")
	}
}

func TestWithoutAnIssuerThereAreNoReceipts(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL})
	without := w.serviceOver(w.store, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
	if _, err := without.Challenge(t.Context(), sandbox, e.ID, withReceipt(payment()), nil); !errors.Is(err, mfa.ErrNoReceipts) {
		t.Errorf("Challenge = %v; want %v", err, mfa.ErrNoReceipts)
	}
	c, err := w.Challenge(t.Context(), sandbox, e.ID, withReceipt(payment()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := without.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: w.app(e, 0)}, nil); !errors.Is(err, mfa.ErrNoReceipts) {
		t.Errorf("Verify = %v; want %v", err, mfa.ErrNoReceipts)
	}
	w.mustVerify(c.ID, w.app(e, 0), true) // the code was not used
}

func TestIssuerIsOfTheEnvironment(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL})
	for _, tc := range []struct {
		env  mfa.Caller
		want string
	}{
		{sandbox, publicURL + "/environments/" + url.PathEscape(sandbox.Name)},
		{production, publicURL + "/environments/" + url.PathEscape(production.Name)},
		{in(t, sandbox, map[string]string{"receipt_issuer": "https://acme.example"}), "https://acme.example"},
	} {
		e, err := w.Enroll(t.Context(), tc.env, mfa.EnrollParams{Type: mfa.GenericOTP}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := w.Challenge(t.Context(), tc.env, e.ID, withReceipt(payment()), nil)
		if err != nil {
			t.Fatal(err)
		}
		v, err := w.Verify(t.Context(), tc.env, c.ID, mfa.VerifyParams{Code: c.Code.Reveal()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := claims(t, w.keys, v.Receipt.Reveal())["iss"]; got != tc.want {
			t.Errorf("iss is %v; want %v", got, tc.want)
		}
	}
	for _, text := range []string{"acme", "http://acme.example", "https://", "https://acme.example?x", "https://u@acme.example", "javascript:x"} {
		if _, err := sandbox.Settings.With(map[string]string{"receipt_issuer": text}); !errors.Is(err, mfa.ErrInvalid) {
			t.Errorf("receipt_issuer %q: %v; want ErrInvalid", text, err)
		}
	}
}

func TestReceiptsOfAPasskey(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL})
	for _, tc := range []struct {
		name     string
		flags    byte
		verified bool
		amr, acr string
	}{
		{"on one device", 0, true, "[pop hwk user]", "phrh"},
		{"that is copied", passkeytest.BackupEligible, true, "[pop swk user]", "phr"},
		{"without a PIN", 0, false, "[pop hwk]", "phrh"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := w.passkey("user_"+tc.name, func(a *passkeytest.Answer) { a.Flags |= tc.flags })
			k.key.Flags |= tc.flags
			c, err := w.Challenge(t.Context(), sandbox, k.factor, withReceipt(payment()), nil)
			if err != nil {
				t.Fatal(err)
			}
			answer := k.answer(c, func(a *passkeytest.Answer) {
				if !tc.verified {
					a.Flags &^= passkeytest.UserVerified
				}
			})
			got := claims(t, w.keys, w.mustVerify(c.ID, answer, true).Receipt.Reveal())
			if fmt.Sprint(got["amr"]) != tc.amr || got["acr"] != tc.acr || got["uv"] != tc.verified || got["factor_type"] != "webauthn" {
				t.Errorf("claims are %v; want amr %s, acr %s, uv %v", got, tc.amr, tc.acr, tc.verified)
			}
		})
	}
}

func TestTheRegistrationOfAPasskeyHasNoReceipt(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL})
	e := w.pending("user_42")
	refused := func(err error) bool {
		wrong, ok := errors.AsType[*mfa.InvalidError](err)
		return ok && wrong.Fields[0].Field == "receipt" && wrong.Fields[0].Code == "unsupported"
	}
	if _, err := w.Challenge(t.Context(), sandbox, e.ID, withReceipt(payment()), nil); !refused(err) {
		t.Errorf("Challenge = %v; want an error of receipt", err)
	}
	c := w.challenge(e.ID)
	_, response := passkeytest.Create(t, []byte(c.Code.Reveal()), page)
	if _, err := w.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: string(response), Receipt: payment()}, nil); !refused(err) {
		t.Errorf("Verify = %v; want an error of receipt", err)
	}
	w.mustVerify(c.ID, string(response), true)
}

func TestTheReceiptOfARecoveryCodeProvesNoSecondFactor(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL, RecoveryIterations: 2})
	app := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	set, codes := w.recoveryCodes("ada")
	for i, tc := range []struct {
		name   string
		factor mfa.FactorID
		params mfa.ChallengeParams
		first  string
		amr    string
	}{
		{"in the input of an app", app.ID, mfa.ChallengeParams{AcceptRecovery: true}, "", "[otp]"},
		{"in the input of an app, after a password", app.ID, mfa.ChallengeParams{AcceptRecovery: true}, "pwd", "[pwd otp]"},
		{"of the codes", set.ID, mfa.ChallengeParams{}, "", "[otp]"},
		{"of the codes, after a password", set.ID, mfa.ChallengeParams{}, "pwd", "[pwd otp]"},
	} {
		p := payment()
		p.FirstFactor, tc.params.Receipt = tc.first, p
		c, err := w.Challenge(t.Context(), sandbox, tc.factor, tc.params, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v := w.mustVerify(c.ID, "0000-0000-0000-0000", false); v.Receipt.Reveal() != "" {
			t.Errorf("%s: a wrong recovery code has a receipt", tc.name)
		}
		got := claims(t, w.keys, w.mustVerify(c.ID, codes[i], true).Receipt.Reveal())
		for claim, want := range map[string]any{
			"recovery": true, "amr": tc.amr, "acr": nil, "uv": nil, "sub": "ada", "jti": c.ID.String(),
			"factor_id": set.ID.String(), "factor_type": "recovery_codes", "nonce": "n-1",
		} {
			if fmt.Sprint(got[claim]) != fmt.Sprint(want) {
				t.Errorf("%s: %s is %v; want %v", tc.name, claim, got[claim], want)
			}
		}
	}
	// The app itself proves a factor, although the challenge accepts recovery codes.
	c, err := w.Challenge(t.Context(), sandbox, app.ID, mfa.ChallengeParams{AcceptRecovery: true, Receipt: payment()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := claims(t, w.keys, w.mustVerify(c.ID, w.app(app, 0), true).Receipt.Reveal())
	if got["recovery"] != nil || got["factor_id"] != app.ID.String() {
		t.Errorf("the receipt of the app has the claims %v", got)
	}
}

func TestOneCallReturnsAReceipt(t *testing.T) {
	w := newFixture(t, mfa.Options{PublicURL: publicURL, RecoveryIterations: 2})
	app, code := w.totpOf("ada")
	set, codes := w.recoveryCodes("ada")
	bypass, _, err := w.operator().CreateBypass(t.Context(), adaWhy, operator.BypassParams{Environment: sandbox.Environment, User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	try := func(code string, r *receipt.Request, o *idempotency.Request[mfa.UserVerification]) (mfa.UserVerification, error) {
		return w.VerifyUser(t.Context(), sandbox, "ada", mfa.VerifyParams{Code: code, Receipt: r}, o)
	}
	if v, err := try(wrong, payment(), nil); err != nil || v.Valid || v.Receipt.Reveal() != "" {
		t.Fatalf("a wrong code: %+v, %v", v, err)
	}
	if _, err := try(code(), &receipt.Request{}, nil); !errors.Is(err, mfa.ErrInvalid) {
		t.Fatalf("a wrong request: %v; want ErrInvalid", err)
	}
	seen := make(map[any]bool)
	for _, tc := range []struct {
		name, code, kind string
		factor           any
		recovery         any
		once             *idempotency.Request[mfa.UserVerification]
	}{
		{"app", code(), "totp", app.String(), nil, nil},
		{"recovery code", codes[0], "recovery_codes", set.ID.String(), true, nil},
		{"recovery code with a key", codes[1], "recovery_codes", set.ID.String(), true, onceKey[mfa.UserVerification]("k", "r")},
		{"bypass code", bypass.Reveal(), "bypass_code", nil, true, nil},
	} {
		v, err := try(tc.code, payment(), tc.once)
		if err != nil || !v.Valid {
			t.Fatalf("%s: %+v, %v", tc.name, v, err)
		}
		c := claims(t, w.keys, v.Receipt.Reveal())
		got := fmt.Sprint(c["iss"], c["sub"], c["aud"], c["nonce"], c["factor_type"], c["factor_id"], c["recovery"], c["amr"])
		want := fmt.Sprint(publicURL+"/environments/Acme%20Test", "ada", "https://pay.example.com", "n-1", tc.kind, tc.factor, tc.recovery, []any{"otp"})
		if got != want {
			t.Errorf("%s: the claims are %s; want %s", tc.name, got, want)
		}
		if id, _ := c["jti"].(string); !strings.HasPrefix(id, "verification_") || len(id) != len("verification_")+26 || seen[id] {
			t.Errorf("%s: jti is %q; want an id that no other receipt has", tc.name, id)
		}
		seen[c["jti"]] = true
	}
	w.clock.Advance(time.Minute)
	without := w.serviceOver(w.store, mfa.Options{})
	if _, err := without.VerifyUser(t.Context(), sandbox, "ada", mfa.VerifyParams{Code: code(), Receipt: payment()}, nil); !errors.Is(err, mfa.ErrNoReceipts) {
		t.Errorf("without an issuer: %v; want ErrNoReceipts", err)
	}
	if v, err := try(code(), nil, nil); err != nil || !v.Valid {
		t.Errorf("the code that was refused with its receipt: %+v, %v; want valid", v, err)
	}
}
