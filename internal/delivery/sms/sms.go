// Package sms hands text messages to the services that deliver them: one file a
// provider, and a Router that chooses among them.
package sms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Message is one text message, as a provider is handed it.
type Message struct {
	To        secret.String // the number, in E.164: +16073517112
	Text      secret.String // what the phone is to show
	Reference string        // names the message in every try and in receipts: 1 to 40 letters, digits, dashes, underscores
	ValidFor  time.Duration // how long the message is of use; a provider rounds it as it must
	Avoid     string        // names who accepted it before, and the phone did not get it; "" for none
}

// A Provider hands messages to one service. It is safe for concurrent use.
type Provider interface {
	// Send hands m over and returns the id that the service gave it, or "" if no receipt
	// can find it. It tries once. A nil error means accepted, not read. Every other error
	// is an *Error.
	Send(ctx context.Context, m Message) (id string, err error)
}

// A Receiver is a Provider whose service reports what became of messages.
type Receiver interface {
	Provider

	// Receipts reads what the service posts to the callback URL. It returns
	// ErrSignature unless the service signed it. What it does not know it leaves out.
	Receipts(r *http.Request, body []byte) ([]Receipt, error)
}

// A Receipt is what a service says about a message that it accepted.
type Receipt struct {
	ID     string // as Send returned it
	Also   string // another reading of the id, if no message has the first; or ""
	State  State
	Reason string // the service's own code for a failure, or ""
}

// A State is how far a message has come.
type State string

const (
	Queued      State = "queued"      // the service has it
	Sent        State = "sent"        // the carrier has it
	Delivered   State = "delivered"   // the phone has it
	Undelivered State = "undelivered" // the carrier could not deliver it
	Failed      State = "failed"      // the service could not hand it to a carrier
)

// A Kind says what may be done after an error.
type Kind string

const (
	Refused     Kind = "refused"     // the number is not valid, gets no text messages, opted out or is blocked: no provider may try
	Unavailable Kind = "unavailable" // not accepted; another provider may take it
	Uncertain   Kind = "uncertain"   // it may have been accepted: no answer came
)

// An Error says why a message was not accepted. It holds neither number nor text.
type Error struct {
	Kind       Kind
	Code       string        // the service's own, "21211"; or "" if it gave none
	Reason     string        // in short words of ours
	RetryAfter time.Duration // how long the service wants to be left alone; 0 if it did not say
	Healthy    bool          // the service is well, but does not serve numbers like this one, of a country for example
}

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("%s: %s", e.Kind, e.Reason)
	}
	return fmt.Sprintf("%s: %s (%s)", e.Kind, e.Reason, e.Code)
}

// Timeout reports whether the message may have been sent all the same, in the
// way that package mfa asks a Sender's error.
func (e *Error) Timeout() bool { return e.Kind == Uncertain }

// ErrMalformed means that a signed callback cannot be read. It shows nothing of the
// callback.
var ErrMalformed = errors.New("the callback is malformed")

// ErrSignature means that a callback was not signed by the service it is for.
var ErrSignature = errors.New("the signature of the callback is wrong")
