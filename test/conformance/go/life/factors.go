package main

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

var (
	factorID     = regexp.MustCompile(`^auth_factor_[0-9A-HJKMNP-TV-Z]{26}$`)
	milliseconds = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
	base32Secret = regexp.MustCompile(`^[A-Z2-7]{32}$`)
	pngInURI     = regexp.MustCompile(`^data:image/png;base64,[A-Za-z0-9+/]+={0,2}$`)
)

// factors runs the steps that enroll, get and delete factors.
func factors(w *fixture) {
	w.report.step("enroll totp", func(s *step) {
		f := must(w.enrollTOTP(w.here))
		isFactor(f, "totp")
		got := f.totp
		matches("secret", got.secret, base32Secret)
		matches("QR code", got.qrCode, pngInURI)
		uri := "otpauth://totp/Foo%20Corp:user@example.com?secret=" + got.secret + "&issuer=Foo%20Corp"
		want := totp{secret: got.secret, uri: uri, qrCode: got.qrCode}
		if w.showsNames {
			want.issuer, want.user = "Foo Corp", "user@example.com"
		}
		equal("totp", got, want)
		equal("phone number", f.phone, "")
		s.Detail = "32 base32 characters; the QR code says the URI"
		s.QRCode, s.Text = got.qrCode, got.uri
	})

	w.report.step("enroll totp without names", func(s *step) {
		f, err := w.here.enroll(w.ctx, enrollment{kind: "totp"})
		if w.errNames != nil {
			equal("error", err, w.errNames)
			panic(skip("needs issuer and user to enroll totp"))
		}
		check(err)
		w.report.secrets(f.totp.secret)
		s.Detail = namesIn(f)
		if w.showsNames {
			equal("names", fmt.Sprintf("issuer %s, user %s", f.totp.issuer, f.totp.user), s.Detail)
		}
	})

	w.report.step("enroll sms", func(s *step) {
		for _, write := range []func(string) string{
			func(n string) string { return n },
			func(n string) string { return n[1:] },
			func(n string) string { return "+1 (" + n[2:5] + ") " + n[5:8] + "-" + n[8:] },
			func(n string) string { return " 1." + n[2:5] + "." + n[5:8] + "." + n[8:] + " " },
		} {
			phone := w.phone()
			f := must(w.here.enroll(w.ctx, enrollment{kind: "sms", phone: write(phone)}))
			isFactor(f, "sms")
			equal("phone number for "+write(phone), f.phone, phone)
			equal("totp", f.totp, totp{})
		}
		s.Detail = "four forms of a number become E.164"
	})

	w.report.step("enroll generic_otp", func(s *step) {
		f, err := w.here.enroll(w.ctx, enrollment{kind: "generic_otp"})
		if w.errType != nil {
			equal("error", err, w.errType)
			panic(skip("cannot enroll generic_otp"))
		}
		check(err)
		isFactor(f, "generic_otp")
		equal("totp", f.totp, totp{})
		equal("phone number", f.phone, "")
	})

	w.report.step("get a factor", func(s *step) {
		totpFactor := must(w.enrollTOTP(w.here))
		want := totpFactor
		want.totp.secret, want.totp.uri, want.totp.qrCode = "", "", ""
		equal("totp factor", must(w.here.get(w.ctx, totpFactor.id)), want)
		smsFactor, _ := w.enrollSMS()
		equal("sms factor", must(w.here.get(w.ctx, smsFactor.id)), smsFactor)
		generic := w.enrollGeneric(w.server)
		isFactor(generic, "generic_otp")
		equal("generic_otp factor", must(w.here.get(w.ctx, generic.id)), generic)
		s.Detail = "as it was enrolled, without the secret"
	})

	w.report.step("delete a factor", func(s *step) {
		smsFactor, _ := w.enrollSMS()
		for _, f := range []factor{must(w.enrollTOTP(w.here)), smsFactor, w.enrollGeneric(w.server)} {
			check(w.here.remove(w.ctx, f.id))
			w.noSuchFactor(f.id)
		}
		s.Detail = "then get, delete and challenge: " + w.called(factorNotFound(""))
	})

	w.report.step("delete a factor that is challenged", func(s *step) {
		f := must(w.enrollTOTP(w.here))
		c := must(w.here.challenge(w.ctx, f.id))
		check(w.here.remove(w.ctx, f.id))
		_, err := w.here.verify(w.ctx, c.id, codeAt(f.totp.secret, 0))
		w.verifyRefused(err, challengeNotFound(c.id))
		s.Detail = "then verify: " + w.calledByVerify(challengeNotFound(""))
	})
}

// isFactor checks the fields that factors of all types have.
func isFactor(f factor, kind string) {
	equal("object", f.object, "authentication_factor")
	matches("id", f.id, factorID)
	equal("type", f.kind, kind)
	matches("created_at", f.createdAt, milliseconds)
	equal("updated_at", f.updatedAt, f.createdAt)
}

// namesIn returns the issuer and the user in the URI of a factor. Neither may be empty.
func namesIn(f factor) string {
	uri := must(url.Parse(f.totp.uri))
	issuer, user, _ := strings.Cut(strings.TrimPrefix(uri.Path, "/"), ":")
	if issuer == "" || user == "" {
		failf("issuer or user is empty in %s", uri.Path)
	}
	equal("issuer", uri.Query().Get("issuer"), issuer)
	return fmt.Sprintf("issuer %s, user %s", issuer, user)
}

// noSuchFactor checks that no call finds a factor.
func (w *fixture) noSuchFactor(id string) {
	_, err := w.here.get(w.ctx, id)
	w.refused(err, factorNotFound(id))
	w.refused(w.here.remove(w.ctx, id), factorNotFound(id))
	_, err = w.here.challenge(w.ctx, id)
	w.refused(err, factorNotFound(id))
}
