package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/ratelimit"
)

// Errors of the face itself.
var (
	errNoRoute  = errors.New("no such route")
	errMethod   = errors.New("method not allowed")
	errTooLarge = errors.New("request body too large")
	errCrowded  = errors.New("too many requests at once")
	errLate     = errors.New("the request body did not arrive in time")
)

// A bodyError means that a body could not be read or is no JSON.
type bodyError struct{ cause error }

func (e *bodyError) Error() string { return "request body: " + e.cause.Error() }

func (e *bodyError) Is(target error) bool { return target == errBody }

var errBody = errors.New("unreadable request body")

// A rateError means that an API key has made too many requests.
type rateError struct{ wait time.Duration }

func (e *rateError) Error() string { return "too many requests" }

func (e *rateError) Is(target error) bool { return target == errRate }

var errRate = errors.New("too many requests")

// A problem is what an error looks like on the wire.
type problem struct {
	Error    string       `json:"error,omitempty"`
	Message  string       `json:"message"`
	Code     string       `json:"code,omitempty"`
	EntityID string       `json:"entity_id,omitempty"`
	Errors   []fieldError `json:"errors,omitempty"`

	RetryAfter int `json:"retry_after,omitempty"` // seconds until another try may succeed
}

type fieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// unavailable is the code of what was not carried out, and may be a moment later.
const unavailable = "unavailable"

// problems is the only place where an error becomes a status.
var problems = []struct {
	err     error
	status  int
	code    string
	message string
}{
	{access.ErrUnauthorized, http.StatusUnauthorized, "", "Unauthorized"},
	{mfa.ErrNotFound, http.StatusNotFound, "entity_not_found", ""},
	{mfa.ErrExpired, http.StatusUnprocessableEntity, "authentication_challenge_expired", ""},
	{mfa.ErrAlreadyVerified, http.StatusUnprocessableEntity, "authentication_challenge_previously_verified", ""},
	{mfa.ErrTooManyAttempts, http.StatusBadRequest, "one_time_code_too_many_attempts", "Request could not be processed."},
	{mfa.ErrCountry, http.StatusForbidden, "sms_country_not_allowed", "No messages go to this country. The operator names those that get any."},
	{mfa.ErrNumberType, http.StatusForbidden, "sms_number_type_not_allowed", "No messages go to this kind of phone number."},
	{mfa.ErrSandboxNumber, http.StatusForbidden, "sms_sandbox_number_not_allowed", "A sandbox sends messages to test numbers alone, such as +15005550006."},
	{mfa.ErrDailyLimit, http.StatusTooManyRequests, "sms_challenge_quota_reached", "Too many messages in a day. Try again later."},
	{mfa.ErrPrefixPaused, http.StatusTooManyRequests, "sms_prefix_paused", "Messages to numbers like this one are paused: too few of their codes were entered."},
	{mfa.ErrResendLimit, http.StatusForbidden, "sms_resend_limit_exceeded", "The code was sent as often as it may be. Create another challenge."},
	{mfa.ErrNotSent, http.StatusUnprocessableEntity, "authentication_challenge_not_sent", "Only the code of an sms factor's challenge can be sent again."},
	{mfa.ErrSendLimit, http.StatusTooManyRequests, "sms_challenge_rate_limited", "Too many messages to this phone number. Try again later."},
	{mfa.ErrInvalid, http.StatusUnprocessableEntity, "invalid_request_parameters", "Validation failed"},
	{mfa.ErrKeyReused, http.StatusUnprocessableEntity, "idempotency_error", "This Idempotency-Key was used before: with another request, for a factor that was deleted, or for a secret that is no longer shown."},
	{mfa.ErrRecipientRefused, http.StatusUnprocessableEntity, "sms_recipient_refused", "No provider delivers messages to this phone number."},
	{mfa.ErrDelivery, http.StatusServiceUnavailable, "sms_delivery_failed", "The message could not be delivered."},
	// The caller seems to be gone, but may have closed only its own direction.
	{context.Canceled, http.StatusServiceUnavailable, unavailable, "The request was given up before it was carried out."},
	{mfa.ErrUnavailable, http.StatusServiceUnavailable, unavailable, "The service cannot take this request now. Try again."},
	{errCrowded, http.StatusServiceUnavailable, unavailable, "Too many requests are being answered. Try again."},
	{errLate, http.StatusServiceUnavailable, unavailable, "The request body did not arrive in time. Try again."},
	{errNoRoute, http.StatusNotFound, "", "Not Found"},
	{errMethod, http.StatusMethodNotAllowed, "method_not_allowed", "Method Not Allowed"},
	{errTooLarge, http.StatusRequestEntityTooLarge, "request_too_large", "The request body is larger than 64 KiB."},
	{errBody, http.StatusBadRequest, "invalid_json", ""},
	{errRate, http.StatusTooManyRequests, "rate_limit_exceeded", "Too many requests. Try again later."},
}

// describe turns an error into a status and a problem; internal says that it is
// a fault of ours, which nobody is shown.
func describe(err error) (status int, p problem, internal bool) {
	for _, known := range problems {
		if errors.Is(err, known.err) {
			p = problem{Message: known.message, Code: known.code}
			p.detail(err)
			return known.status, p, false
		}
	}
	return http.StatusInternalServerError, problem{Message: "Internal Server Error", Code: "internal_error"}, true
}

// detail adds what an error carries beyond its kind.
func (p *problem) detail(err error) {
	if e, ok := errors.AsType[*mfa.NotFoundError](err); ok {
		p.Message, p.EntityID = fmt.Sprintf("%s not found: '%s'.", e.Entity, e.ID), e.ID
	}
	if e, ok := errors.AsType[*mfa.ChallengeError](err); ok {
		p.Message = fmt.Sprintf("The authentication challenge '%s' has expired.", e.ID)
		if errors.Is(e, mfa.ErrAlreadyVerified) {
			p.Message = fmt.Sprintf("The authentication challenge '%s' has already been verified.", e.ID)
		}
	}
	if e, ok := errors.AsType[*mfa.InvalidPhoneError](err); ok {
		p.Code, p.Message = "invalid_phone_number", fmt.Sprintf("Phone number is invalid: '%s'", e.Given.Reveal())
		if e.Extension {
			p.Message += ". It has an extension, which no message can reach."
		}
	}
	if e, ok := errors.AsType[*mfa.InvalidError](err); ok {
		for _, f := range e.Fields {
			// Some clients show their users nothing but the codes, so that these
			// name the field as well.
			code := strings.ReplaceAll(strings.ToLower(f.Field), "-", "_") + "_" + f.Code
			p.Errors = append(p.Errors, fieldError{f.Field, code, f.Message})
		}
	}
	if e, ok := errors.AsType[*bodyError](err); ok {
		p.Message = fmt.Sprintf("The request body must be a JSON object; it is %v.", e.cause)
	}
	if errors.Is(err, errNoRoute) {
		p.Error = "Not Found"
	}
	if wait := retryAfter(err, p.Code); wait > 0 {
		p.RetryAfter = ratelimit.Seconds(wait)
	}
}

// maxRetryAfter is the longest wait, in seconds, that is sent as Retry-After. Client
// libraries that retry by themselves sleep for as long as the header says, in the
// middle of a sign-in, and some sleep for a shorter time and then fail. So a longer
// wait is only in the body, and the library gives up after its usual short waits.
const maxRetryAfter = 60

// retryAfter returns how long to wait before another try after an error with this code,
// 0 if nothing is known.
func retryAfter(err error, code string) time.Duration {
	if e, ok := errors.AsType[*mfa.LimitError](err); ok {
		return e.After
	}
	if e, ok := errors.AsType[*rateError](err); ok {
		return cmp.Or(e.wait, time.Second)
	}
	if code == unavailable {
		return time.Second
	}
	return 0
}

// fail answers an error. It logs what is a fault of ours, for whoever runs the server.
func (a *API) fail(w *recorder, r *request, err error) {
	if replayed, ok := errors.AsType[*mfa.Replayed](err); ok {
		sendAnswer(w, replayed.Answer)
		return
	}
	status, p, internal := describe(err)
	w.simulated = errors.Is(err, mfa.ErrSimulated)
	faulty := status >= http.StatusInternalServerError && !errors.Is(err, errCrowded) && !errors.Is(err, errLate) && !w.simulated
	if internal || faulty && r.Context().Err() == nil {
		a.opts.Logger.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("request", r.id), slog.Int("status", status), slog.String("error", err.Error()))
	}
	if w.status != 0 {
		return // too late for another answer
	}
	if 0 < p.RetryAfter && p.RetryAfter <= maxRetryAfter {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if err := respond(w, status, p); err != nil {
		a.opts.Logger.Error("encode a problem", "request", r.id, "error", err)
	}
}
