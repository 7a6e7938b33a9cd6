package main

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"syscall"
)

// retries runs the steps about networks that fail after the server has acted. A call
// that is repeated for this reason must not act twice.
func retries(w *fixture) {
	far := w.far(w.server)

	w.report.step("lost reply: enroll", func(s *step) {
		f := lost(w, "reply", func() (factor, error) { return w.enrollTOTP(far) })
		c := must(w.here.challenge(w.ctx, f.id))
		answers(must(w.here.verify(w.ctx, c.id, codeAt(f.totp.secret, 0))), c, true)
		s.Detail = "tried again with the same key; the same factor, secret and all"
	})

	for _, what := range []string{"reply", "request"} {
		w.report.step("lost "+what+": enroll for a user", func(s *step) {
			user := newUser()
			made := lost(w, what, func() (userEnrollment, error) { return w.enrollForUser(far, user, enrollment{}) })
			listed := must(w.here.list(w.ctx, user, listing{})).factors
			equal("factors of the user", len(listed), 1)
			equal("factor of the user", listed[0].id, made.factor.id)
			answers(must(w.here.verify(w.ctx, made.challenge.id, codeAt(made.factor.totp.secret, 0))), made.challenge, true)
			s.Detail = "exactly one factor and one challenge"
		})
	}

	w.report.step("lost reply: challenge sms", func(s *step) {
		f, phone := w.enrollSMS()
		c := lost(w, "reply", func() (challenge, error) { return far.challenge(w.ctx, f.id) })
		answers(must(w.here.verify(w.ctx, c.id, w.codeFor(phone))), c, true)
		s.Detail = "exactly one message"
	})

	w.report.step("lost reply: challenge generic_otp", func(s *step) {
		f := w.enrollGeneric(w.server)
		c := lost(w, "reply", func() (challenge, error) { return far.challenge(w.ctx, f.id) })
		w.report.secrets(c.code)
		answers(must(w.here.verify(w.ctx, c.id, c.code)), c, true)
		s.Detail = "the same challenge, with the same code"
	})

	w.report.step("lost reply: right code", func(s *step) {
		o := w.openGeneric()
		v := lost(w, "reply", func() (verification, error) { return far.verify(w.ctx, o.challenge.id, o.right()) })
		answers(v, o.challenge, true)
		_, err := far.verify(w.ctx, o.challenge.id, o.right())
		w.verifyRefused(err, previouslyVerified(o.challenge))
		s.Detail = "Valid true both times; a new call: " + w.calledByVerify(previouslyVerified(o.challenge))
	})

	w.report.step("lost reply: wrong code", func(s *step) {
		o := w.openGeneric()
		v := lost(w, "reply", func() (verification, error) { return far.verify(w.ctx, o.challenge.id, o.wrong) })
		answers(v, o.challenge, false)
		w.fail(o.challenge, o.right(), 4)
		_, err := w.here.verify(w.ctx, o.challenge.id, o.wrong)
		w.verifyRefused(err, tooManyAttempts)
		s.Detail = "counted once"
	})

	w.report.step("lost reply: delete", func(s *step) {
		f, _ := w.enrollSMS()
		w.server.lose("reply")
		err := far.remove(w.ctx, f.id)
		tries := w.server.tries()
		equal("status of the first try", tries[0].Status, 204)
		w.noSuchFactor(f.id)
		if !w.retries {
			gaveUp(err, tries)
			panic(skip("does not try again"))
		}
		w.refused(err, factorNotFound(f.id))
		equal("tries", len(tries), 2)
		equal("status of the second try", tries[1].Status, 404)
		equal("keys", tries[0].Key+tries[1].Key, "")
		s.Detail = "deleted; the second try is " + w.called(factorNotFound("")) + ", as the library sends no key with DELETE"
	})

	w.report.step("own idempotency key", func(s *step) {
		user, key := newUser(), rand.Text()
		first := must(w.here.enrollWithKey(w.ctx, key, enrollment{kind: "totp", forUser: user}))
		w.report.secrets(first.totp.secret)
		equal("user_id", first.userID, user)
		equal("second answer", must(w.here.enrollWithKey(w.ctx, key, enrollment{kind: "totp", forUser: user})), first)
		equal("factors of the user", len(must(w.here.list(w.ctx, user, listing{})).factors), 1)
		_, err := w.here.enrollWithKey(w.ctx, key, enrollment{kind: "generic_otp", forUser: user})
		w.refused(err, keyUsedBefore)
		s.Detail = "twice the same answer; another body: " + w.called(keyUsedBefore)
	})

	w.report.step("own idempotency key, eight at once", func(s *step) {
		user, key := newUser(), rand.Text()
		var made [8]factor
		var errs [8]error
		var callers sync.WaitGroup
		for i := range made {
			callers.Go(func() {
				made[i], errs[i] = w.here.enrollWithKey(w.ctx, key, enrollment{kind: "totp", forUser: user})
			})
		}
		callers.Wait()
		for i, err := range errs {
			check(err)
			equal("answer", made[i], made[0])
		}
		w.report.secrets(made[0].totp.secret)
		equal("factors of the user", len(must(w.here.list(w.ctx, user, listing{})).factors), 1)
	})
}

var keyUsedBefore = refusal{
	status:  422,
	code:    "idempotency_error",
	message: "This Idempotency-Key was used before: with another request, for a factor that was deleted, or for a secret that is no longer shown.",
}

// lost makes a call whose first reply or request is lost, and returns its result. It
// checks that the same request with the same key went over the wire twice, and so did
// the same answer. For a library that never tries again, lost checks that the library
// shows the failure, and then skips the step.
func lost[T any](w *fixture, what string, call func() (T, error)) T {
	w.server.lose(what)
	if what == "reply" {
		// net/http itself repeats a request on a reused connection. On a new connection
		// only the library can repeat it.
		http.DefaultClient.CloseIdleConnections()
	}
	result, err := call()
	if why, none := err.(skip); none {
		panic(why)
	}
	tries := w.server.tries()
	if !w.retries {
		gaveUp(err, tries)
		panic(skip("does not try again"))
	}
	check(err)
	equal("tries", len(tries), 2)
	first, second := tries[0], tries[1]
	equal("the lost message of the first try", first.Lost, what)
	matches("key", first.Key, uuid)
	if what == "request" {
		equal("status of the second try", second.Status, 201)
		second.Status, second.ReplyBody, second.ReplyHeaders = 0, "", nil
	}
	// The request id is the only header that differs between answers.
	first.ReplyHeaders, second.ReplyHeaders, first.Lost = nil, nil, ""
	equal("second try", second, first)
	return result
}

// gaveUp checks that a call failed with the network's error after one request.
func gaveUp(err error, tries []try) {
	if _, ok := errors.AsType[*url.Error](err); !ok {
		failf("the error is a %T: %v; want a *url.Error", err, err)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		failf("the error is %v; want that the connection was closed", err)
	}
	equal("tries", len(tries), 1)
}
