package mfa

import (
	"errors"
	"fmt"
	"strings"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
)

// The kinds of refusal. Each is an answer to the caller, not a fault of the server.
var (
	ErrNotFound        = errors.New("not found")
	ErrExpired         = errors.New("challenge expired")
	ErrAlreadyVerified = errors.New("challenge already verified")
	ErrTooManyAttempts = errors.New("too many attempts")
	ErrSuspended       = errors.New("the factor is suspended")
	ErrInvalid         = delivery.ErrInvalid
	ErrKeyReused       = idempotency.ErrKeyReused
	ErrResendLimit     = errors.New("sent too often")
	ErrNotSent         = errors.New("the challenge has no message to send again")
	ErrNotSuspended    = errors.New("the factor is not suspended")
	ErrNotLocked       = errors.New("not locked: no wrong codes are counted")
)

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
	EntityRecovery  Entity = "Recovery Codes"
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

// A LimitError is an ErrTooManyAttempts, or the refusal of a message, with the time until
// another try may be allowed.
type LimitError = delivery.LimitError

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

// Messages returns the messages of all fields, for people.
func (e *InvalidError) Messages() string {
	var all []string
	for _, f := range e.Fields {
		all = append(all, f.Message)
	}
	return strings.Join(all, "; ")
}

// Is reports that e is an ErrInvalid.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// refusals are the errors whose transactions commit: they are not faults of the server, and
// their events are kept.
var refusals = []error{ErrNotFound, ErrExpired, ErrAlreadyVerified, ErrTooManyAttempts, ErrSuspended}

func isRefusal(err error) bool {
	for _, kind := range refusals {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
