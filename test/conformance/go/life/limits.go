package main

import "encoding/json"

// limits runs the steps about the server's limits.
func limits(w *fixture) {
	w.report.step("too many attempts on a challenge", func(s *step) {
		f := w.enrollGeneric(w.server)
		c, code := w.challenge(w.server, f)
		w.fail(c, code, 5)
		for _, code := range []string{code, otherThan(code)} {
			_, err := w.here.verify(w.ctx, c.id, code)
			w.verifyRefused(err, tooManyAttempts)
		}
		next, code := w.challenge(w.server, f)
		answers(must(w.here.verify(w.ctx, next.id, code)), next, true)
		s.Detail = "the sixth: " + w.calledByVerify(tooManyAttempts) + "; a new challenge works"
	})

	w.report.step("too many failures of a factor", func(s *step) {
		f := w.enrollGeneric(w.server)
		c, code := w.challenge(w.server, f)
		w.fail(c, code, 5)
		c, code = w.challenge(w.server, f)
		w.fail(c, code, 1)
		_, err := w.here.verify(w.ctx, c.id, code)
		wait := tooManyAttempts
		wait.retryAfter = 30 // at most
		if body := w.verifyRefused(err, wait).body; body != "" {
			var said struct {
				RetryAfter int `json:"retry_after"`
			}
			check(json.Unmarshal([]byte(body), &said))
			if said.RetryAfter < 1 || said.RetryAfter > 30 {
				failf("retry_after is %d; want 1 to 30", said.RetryAfter)
			}
		}
		s.Detail = "the factor has to wait: " + w.calledByVerify(tooManyAttempts)
	})

	w.report.step("too many messages to a number", func(s *step) {
		f, _ := w.enrollSMS()
		must(w.here.challenge(w.ctx, f.id))
		// A library that retries would wait for the time that the server asks for; this
		// client does not retry.
		impatient := w.connect(w.server.url, w.server.key, true)
		_, err := impatient.challenge(w.ctx, f.id)
		w.refused(err, tooManyMessages)
		s.Detail = w.called(tooManyMessages)
	})

	w.report.step("too many messages, then waiting", func(s *step) {
		f := must(w.near(w.brief).enroll(w.ctx, enrollment{kind: "sms", phone: w.phone()}))
		patient := w.far(w.brief)
		must(patient.challenge(w.ctx, f.id))
		var err error
		tries := w.brief.during(func() { _, err = patient.challenge(w.ctx, f.id) })
		equal("status of the first try", tries[0].Status, 429)
		if !w.retries {
			w.refused(err, tooManyMessages)
			equal("tries", len(tries), 1)
			panic(skip("does not try again"))
		}
		check(err)
		equal("tries", len(tries), 2)
		equal("status of the second try", tries[1].Status, 201)
		equal("key of the second try", tries[1].Key, tries[0].Key)
		equal("messages", len(w.messages(w.brief, f.phone)), 2)
		s.Detail = "waits as Retry-After says, tries again with the same key, and the message goes out"
	})
}

var tooManyMessages = refusal{
	status:     429,
	code:       "sms_challenge_rate_limited",
	message:    "Too many messages to this phone number. Try again later.",
	retryAfter: 30, // at most
}

// fail tries wrong codes on a challenge.
func (w *fixture) fail(c challenge, code string, times int) {
	for range times {
		answers(must(w.here.verify(w.ctx, c.id, otherThan(code))), c, false)
	}
}
