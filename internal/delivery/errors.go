package delivery

import (
	"errors"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// The reasons why a message may not be sent.
var (
	ErrSendLimit     = errors.New("too many messages to this phone number")
	ErrDailyLimit    = errors.New("too many messages today")
	ErrPrefixPaused  = errors.New("no messages go to numbers with this prefix now")
	ErrCountry       = errors.New("no messages go to this country")
	ErrNumberType    = errors.New("no messages go to this kind of phone number")
	ErrSandboxNumber = errors.New("a sandbox sends only to test numbers")
)

// ErrNotDelivered means that no provider accepted a message.
var ErrNotDelivered = errors.New("message not delivered")

// ErrSimulated accompanies an ErrNotDelivered that a test number simulates. It does not mean
// a fault of the server.
var ErrSimulated = errors.New("simulated by a test number")

// ErrRecipientRefused means that no provider delivers to the phone number: it is not
// valid, cannot receive messages, opted out or is blocked. Another try would have the same
// result.
var ErrRecipientRefused = errors.New("phone number refused by the provider")

// ErrUncertain means that a message may have been sent, although its sender failed.
var ErrUncertain = errors.New("may have been sent")

// A LimitError is a refusal with the time until another try may be allowed: for a message,
// an ErrSendLimit, ErrDailyLimit or ErrPrefixPaused.
type LimitError struct {
	Kind  error
	After time.Duration // until another try; 0 if waiting does not help
}

func (e *LimitError) Error() string { return e.Kind.Error() }

func (e *LimitError) Unwrap() error { return e.Kind }

// ErrInvalid is the kind of an InvalidPhoneError and of other errors in what a caller sent.
var ErrInvalid = errors.New("invalid request")

// An InvalidPhoneError is an ErrInvalid for text that is not a phone number. Its message
// does not repeat the text, which may be personal.
type InvalidPhoneError struct {
	Given     secret.String
	Extension bool // the text has an extension, which no message can reach
}

func (e *InvalidPhoneError) Error() string { return "phone number is invalid" }

// Is reports that e is an ErrInvalid.
func (e *InvalidPhoneError) Is(target error) bool { return target == ErrInvalid }
