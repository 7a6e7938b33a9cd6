package sms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Message is one text message for a provider to send.
type Message struct {
	To        secret.String // the number, in E.164: +16073517112
	Text      secret.String // the text that the phone shows
	Reference string        // identifies the message in every try and in receipts: 1 to 40 letters, digits, dashes, underscores
	ValidFor  time.Duration // how long the message is useful; providers round it to a time that their service accepts
	Avoid     string        // the provider that accepted an earlier message which did not arrive; may be empty
}

// A Provider sends messages through one service. It is safe for concurrent use.
type Provider interface {
	// Send sends m and returns the id that the service gave it, or "" if no receipt can
	// refer to it. It tries once. A nil error means that the service accepted the message,
	// not that the phone has it. Every other error is an *Error.
	Send(ctx context.Context, m Message) (id string, err error)
}

// A Receiver is a Provider whose service reports the state of messages by callbacks.
type Receiver interface {
	Provider

	// Receipts reads a callback of the service. It returns ErrSignature unless the service
	// signed the callback. It leaves out receipts with an unknown state.
	Receipts(r *http.Request, body []byte) ([]Receipt, error)
}

// A Receipt reports the state of a message that a service accepted.
type Receipt struct {
	ID     string // as Send returned it
	Also   string // another reading of the id, for use if no message has the first; or ""
	State  State
	Reason string // the service's own code for a failure, or ""
}

// A State is the last known stage of a message's delivery.
type State string

const (
	Queued      State = "queued"      // the service has it
	Sent        State = "sent"        // the carrier has it
	Delivered   State = "delivered"   // the phone has it
	Undelivered State = "undelivered" // the carrier could not deliver it
	Failed      State = "failed"      // the service could not hand it to a carrier
)

// A Kind decides the next step after an error.
type Kind string

const (
	Refused     Kind = "refused"     // the number is not valid, cannot receive text messages, opted out or is blocked: no provider may try
	Unavailable Kind = "unavailable" // not accepted; another provider may accept it
	Uncertain   Kind = "uncertain"   // no answer arrived: the service may have accepted the message
)

// An Error is the reason why a message was not accepted. It contains neither number nor
// text.
type Error struct {
	Kind       Kind
	Code       string        // the service's own code, such as "21211"; "" if it gave none
	Reason     string        // a short phrase of Countersign
	RetryAfter time.Duration // the pause that the service asks for, or 0
	Healthy    bool          // the service works but does not serve this kind of number, for example the numbers of a country
}

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("%s: %s", e.Kind, e.Reason)
	}
	return fmt.Sprintf("%s: %s (%s)", e.Kind, e.Reason, e.Code)
}

// Timeout reports whether the message may have been sent. Package mfa calls it on the
// error of a Sender.
func (e *Error) Timeout() bool { return e.Kind == Uncertain }

// ErrMalformed means that a signed callback cannot be read. It shows nothing of the
// callback.
var ErrMalformed = errors.New("the callback is malformed")

// ErrSignature means that the service of the callback URL did not sign the callback.
var ErrSignature = errors.New("the signature of the callback is wrong")
