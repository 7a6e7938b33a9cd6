package mfa_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/totp"
)

func TestTOTPParametersAreThoseOfTheFactor(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	w.clock.Advance(w.clock.Now().Truncate(time.Minute).Add(time.Minute).Sub(w.clock.Now()))
	for _, algorithm := range []string{"SHA1", "SHA-256", "sha512"} {
		for _, digits := range []string{"6", "8"} {
			for _, period := range []string{"30", "60"} {
				e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, Algorithm: algorithm, Digits: digits, Period: period})
				key, err := totp.ParseSecret(e.Secret.Reveal())
				if err != nil {
					t.Fatal(err)
				}
				p := totp.Params{
					Hash:  map[string]totp.Hash{"SHA1": totp.SHA1, "SHA-256": totp.SHA256, "sha512": totp.SHA512}[algorithm],
					Eight: digits == "8", Minute: period == "60",
				}
				if got := w.stored(e.ID).App; got != (totp.App{Params: p}) {
					t.Errorf("%s, %s digits, %s seconds: stored as %+v", algorithm, digits, period, got)
				}
				uri, err := url.Parse(e.URI.Reveal())
				if err != nil {
					t.Fatal(err)
				}
				for name, want := range map[string]string{"algorithm": p.Hash.String(), "digits": digits, "period": period} {
					isDefault := want == "SHA1" || want == "6" || want == "30"
					if got := uri.Query().Get(name); isDefault && got != "" || !isDefault && got != want {
						t.Errorf("%s of the URI is %q; want %q, or none for a default", name, got, want)
					}
				}
				other := p
				other.Eight = !p.Eight
				w.mustVerify(w.challenge(e.ID).ID, other.Code(key, other.Step(w.clock.Now())), false)
				w.mustVerify(w.challenge(e.ID).ID, p.Code(key, p.Step(w.clock.Now())), true)
				if got := w.stored(e.ID).App; got.Params != p {
					t.Errorf("after a verification the parameters are %+v; want %+v", got.Params, p)
				}
			}
		}
	}
}

func TestAnImportedSecretKeepsItsParameters(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	const key = "12345678901234567890123456789012"
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, Secret: secret.NewString(totp.EncodeSecret([]byte(key))), Algorithm: "SHA256", Digits: "8"})
	p := totp.Params{Hash: totp.SHA256, Eight: true}
	w.mustVerify(w.challenge(e.ID).ID, p.Code([]byte(key), p.Step(w.clock.Now())), true)
}

func TestUnsupportedTOTPParameters(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	for field, p := range map[string]mfa.EnrollParams{
		"totp_algorithm": {Type: mfa.TOTP, Algorithm: "MD5"},
		"totp_digits":    {Type: mfa.TOTP, Digits: "7"},
		"totp_period":    {Type: mfa.TOTP, Period: "30.0"},
	} {
		_, err := w.Enroll(t.Context(), sandbox, p, nil)
		if e, ok := errors.AsType[*mfa.InvalidError](err); !ok || len(e.Fields) != 1 || e.Fields[0].Field != field || e.Fields[0].Code != "unsupported" {
			t.Errorf("%+v: %v; want an error of %s", p, err, field)
		}
	}
}

func TestAWrongCodeHasAReasonOnlyIfItIsOfNoUse(t *testing.T) {
	for _, tc := range []struct {
		name   string
		code   func(w *fixture, e mfa.Enrollment) string
		reason string
		skew   time.Duration
	}{
		{"random", func(*fixture, mfa.Enrollment) string { return wrong }, "", 0},
		{"used before", func(w *fixture, e mfa.Enrollment) string {
			w.mustVerify(w.challenge(e.ID).ID, w.app(e, 0), true)
			return w.app(e, 0)
		}, "spent_code", 0},
		{"of an earlier step", func(w *fixture, e mfa.Enrollment) string {
			w.mustVerify(w.challenge(e.ID).ID, w.app(e, 1), true)
			return w.app(e, 0)
		}, "spent_code", 0},
		{"four minutes late", func(w *fixture, e mfa.Enrollment) string { return w.app(e, -8) }, "clock_skew", -4 * time.Minute},
		{"a minute early", func(w *fixture, e mfa.Enrollment) string { return w.app(e, 2) }, "clock_skew", time.Minute},
		{"an hour early", func(w *fixture, e mfa.Enrollment) string { return w.app(e, 120) }, "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
			code := tc.code(w, e)
			c := w.challenge(e.ID)
			v := w.mustVerify(c.ID, code, false)
			if v.Reason != tc.reason || v.Skew != tc.skew {
				t.Errorf("reason %q, %v; want %q, %v", v.Reason, v.Skew, tc.reason, tc.skew)
			}
			if w.attempts(c.ID) != 1 || w.stored(e.ID).Failures != 1 {
				t.Errorf("%d attempts and %d failures are counted; want 1 and 1", w.attempts(c.ID), w.stored(e.ID).Failures)
			}
		})
	}
}

func TestAClockIsLearnedWithTheVerification(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
	for ahead := int64(1); ahead <= 5; ahead++ {
		w.clock.Advance(time.Hour)
		w.mustVerify(w.challenge(e.ID).ID, w.app(e, ahead), true)
	}
	if got := w.stored(e.ID).App.Ahead; got != 5 {
		t.Errorf("the app is ahead by %d steps; want 5", got)
	}
	w.clock.Advance(time.Hour) // the owner corrects the clock
	v := w.mustVerify(w.challenge(e.ID).ID, w.app(e, 0), false)
	if v.Reason != mfa.TellClockSkew || v.Skew != -150*time.Second {
		t.Errorf("reason %q, %v; want clock_skew, -150s", v.Reason, v.Skew)
	}
	w.clock.Advance(30 * time.Second)
	w.mustVerify(w.challenge(e.ID).ID, w.app(e, 0), true)
	if got := w.stored(e.ID).App; got.Ahead != 0 || got.Missed != 0 {
		t.Errorf("the app is %+v; want no difference", got)
	}
}

func TestALockedFactorTellsNothing(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
	for w.stored(e.ID).LockedUntil.IsZero() {
		w.fail(e.ID)
	}
	v, err := w.verify(w.challenge(e.ID).ID, w.app(e, 4))
	if !errors.Is(err, mfa.ErrTooManyAttempts) || v.Reason != "" {
		t.Errorf("Verify = %q, %v; want no reason and too many attempts", v.Reason, err)
	}
}

func TestTheOffsetOfAnEventIsInHalfMinutes(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, Period: "60"})
	key, err := totp.ParseSecret(e.Secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	p := totp.Params{Minute: true}
	w.mustVerify(w.challenge(e.ID).ID, p.Code(key, p.Step(w.clock.Now())-3), false)
	w.mustVerify(w.challenge(e.ID).ID, p.Code(key, p.Step(w.clock.Now())+1), true)
	var offsets []int
	for _, ev := range w.events(e.ID.Bucket()) {
		if ev.ClockOffset != 0 {
			offsets = append(offsets, ev.ClockOffset)
		}
	}
	if len(offsets) != 2 || offsets[0] != -6 || offsets[1] != 2 {
		t.Errorf("offsets are %v; want -6 and 2", offsets)
	}
}
