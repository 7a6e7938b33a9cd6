package webhook

import (
	"context"
	"time"
)

// A Sender posts a request. It follows no redirect, asks an Allow for the address that it
// dials, and returns when ctx ends.
type Sender interface {
	Send(ctx context.Context, r Request) Answer
}

// A Request is a delivery as it is sent.
type Request struct {
	URL     string
	Headers []Header
	Body    []byte
}

// An Answer is the answer of a receiver.
type Answer struct {
	Fault      Outcome       // the reason for a missing answer; "" if the receiver answered
	Status     int           // 0 without an answer
	RetryAfter time.Duration // that the receiver asks for; 0 if it does not
	Body       []byte        // its beginning, at most MaxAnswer bytes
}

// MaxAnswer is how much of an answer is kept.
const MaxAnswer = 1 << 10

// statusGone is the status by which a receiver says that it wants no more events.
const statusGone = 410

// An Outcome says how an attempt ended.
type Outcome string

// The outcomes. Only Delivered is a success.
const (
	Delivered      Outcome = "delivered"           // a status from 200 to 299
	Refused        Outcome = "refused"             // another status
	Redirected     Outcome = "redirected"          // a status from 300 to 399, which is not followed
	TimedOut       Outcome = "timed_out"           // no complete answer in time
	NotPermitted   Outcome = "address_not_allowed" // the host has an address that is not public
	NotResolved    Outcome = "host_not_found"      // the name of the host has no address
	TLSFailed      Outcome = "tls_failed"          // the certificate or the handshake
	NotConnected   Outcome = "connection_failed"   // no connection, or it closed before an answer
	EndpointIsGone Outcome = "gone"                // status 410: the endpoint is disabled
)

// Outcomes are all outcomes.
var Outcomes = []Outcome{
	Delivered, Refused, Redirected, TimedOut, NotPermitted, NotResolved, TLSFailed, NotConnected, EndpointIsGone,
}

func (a Answer) outcome() Outcome {
	switch {
	case a.Fault != "":
		return a.Fault
	case a.Status >= 200 && a.Status <= 299:
		return Delivered
	case a.Status >= 300 && a.Status <= 399:
		return Redirected
	case a.Status == statusGone:
		return EndpointIsGone
	}
	return Refused
}
