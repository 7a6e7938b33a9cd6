package main

import (
	"fmt"
	"regexp"
	"strings"
)

// A refusal holds the contents of an error: the parts of the server's answer that the
// library shows, and the type of the error.
type refusal struct {
	class         string
	status        int
	code, message string
	fields        string // the list of errors, as "field: code"
	requestID     string
	retryAfter    int    // seconds
	body          string // as received
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// refused checks that an error is the library's own error for a refusal, and that it
// shows all parts that the library can show. It returns the contents of the error.
func (w *fixture) refused(err error, want refusal) refusal {
	return w.sameRefusal(err, w.here.shown(want.complete(), false))
}

// verifyRefused does the same as refused for an error of verify.
func (w *fixture) verifyRefused(err error, want refusal) refusal {
	return w.sameRefusal(err, w.here.shown(want.complete(), true))
}

// something replaces a value that differs each time.
const something = "something"

// complete adds the parts that every refusal has.
func (r refusal) complete() refusal {
	r.requestID, r.body = something, something
	return r
}

func (w *fixture) sameRefusal(err error, want refusal) refusal {
	if err == nil {
		failf("the call succeeded; want %v", want)
	}
	got := w.here.read(err)
	rest := got
	if want.requestID == something {
		matches("request id", got.requestID, uuid)
		rest.requestID = something
	}
	if want.body == something && strings.Contains(got.body, `"message"`) {
		rest.body = something
	}
	if want.retryAfter > 0 && got.retryAfter >= 1 && got.retryAfter <= want.retryAfter {
		rest.retryAfter = want.retryAfter
	}
	if rest != want {
		type fields refusal // the same type without the method String
		failf("refusal: %+v; want %+v", fields(rest), fields(want))
	}
	return got
}

func factorNotFound(id string) refusal {
	return refusal{status: 404, code: "entity_not_found", message: fmt.Sprintf("Authentication Factor not found: '%s'.", id)}
}

func challengeNotFound(id string) refusal {
	return refusal{status: 404, code: "entity_not_found", message: fmt.Sprintf("Authentication Challenge not found: '%s'.", id)}
}

func previouslyVerified(c challenge) refusal {
	return refusal{
		status:  422,
		code:    "authentication_challenge_previously_verified",
		message: fmt.Sprintf("The authentication challenge '%s' has already been verified.", c.id),
	}
}

func invalid(field, code string) refusal {
	return refusal{
		status:  422,
		code:    "invalid_request_parameters",
		message: "Validation failed",
		fields:  field + ": " + code,
	}
}

var tooManyAttempts = refusal{
	status:  400,
	code:    "one_time_code_too_many_attempts",
	message: "Request could not be processed.",
}

// called returns the expected text of a refusal, for the detail of a step.
func (w *fixture) called(r refusal) string { return w.here.shown(r, false).String() }

// calledByVerify does the same as called for a refusal of verify.
func (w *fixture) calledByVerify(r refusal) string { return w.here.shown(r, true).String() }

func (r refusal) String() string {
	words := []string{strings.TrimPrefix(r.class, "*")}
	if r.status != 0 {
		words = append(words, fmt.Sprint(r.status))
	}
	if r.code != "" {
		words = append(words, r.code)
	}
	return strings.Join(words, " ")
}
