package mfa

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// The kinds of refusal. Each is an answer to the caller, not a fault of the server.
var (
	ErrNotFound        = errors.New("not found")
	ErrExpired         = errors.New("challenge expired")
	ErrAlreadyVerified = errors.New("challenge already verified")
	ErrTooManyAttempts = errors.New("too many attempts")
	ErrSendLimit       = errors.New("too many messages to this phone number")
	ErrInvalid         = errors.New("invalid request")
	ErrKeyReused       = idempotency.ErrKeyReused
	ErrCountry         = errors.New("no messages go to this country")
	ErrNumberType      = errors.New("no messages go to this kind of phone number")
	ErrSandboxNumber   = errors.New("a sandbox sends only to test numbers")
	ErrDailyLimit      = errors.New("too many messages today")
	ErrPrefixPaused    = errors.New("no messages go to numbers with this prefix now")
	ErrResendLimit     = errors.New("sent too often")
	ErrNotSent         = errors.New("the challenge has no message to send again")
	ErrNotLocked       = errors.New("not locked: no wrong codes are counted")
)

// ErrDelivery means that no provider accepted a message. The challenge is deleted; after a
// resend it is unchanged. The limits do not count the message.
var ErrDelivery = errors.New("message not delivered")

// ErrSimulated accompanies an ErrDelivery that a test number simulates. It does not mean a
// fault of the server.
var ErrSimulated = errors.New("simulated by a test number")

// ErrRecipientRefused means that no provider delivers to the phone number: it is not
// valid, cannot receive messages, opted out or is blocked. Another try would have the same
// result. The challenge is deleted; after a resend it is unchanged. The limits count the
// message.
var ErrRecipientRefused = errors.New("phone number refused by the provider")

// ErrUnavailable means that the store cannot process a request now, or that its commit is
// unknown: the caller must not assume that the request was carried out.
var ErrUnavailable = errors.New("store unavailable")

// An Entity names a kind of thing that can be missing.
type Entity string

// The entities that have ids.
const (
	EntityFactor    Entity = "Authentication Factor"
	EntityChallenge Entity = "Authentication Challenge"
	EntityUser      Entity = "User"
)

// A NotFoundError is an ErrNotFound with the requested entity.
type NotFoundError struct {
	Entity Entity
	ID     string // as the caller wrote it
}

func (e *NotFoundError) Error() string { return string(e.Entity) + " not found" }

// Is reports that e is an ErrNotFound.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// A ChallengeError is an ErrExpired or ErrAlreadyVerified with its challenge.
type ChallengeError struct {
	ID   ChallengeID
	Kind error
}

func (e *ChallengeError) Error() string { return fmt.Sprintf("%s: %v", e.ID, e.Kind) }

func (e *ChallengeError) Unwrap() error { return e.Kind }

// A LimitError is an ErrTooManyAttempts, ErrSendLimit, ErrDailyLimit or
// ErrPrefixPaused with the time until another try may be allowed.
type LimitError struct {
	Kind  error
	After time.Duration // until another try; 0 if waiting does not help
}

func (e *LimitError) Error() string { return e.Kind.Error() }

func (e *LimitError) Unwrap() error { return e.Kind }

// An InvalidError is an ErrInvalid that names every wrong field.
type InvalidError struct{ Fields []FieldError }

// A FieldError describes the fault of one field of a request. Its texts do not contain the
// value of the field.
type FieldError struct {
	Field   string // as it is called on the wire
	Code    string // stable, for programs: "required", "too_long"
	Message string // for people
}

func invalid(field, code, message string) error {
	return &InvalidError{Fields: []FieldError{{field, code, message}}}
}

func (e *InvalidError) Error() string {
	var names []string
	for _, f := range e.Fields {
		names = append(names, f.Field+" "+f.Code)
	}
	return "invalid request: " + strings.Join(names, ", ")
}

// Is reports that e is an ErrInvalid.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// An InvalidPhoneError is an ErrInvalid for text that is not a phone number. Its message
// does not repeat the text, which may be personal.
type InvalidPhoneError struct {
	Given     secret.String
	Extension bool // the text has an extension, which no message can reach
}

func (e *InvalidPhoneError) Error() string { return "phone number is invalid" }

// Is reports that e is an ErrInvalid.
func (e *InvalidPhoneError) Is(target error) bool { return target == ErrInvalid }

// refusals are the errors whose transactions commit: they are not faults of the server, and
// their events are kept.
var refusals = []error{ErrNotFound, ErrExpired, ErrAlreadyVerified, ErrTooManyAttempts}

func isRefusal(err error) bool {
	for _, kind := range refusals {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
