package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Sender delivers messages.
type Sender interface {
	// Send hands m over. A nil error means accepted, not read. An ErrRecipientRefused means
	// that another try would have the same result.
	Send(ctx context.Context, m Message) (Accepted, error)
}

// A Channel is a way to reach a person.
type Channel string

// SMS reaches a phone number with a text message.
const SMS Channel = "sms"

// An Address is where a channel reaches a person; for SMS a phone number. It prints masked.
type Address struct{ text secret.String }

// Address returns the address of a phone number.
func (p Phone) Address() Address { return Address{p.e164} }

// Text returns the whole address; for a phone number as Phone.E164 does.
func (a Address) Text() string { return a.text.Reveal() }

// Secret returns the whole address, still hidden.
func (a Address) Secret() secret.String { return a.text }

// String returns the address with all but its last two characters hidden.
func (a Address) String() string { return Phone{a.text}.String() }

// GoString returns the same text as String: %#v does not print the address either.
func (a Address) GoString() string { return a.String() }

// A Message is a message with a one-time code, or a test message.
type Message struct {
	Environment ids.EnvironmentID
	Challenge   ids.ChallengeID // of a test message, only its own id
	Number      int             // in the challenge; 1 is the first message
	Channel     Channel
	To          Address
	Text        secret.String // the whole text, with the code
	Code        secret.String // for channels that speak it, or whose provider has the template; empty in a test message
	At          time.Time
	ExpiresAt   time.Time // when the code expires
	Avoid       string    // the provider of an earlier message that probably did not arrive, or ""
}

// An Accepted names the provider that accepted a message.
type Accepted struct {
	Provider string // as receipts name it, or ""
	ID       string // the id that the provider gave the message; "" if there are no receipts
	State    State  // if it is already known; "" means Queued
}

// Send hands a message to the sender of its destination. The error is an ErrNotDelivered or
// ErrRecipientRefused, and also an ErrUncertain if the message may have been sent.
func (p *Policy) Send(ctx context.Context, d Destination, m Message) (Accepted, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	if d.test != nil && d.test.lost {
		return Accepted{}, fmt.Errorf("%w: %w", ErrNotDelivered, ErrSimulated)
	}
	if d.sender == nil {
		return Accepted{}, nil // a test number needs no sender
	}
	accepted, err := d.sender.Send(ctx, m)
	switch {
	case err == nil && d.test != nil:
		return Accepted{}, nil // the test number decides the state of the message
	case err == nil:
		return accepted, nil
	}
	kind := ErrNotDelivered
	if errors.Is(err, ErrRecipientRefused) {
		kind = ErrRecipientRefused
	}
	if isUncertain(err) {
		kind = fmt.Errorf("%w: %w", kind, ErrUncertain)
	}
	return Accepted{}, fmt.Errorf("%w: %s", kind, redact(err, m))
}

// isUncertain reports whether a message may have been sent before the error of its sender:
// after a timeout, or after a connection that broke without an answer.
func isUncertain(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// redact returns the text of a sender's error without the address and the code. Errors of
// HTTP clients quote URLs, and the URLs of some gateways contain both.
func redact(err error, m Message) string {
	secrets := []string{strings.TrimPrefix(m.To.Text(), "+"), "[phone]"}
	if code := m.Code.Reveal(); code != "" {
		secrets = append(secrets, code, "[code]")
	}
	return strings.NewReplacer(secrets...).Replace(err.Error())
}
