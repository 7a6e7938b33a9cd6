package main

import "time"

// expiry waits at the server whose challenges expire at once.
func expiry(w *fixture) {
	brief := w.near(w.brief)

	w.report.step("expiry of totp", func(s *step) {
		f := must(w.enrollTOTP(brief))
		w.expires(s, must(brief.challenge(w.ctx, f.id)), func() string { return codeAt(f.totp.secret, 0) })
	})

	w.report.step("expiry of generic_otp", func(s *step) {
		c, code := w.challenge(w.brief, w.enrollGeneric(w.brief))
		w.expires(s, c, func() string { return code })
	})
}

func (w *fixture) expires(s *step, c challenge, right func() string) {
	// The server uses the clock of this machine.
	for end := parseTime(c.expiresAt); !time.Now().After(end); {
		time.Sleep(time.Until(end) + time.Millisecond)
	}
	_, err := w.near(w.brief).verify(w.ctx, c.id, right())
	expired := refusal{
		status:  422,
		code:    "authentication_challenge_expired",
		message: "The authentication challenge '" + c.id + "' has expired.",
	}
	w.verifyRefused(err, expired)
	s.Detail = "the right code, too late: " + w.calledByVerify(expired)
}
