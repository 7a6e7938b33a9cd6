package web

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/countersign-mfa/countersign/internal/ratelimit"
)

// The errors of this package.
var (
	ErrNoRoute  = errors.New("no such route")
	ErrMethod   = errors.New("method not allowed")
	ErrTooLarge = errors.New("request body too large")
	ErrCrowded  = errors.New("too many requests at once")
	ErrLate     = errors.New("the request body did not arrive in time")
	ErrBody     = errors.New("unreadable request body")
	ErrRate     = errors.New("too many requests")
)

// A BodyError means that a body could not be read or is not valid JSON. It matches
// ErrBody.
type BodyError struct{ Cause error }

func (e *BodyError) Error() string { return "request body: " + e.Cause.Error() }

// Is reports whether target is ErrBody.
func (e *BodyError) Is(target error) bool { return target == ErrBody }

// A RateError means that a caller has made too many requests. It matches ErrRate.
type RateError struct{ Wait time.Duration }

func (e *RateError) Error() string { return "too many requests" }

// Is reports whether target is ErrRate.
func (e *RateError) Is(target error) bool { return target == ErrRate }

// A Problem is an error as clients see it. Its JSON form is the body of the answer.
type Problem struct {
	Status   int          `json:"-"`
	Error    string       `json:"error,omitempty"`
	Message  string       `json:"message"`
	Code     string       `json:"code,omitempty"`
	EntityID string       `json:"entity_id,omitempty"`
	Errors   []FieldError `json:"errors,omitempty"`

	RequiredScope string `json:"required_scope,omitempty"` // the scope that the caller's key lacks

	RetryAfter int `json:"retry_after,omitempty"` // seconds until another try may succeed; 0 if unknown

	Internal  bool `json:"-"` // a fault of the server that matches no Kind
	Expected  bool `json:"-"` // a status of 500 or more that is not logged as an error
	Simulated bool `json:"-"` // a test number simulates this failure: it is Expected, and not observed
}

// A FieldError is an error in one field of a request.
type FieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// A Kind maps the errors that match Err to a status, a code and a message.
type Kind struct {
	Err     error
	Status  int
	Code    string
	Message string
}

// Unavailable is the code of requests that were not carried out and may succeed a moment
// later.
const Unavailable = "unavailable"

// Kinds returns the kinds of this package's errors. A face appends them to its own.
func Kinds() []Kind {
	return []Kind{
		{ErrCrowded, http.StatusServiceUnavailable, Unavailable, "Too many requests are being answered. Try again."},
		{ErrLate, http.StatusServiceUnavailable, Unavailable, "The request body did not arrive in time. Try again."},
		{ErrNoRoute, http.StatusNotFound, "", "Not Found"},
		{ErrMethod, http.StatusMethodNotAllowed, "method_not_allowed", "Method Not Allowed"},
		{ErrTooLarge, http.StatusRequestEntityTooLarge, "request_too_large", "The request body is larger than 64 KiB."},
		{ErrBody, http.StatusBadRequest, "invalid_json", ""},
		{ErrRate, http.StatusTooManyRequests, "rate_limit_exceeded", "Too many requests. Try again later."},
	}
}

// Describe returns the problem of an error by the first of kinds that it matches. If it
// matches none of them, the problem is Internal and says nothing about the error.
func Describe(err error, kinds []Kind) Problem {
	for _, k := range kinds {
		if errors.Is(err, k.Err) {
			p := Problem{Status: k.Status, Code: k.Code, Message: k.Message}
			p.detail(err)
			return p
		}
	}
	return Problem{Status: http.StatusInternalServerError, Message: "Internal Server Error", Code: "internal_error", Internal: true}
}

// detail adds the data of this package's errors.
func (p *Problem) detail(err error) {
	p.Expected = errors.Is(err, ErrCrowded) || errors.Is(err, ErrLate)
	if e, ok := errors.AsType[*BodyError](err); ok {
		p.Message = fmt.Sprintf("The request body must be a JSON object; it is %v.", e.Cause)
	}
	if errors.Is(err, ErrNoRoute) {
		p.Error = "Not Found"
	}
	if e, ok := errors.AsType[*RateError](err); ok {
		p.RetryAfter = ratelimit.Seconds(cmp.Or(e.Wait, time.Second))
	} else if p.Code == Unavailable {
		p.RetryAfter = 1
	}
}

// maxRetryAfter is the longest wait, in seconds, that is sent as Retry-After. Client
// libraries that retry by themselves sleep for as long as the header says, in the
// middle of a sign-in, and some sleep for a shorter time and then fail. So a longer
// wait is only in the body, and the library gives up after its usual short waits.
const maxRetryAfter = 60

// fail sends the problem p of err. It logs faults of the server in full, for its
// operator.
func (m *Mux) fail(w *recorder, r *Request, p Problem, err error) {
	isFault := p.Status >= http.StatusInternalServerError && !p.Expected && !p.Simulated && r.Context().Err() == nil
	if p.Internal || isFault {
		m.opts.Logger.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("request", r.ID), slog.Int("status", p.Status), slog.String("error", err.Error()))
	}
	if w.status != 0 {
		return // too late for another answer
	}
	if 0 < p.RetryAfter && p.RetryAfter <= maxRetryAfter {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	switch {
	case p.Status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case p.RequiredScope != "": // RFC 6750, section 3.1
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+p.RequiredScope+`"`)
	}
	if err := Respond(w, p.Status, p); err != nil {
		m.opts.Logger.Error("encode a problem", "request", r.ID, "error", err)
	}
}
