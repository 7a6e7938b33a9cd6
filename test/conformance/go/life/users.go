package main

import (
	"crypto/rand"
	"strings"
)

func newUser() string { return "user_" + rand.Text() }

// users runs the steps that enroll factors of users.
func users(w *fixture) {
	w.report.step("enroll for a user", func(s *step) {
		user := newUser()
		made := must(w.enrollForUser(w.here, user, enrollment{issuer: "Foo Corp", user: "user@foo-corp.com"}))
		f := made.factor
		isFactor(f, "totp")
		matches("secret", f.totp.secret, base32Secret)
		matches("QR code", f.totp.qrCode, pngInURI)
		equal("names", namesIn(f), "issuer Foo Corp, user user@foo-corp.com")
		if w.showsUserID {
			equal("user_id", f.userID, user)
		} else {
			equal("user_id, which this version does not show", f.userID, "")
		}
		isChallenge(made.challenge, f, "")
		answers(must(w.here.verify(w.ctx, made.challenge.id, codeAt(f.totp.secret, 0))), made.challenge, true)
		s.Detail = "factor and challenge in one call"
		s.QRCode, s.Text = f.totp.qrCode, f.totp.uri
	})

	w.report.step("enroll for a user without names", func(s *step) {
		s.Detail = namesIn(must(w.enrollForUser(w.here, newUser(), enrollment{})).factor)
	})

	w.report.step("enroll for a user with a secret", func(s *step) {
		const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEE"
		w.report.secrets(secret)
		for _, written := range []string{
			secret,
			strings.ToLower(secret),
			"JBSW Y3DP EHPK 3PXP JBSW Y3DP EE",
			secret + "======",
		} {
			made := must(w.enrollForUser(w.here, newUser(), enrollment{secret: written}))
			equal("secret for "+written, made.factor.totp.secret, secret)
			answers(must(w.here.verify(w.ctx, made.challenge.id, codeAt(secret, 0))), made.challenge, true)
		}
		for _, bad := range []struct{ secret, code string }{
			{"JBSWY3DP", "totp_secret_too_short"},
			{"01189998819991197253", "totp_secret_not_base32"},
		} {
			_, err := w.here.enrollForUser(w.ctx, newUser(), enrollment{kind: "totp", secret: bad.secret})
			w.inputRefused(err, "totp_secret", bad.code)
		}
		s.Detail = "in lower case, with spaces, with padding; a short or foreign one: " + w.called(invalid("", ""))
	})
}
