package mfa_test

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

func TestEnrollTOTP(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "user_1", Issuer: "Foo Corp", Account: "ada@foo-corp.com"})
	if n := len(e.Secret.Reveal()); n != 32 {
		t.Errorf("the secret has %d characters; want 32, which are 160 bits", n)
	}
	if got, want := e.URI.Reveal(), "otpauth://totp/Foo%20Corp:ada@foo-corp.com?secret="+e.Secret.Reveal()+"&issuer=Foo%20Corp"; got != want {
		t.Errorf("URI is %s; want %s", got, want)
	}
	if !strings.HasPrefix(e.QRCode.Reveal(), "data:image/png;base64,") {
		t.Errorf("QR code begins with %.30s", e.QRCode.Reveal())
	}
	if e.Challenge != nil {
		t.Error("a challenge was created that nobody asked for")
	}

	d, err := w.Factor(t.Context(), sandbox, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := mfa.Details{Factor: mfa.Factor{
		ID: e.ID, Environment: sandbox.ID, Type: mfa.TOTP, User: "user_1",
		Label: d.Label, CreatedAt: w.clock.Now(), FactorState: mfa.FactorState{Sealed: d.Sealed, UpdatedAt: w.clock.Now()},
	}, Status: mfa.StatusUnverified, Issuer: "Foo Corp", Account: "ada@foo-corp.com"}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("Factor = %+v; want %+v", d, want)
	}
	w.mustVerify(w.challenge(e.ID).ID, w.app(e, 0), true)
}

func TestEnrollTOTPWithItsFirstChallenge(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada", Challenge: true})
	c := e.Challenge
	if c == nil || c.Factor != e.ID || c.ID.Bucket() != e.ID.Bucket() || c.Code.Reveal() != "" || c.ExpiresAt != c.CreatedAt.Add(10*time.Minute) {
		t.Fatalf("challenge is %+v", c)
	}
	code := w.app(e, 0)
	w.mustVerify(c.ID, code, true)
	w.mustVerify(w.challenge(e.ID).ID, code, false) // the code of the enrollment is spent
}

func TestNamesInTheApp(t *testing.T) {
	for _, tc := range []struct {
		name, ofService string
		p               mfa.EnrollParams
		issuer, account string
	}{
		{"given", "Service", mfa.EnrollParams{Issuer: "Foo", Account: "ada", User: "user_1"}, "Foo", "ada"},
		{"account from the user", "Service", mfa.EnrollParams{Issuer: "Foo", User: "user_1"}, "Foo", "user_1"},
		{"spaces around", "", mfa.EnrollParams{Issuer: " Foo Corp\u00a0", Account: "\u3000ada ", User: "user_1"}, "Foo Corp", "ada"},
		{"only spaces", "Service", mfa.EnrollParams{Issuer: "  ", Account: " ", User: "user_1"}, "Service", "user_1"},
		{"account from a user with colons", "Service", mfa.EnrollParams{User: "https://id.example.com/7"}, "Service", "https-//id.example.com/7"},
		{"escaped colon", "", mfa.EnrollParams{Issuer: "Foo%3ACorp", Account: "a%3Ab"}, "Foo%3ACorp", "a%3Ab"},
		{"issuer of the service", "Service", mfa.EnrollParams{}, "Service", "user"},
		{"issuer of the environment", "", mfa.EnrollParams{}, "Acme Test", "user"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{Issuer: tc.ofService})
			tc.p.Type = mfa.TOTP
			e := w.enroll(tc.p)
			if e.Issuer != tc.issuer || e.Account != tc.account {
				t.Errorf("issuer and account are %q and %q; want %q and %q", e.Issuer, e.Account, tc.issuer, tc.account)
			}
			// An app splits the decoded label at its colon.
			uri, err := url.Parse(e.URI.Reveal())
			if err != nil {
				t.Fatal(err)
			}
			if label := strings.Split(strings.TrimPrefix(uri.Path, "/"), ":"); !slices.Equal(label, []string{tc.issuer, tc.account}) {
				t.Errorf("an app reads the label as %q", label)
			}
			if got := uri.Query().Get("issuer"); got != tc.issuer {
				t.Errorf("an app reads the issuer as %q", got)
			}
		})
	}
}

func TestEnrollTOTPWithAGivenSecret(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, Secret: secret.NewString("jbsw y3dp ehpk 3pxp====")})
	if got, want := e.Secret.Reveal(), "JBSWY3DPEHPK3PXP"; got != want {
		t.Errorf("secret is %s; want %s", got, want)
	}
	w.mustVerify(w.challenge(e.ID).ID, w.app(e, 0), true)
}

func TestEnrollSMS(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: "16073517112"})
	if e.Phone.E164() != adasPhone || w.carrier.Sent() != 0 {
		t.Errorf("phone is %q, %d messages sent; want %q, none", e.Phone.E164(), w.carrier.Sent(), adasPhone)
	}
	d, err := w.Factor(t.Context(), sandbox, e.ID)
	if err != nil || d.Phone.E164() != adasPhone {
		t.Fatalf("Factor = %v, %v; want the phone number back", d, err)
	}
	c := w.challenge(e.ID)
	m := w.carrier.Last()
	if c.Code.Reveal() != "" || m.To.Text() != adasPhone || m.Environment != sandbox.ID || m.Challenge != c.ID || m.At != c.CreatedAt {
		t.Errorf("challenge %+v sent %+v", c, m)
	}
	v := w.mustVerify(c.ID, m.Code.Reveal(), true)
	if v.Challenge.Code.Reveal() != "" {
		t.Error("the reply to Verify repeats a code that belongs on the phone")
	}
}

func TestEnrollGenericOTP(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"})
	if e.Sealed != nil || e.Secret.Reveal() != "" || e.Phone.E164() != "" {
		t.Errorf("enrollment has secrets: %+v", e)
	}
	c := w.challenge(e.ID)
	if len(c.Code.Reveal()) != 6 || c.ExpiresAt != w.clock.Now().Add(10*time.Minute) {
		t.Fatalf("code has %d digits and expires at %v", len(c.Code.Reveal()), c.ExpiresAt)
	}
	for _, code := range []string{wrong, c.Code.Reveal()} {
		v, err := w.verify(c.ID, code)
		if err != nil || v.Challenge.Code.Reveal() != c.Code.Reveal() {
			t.Errorf("Verify = %v; want the code in the reply", err)
		}
	}
}

func TestSeveralChallengesLiveSideBySide(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	first, second := w.challenge(f), w.challenge(f)
	if first.Code.Reveal() == second.Code.Reveal() {
		second = w.challenge(f)
	}
	w.mustVerify(second.ID, first.Code.Reveal(), false) // a code belongs to its challenge
	w.mustVerify(second.ID, second.Code.Reveal(), true)
	w.mustVerify(first.ID, first.Code.Reveal(), true)
}

func TestEnrollmentsThatAreRefused(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	short, long := secret.NewString("JBSWY3DPEHPK3PX"), secret.NewString(strings.Repeat("A", 207))
	for _, tc := range []struct {
		name string
		p    mfa.EnrollParams
		want []string // "field code"
	}{
		{"no type", mfa.EnrollParams{}, []string{"type required"}},
		{"unknown type", mfa.EnrollParams{Type: "hotp"}, []string{"type unsupported"}},
		{"type in capitals", mfa.EnrollParams{Type: "TOTP"}, []string{"type unsupported"}},
		{"sms without a number", mfa.EnrollParams{Type: mfa.SMS}, []string{"phone_number required"}},
		{"a challenge of another type", mfa.EnrollParams{Type: mfa.GenericOTP, Challenge: true}, []string{"type unsupported"}},
		{"long user", mfa.EnrollParams{Type: mfa.GenericOTP, User: strings.Repeat("u", 257)}, []string{"user_id too_long"}},
		{"control characters", mfa.EnrollParams{Type: mfa.TOTP, Issuer: "a\nb", Account: "\x00"}, []string{"totp_issuer invalid_characters", "totp_user invalid_characters"}},
		{"colons", mfa.EnrollParams{Type: mfa.TOTP, Issuer: "Foo: Corp", Account: "ada:1"}, []string{"totp_issuer has_colon", "totp_user has_colon"}},
		{"text that is not UTF-8", mfa.EnrollParams{Type: mfa.GenericOTP, User: "\xff"}, []string{"user_id invalid_characters"}},
		{"everything at once", mfa.EnrollParams{Type: mfa.TOTP, User: "\x7f", Issuer: strings.Repeat("i", 129), Account: strings.Repeat("a", 257)}, []string{"user_id invalid_characters", "totp_issuer too_long", "totp_user too_long"}},
		{"75 bits", mfa.EnrollParams{Type: mfa.TOTP, Secret: short}, []string{"totp_secret too_short"}},
		{"129 bytes", mfa.EnrollParams{Type: mfa.TOTP, Secret: long}, []string{"totp_secret too_long"}},
		{"not base32", mfa.EnrollParams{Type: mfa.TOTP, Secret: secret.NewString("JBSWY3DPEHPK3PX1")}, []string{"totp_secret not_base32"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := w.Enroll(t.Context(), sandbox, tc.p, nil)
			bad, ok := errors.AsType[*mfa.InvalidError](err)
			if !ok || !errors.Is(err, mfa.ErrInvalid) {
				t.Fatalf("Enroll = %v; want an InvalidError", err)
			}
			var got []string
			for _, f := range bad.Fields {
				got = append(got, f.Field+" "+f.Code)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("fields at fault are %q; want %q", got, tc.want)
			}
		})
	}
	if events := storetest.Events(t, w.store); len(events) != 0 {
		t.Errorf("refused enrollments left %v", events)
	}
}

func TestLongestNamesStillFit(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	w.enroll(mfa.EnrollParams{
		Type: mfa.TOTP, User: strings.Repeat("u", 256), Issuer: strings.Repeat("é", 64), Account: strings.Repeat("é", 128),
		Secret: secret.NewString(strings.Repeat("A", 204)),
	})
}

func TestEnrollNeedsARealNumberInProduction(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	p := mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: "+15555550100"}
	if _, err := w.Enroll(t.Context(), production, p, nil); !errors.Is(err, mfa.ErrInvalid) {
		t.Errorf("Enroll = %v; want %v", err, mfa.ErrInvalid)
	}
	w.enroll(p)
}

func TestDetailsPrintThePhoneNumberMasked(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone})
	digits := strings.TrimPrefix(adasPhone, "+")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{e, &e, e.Details, &e.Details} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, digits) || strings.Contains(text, fmt.Sprintf("%x", digits)) {
				t.Errorf("%s of %T shows the number", verb, v)
			}
		}
	}
}
