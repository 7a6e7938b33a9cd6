package main

import (
	"context"
	"regexp"
	"sync"
	"time"
)

var challengeID = regexp.MustCompile(`^auth_challenge_[0-9A-HJKMNP-TV-Z]{26}$`)

// challenges runs the steps about challenging and verifying.
func challenges(w *fixture) {
	w.report.step("challenge totp", func(s *step) {
		f := must(w.enrollTOTP(w.here))
		isChallenge(must(w.here.challenge(w.ctx, f.id)), f, "")
		s.Detail = "no code; expires in ten minutes"
	})

	w.report.step("challenge sms", func(s *step) {
		f, phone := w.enrollSMS()
		isChallenge(must(w.here.challenge(w.ctx, f.id)), f, "")
		code := w.codeFor(phone)
		sent := w.messages(w.server, phone)[0]
		equal("message", sent, message{To: phone, Text: "Your verification code is: " + code, Code: code, SentAt: sent.SentAt})
		s.Detail = "the code goes only to the phone"
	})

	w.report.step("challenge sms with a template", func(s *step) {
		f, phone := w.enrollSMS()
		isChallenge(must(w.here.challengeWithTemplate(w.ctx, f.id, "<b>Förde & Søn</b>: {{code}} 🔑")), f, "")
		code := w.codeFor(phone)
		equal("text", w.messages(w.server, phone)[0].Text, "<b>Förde & Søn</b>: "+code+" 🔑")
	})

	w.report.step("challenge sms with an empty template", func(s *step) {
		f, phone := w.enrollSMS()
		isChallenge(must(w.here.challengeWithTemplate(w.ctx, f.id, "")), f, "")
		code := w.codeFor(phone)
		equal("text", w.messages(w.server, phone)[0].Text, "Your verification code is: "+code)
		s.Detail = "means the default text"
	})

	w.report.step("challenge generic_otp", func(s *step) {
		f := w.enrollGeneric(w.server)
		c, code := w.challenge(w.server, f)
		if w.showsCode {
			isChallenge(c, f, code)
			s.Detail = "with its code, for the caller to deliver"
		} else {
			isChallenge(c, f, "")
			s.Detail = "a challenge of this version has no field for the code"
		}
	})

	w.report.step("verify totp", func(s *step) { w.verifies(s, w.openTOTP(), w.here.verify) })
	w.report.step("verify sms", func(s *step) { w.verifies(s, w.openSMS(), w.here.verify) })
	w.report.step("verify generic_otp", func(s *step) { w.verifies(s, w.openGeneric(), w.here.verify) })

	w.report.step("verify a code with spaces", func(s *step) {
		o := w.openGeneric()
		code := o.right()
		answers(must(w.here.verify(w.ctx, o.challenge.id, " "+code[:3]+" "+code[3:]+" ")), o.challenge, true)
	})

	w.report.step("verify by the deprecated method", func(s *step) {
		old := w.here
		if w.oldGlobal {
			// The client's own key is wrong: the call succeeds only because it uses the
			// default client.
			setDefaultV1(w.server.url, w.server.key)
			old = w.connect(w.server.url, "sk_test_wrong", false)
		}
		w.verifies(s, w.openTOTP(), old.verifyByOldName)
		if w.oldGlobal {
			s.Detail = "VerifyFactor of any client asks as mfa.DefaultClient does"
		}
	})

	w.report.step("a totp code is spent once", func(s *step) {
		f := must(w.enrollTOTP(w.here))
		first, second := must(w.here.challenge(w.ctx, f.id)), must(w.here.challenge(w.ctx, f.id))
		code, next := codeAt(f.totp.secret, 0), codeAt(f.totp.secret, 1)
		answers(must(w.here.verify(w.ctx, first.id, code)), first, true)
		answers(must(w.here.verify(w.ctx, second.id, code)), second, false)
		answers(must(w.here.verify(w.ctx, second.id, next)), second, true)
		s.Detail = "on another challenge: Valid false; the next code: Valid true"
	})

	w.report.step("of eight racing right codes one wins", func(s *step) {
		o := w.openGeneric()
		var replies [8]verification
		var errs [8]error
		var racers sync.WaitGroup
		for i := range replies {
			racers.Go(func() { replies[i], errs[i] = w.here.verify(w.ctx, o.challenge.id, o.right()) })
		}
		racers.Wait()
		winners := 0
		for i, err := range errs {
			if err == nil {
				winners++
				answers(replies[i], o.challenge, true)
			} else {
				w.verifyRefused(err, previouslyVerified(o.challenge))
			}
		}
		equal("winners", winners, 1)
	})
}

// An open is an open challenge, with a wrong code and the right one.
type open struct {
	challenge challenge
	wrong     string
	right     func() string
}

func (w *fixture) openTOTP() open {
	f := must(w.enrollTOTP(w.here))
	return open{
		must(w.here.challenge(w.ctx, f.id)),
		wrongFor(f.totp.secret),
		func() string { return codeAt(f.totp.secret, 0) },
	}
}

func (w *fixture) openSMS() open {
	f, phone := w.enrollSMS()
	c := must(w.here.challenge(w.ctx, f.id))
	code := w.codeFor(phone)
	return open{c, otherThan(code), func() string { return code }}
}

func (w *fixture) openGeneric() open {
	c, code := w.challenge(w.server, w.enrollGeneric(w.server))
	return open{c, otherThan(code), func() string { return code }}
}

type verifier func(ctx context.Context, challengeID, code string) (verification, error)

// verifies tries wrong codes on an open challenge, then the right one, and then both
// again.
func (w *fixture) verifies(s *step, o open, verify verifier) {
	for _, code := range []string{o.wrong, "", "12345", "abcdef"} {
		answers(must(verify(w.ctx, o.challenge.id, code)), o.challenge, false)
	}
	answers(must(verify(w.ctx, o.challenge.id, o.right())), o.challenge, true)
	for _, code := range []string{o.right(), o.wrong} {
		_, err := verify(w.ctx, o.challenge.id, code)
		w.verifyRefused(err, previouslyVerified(o.challenge))
	}
	s.Detail = "wrong: Valid false; right: Valid true; again: " +
		w.calledByVerify(previouslyVerified(o.challenge))
}

// answers checks the reply to a code. The reply repeats the challenge in its current
// state.
func answers(got verification, c challenge, valid bool) {
	if got.challenge.updatedAt < c.updatedAt {
		failf("updated_at %s is before %s", got.challenge.updatedAt, c.updatedAt)
	}
	c.updatedAt = got.challenge.updatedAt
	equal("verification", got, verification{valid, c})
}

func isChallenge(c challenge, f factor, code string) {
	equal("object", c.object, "authentication_challenge")
	matches("id", c.id, challengeID)
	equal("factor", c.factorID, f.id)
	equal("code", c.code, code)
	matches("created_at", c.createdAt, milliseconds)
	equal("updated_at", c.updatedAt, c.createdAt)
	equal("time to expiry", parseTime(c.expiresAt).Sub(parseTime(c.createdAt)), 10*time.Minute)
}
