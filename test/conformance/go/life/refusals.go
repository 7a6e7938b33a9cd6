package main

import (
	"encoding/json"
	"slices"
)

const noULID = "01FVYZ5QM8N98T9ME5BCB2BBMJ"

// refusals checks that refusals of the server arrive as the library's own errors.
func refusals(w *fixture) {
	w.report.step("unknown factor", func(s *step) {
		for _, id := range []string{"auth_factor_" + noULID, "auth_challenge_" + noULID, "no-such-factor", "O'Brien"} {
			w.noSuchFactor(id)
		}
		s.Detail = w.called(factorNotFound("")) + ", naming the id"
	})

	w.report.step("unknown challenge", func(s *step) {
		for _, id := range []string{"auth_challenge_" + noULID, "auth_factor_" + noULID, "no-such-challenge"} {
			_, err := w.here.verify(w.ctx, id, "123456")
			w.verifyRefused(err, challengeNotFound(id))
		}
		s.Detail = w.calledByVerify(challengeNotFound("")) + ", naming the id"
	})

	w.report.step("unknown path", func(s *step) {
		astray := w.connect(w.server.url+"/no/such", w.server.key, false)
		_, err := astray.get(w.ctx, "path")
		noSuchPath := refusal{status: 404, message: "Not Found"}
		w.refused(err, noSuchPath)
		s.Detail = w.called(noSuchPath)
	})

	w.report.step("an error names its request", func(s *step) {
		id := "auth_factor_" + noULID
		var err error
		tries := w.server.during(func() { _, err = w.far(w.server).get(w.ctx, id) })
		got := w.refused(err, factorNotFound(id))
		headers := tries[0].ReplyHeaders
		if !slices.Contains(headers, [2]string{"x-request-id", got.requestID}) {
			failf("RequestID is %s; the headers were %v", got.requestID, headers)
		}
		s.Detail = "RequestID is x-request-id"
	})

	w.report.step("bad phone number", func(s *step) {
		for _, phone := range []string{"foo", "123", "+1 202", "+999 12345678"} {
			_, err := w.here.enroll(w.ctx, enrollment{kind: "sms", phone: phone})
			badPhone := refusal{
				status:  422,
				code:    "invalid_phone_number",
				message: "Phone number is invalid: '" + phone + "'",
			}
			w.refused(err, badPhone)
			s.Detail = w.called(badPhone)
		}
	})

	w.report.step("bad input", func(s *step) {
		for _, bad := range []struct {
			enrollment
			refusedHere error // the error of the library itself
			field, code string
		}{
			{enrollment{}, w.errType, "type", "type_required"},
			{enrollment{kind: "hotp"}, w.errType, "type", "type_unsupported"},
			{enrollment{kind: "sms"}, w.errPhone, "phone_number", "phone_number_required"},
			{enrollment{kind: "totp", issuer: "line\nbreak", user: "user"}, nil, "totp_issuer", "totp_issuer_invalid_characters"},
		} {
			_, err := w.here.enroll(w.ctx, bad.enrollment)
			if bad.refusedHere != nil {
				equal("error", err, bad.refusedHere)
			} else {
				w.inputRefused(err, bad.field, bad.code)
			}
		}
		f, _ := w.enrollSMS()
		_, err := w.here.challengeWithTemplate(w.ctx, f.id, "no place for it")
		w.inputRefused(err, "sms_template", "sms_template_missing_code")
		s.Detail = w.called(invalid("", ""))
		if w.errType != nil {
			s.Detail += "; a type or a phone number that is missing is refused by the library itself"
		}
	})

	w.report.step("bad API key", func(s *step) {
		o := w.openGeneric()
		f := o.challenge.factorID
		stranger := w.connect(w.server.url, "sk_test_wrong", false)
		_, enroll := stranger.enroll(w.ctx, enrollment{kind: "totp", issuer: "Foo Corp", user: "user"})
		_, get := stranger.get(w.ctx, f)
		_, challenge := stranger.challenge(w.ctx, f)
		_, enrollForUser := stranger.enrollForUser(w.ctx, "user_1", enrollment{kind: "totp"})
		_, list := stranger.list(w.ctx, "user_1", listing{})
		for _, err := range []error{enroll, get, stranger.remove(w.ctx, f), challenge, enrollForUser, list} {
			if _, none := err.(skip); !none {
				w.refused(err, unauthorized)
			}
		}
		s.Detail = w.called(unauthorized) + ", from every call"
		v, err := stranger.verify(w.ctx, o.challenge.id, o.right())
		if w.seesBadKey {
			w.verifyRefused(err, unauthorized)
		} else {
			check(err)
			equal("verification", v, verification{})
			s.Detail += " but VerifyChallenge, which says Valid false without an error"
		}
		answers(must(w.here.verify(w.ctx, o.challenge.id, o.right())), o.challenge, true)
	})

	w.report.step("another environment", func(s *step) {
		f, _ := w.enrollSMS()
		_, err := w.near(w.brief).get(w.ctx, f.id)
		w.refused(err, factorNotFound(f.id))
	})
}

var unauthorized = refusal{status: 401, message: "Unauthorized"}

// inputRefused checks an error about input with one wrong field. If a library shows the
// body of the answer, the body must name the field.
func (w *fixture) inputRefused(err error, field, code string) {
	body := w.refused(err, invalid(field, code)).body
	if body == "" {
		return
	}
	var said struct {
		Errors []struct{ Field, Code string }
	}
	check(json.Unmarshal([]byte(body), &said))
	equal("errors in the body", said.Errors, []struct{ Field, Code string }{{field, code}})
}
