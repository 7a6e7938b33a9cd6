package smpp

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
)

// The values of command_status in answers to the carrier.
const (
	statusUnknownCommand = 0x03
	statusQueueFull      = 0x14
	statusTryAgain       = 0x64 // ESME_RX_T_APPN
)

// statusError returns the error of a message that was answered with a command_status
// (section 5.1.3). refused are further values that refuse the number.
func statusError(status uint32, refused []uint32) *sms.Error {
	e := &sms.Error{Kind: sms.Unavailable, Code: fmt.Sprintf("0x%08X", status), Reason: "refused"}
	if known, ok := statuses[status]; ok {
		known.Apply(e)
	}
	for _, r := range refused {
		if r == status {
			e.Kind, e.Reason = sms.Refused, "the carrier does not deliver to the number"
		}
	}
	return e
}

var statuses = map[uint32]wire.Meaning{
	0x01: {Kind: sms.Unavailable, Reason: "the message length is not valid"},
	0x02: {Kind: sms.Unavailable, Reason: "the command length is not valid"},
	0x03: {Kind: sms.Unavailable, Reason: "unknown command"},
	0x04: {Kind: sms.Unavailable, Reason: "not bound for this command"},
	0x05: {Kind: sms.Unavailable, Reason: "already bound: by another process?"},
	0x08: {Kind: sms.Unavailable, Reason: "system error"},
	0x0A: {Kind: sms.Unavailable, Reason: "the source address is not valid"},
	0x0B: {Kind: sms.Refused, Reason: "the destination address is not valid"},
	0x0D: {Kind: sms.Unavailable, Reason: "bind failed"},
	0x0E: {Kind: sms.Unavailable, Reason: "wrong password"},
	0x0F: {Kind: sms.Unavailable, Reason: "unknown system id"},
	0x14: {Kind: sms.Unavailable, Reason: "queue full"},
	0x15: {Kind: sms.Unavailable, Reason: "the service type is not valid"},
	0x43: {Kind: sms.Unavailable, Reason: "esm_class is not valid"},
	0x45: {Kind: sms.Unavailable, Reason: "submit failed"},
	0x48: {Kind: sms.Unavailable, Reason: "the source type of number is not valid"},
	0x49: {Kind: sms.Unavailable, Reason: "the source numbering plan is not valid"},
	0x50: {Kind: sms.Unavailable, Reason: "the destination type of number is not valid"},
	0x51: {Kind: sms.Unavailable, Reason: "the destination numbering plan is not valid"},
	0x53: {Kind: sms.Unavailable, Reason: "the system type is not valid"},
	0x58: {Kind: sms.Unavailable, Reason: "throttled"},
	0x62: {Kind: sms.Unavailable, Reason: "the validity period is not valid"},
	0x64: {Kind: sms.Unavailable, Reason: "temporary error"},
	0x65: {Kind: sms.Unavailable, Reason: "permanent error"},
	0x66: {Kind: sms.Unavailable, Reason: "rejected"},
	0xC0: {Kind: sms.Unavailable, Reason: "the optional parameters are not valid"},
	0xC1: {Kind: sms.Unavailable, Reason: "an optional parameter is not allowed"},
	0xC2: {Kind: sms.Unavailable, Reason: "the length of a parameter is not valid"},
	0xC3: {Kind: sms.Unavailable, Reason: "a parameter is missing"},
	0xC4: {Kind: sms.Unavailable, Reason: "the value of a parameter is not valid"},
	0xFE: {Kind: sms.Unavailable, Reason: "delivery failed"},
	0xFF: {Kind: sms.Unavailable, Reason: "unknown error"},
}

// noAnswer returns the error of a request without an answer.
func noAnswer(r requestResult) *sms.Error {
	e := &sms.Error{Kind: sms.Unavailable, Reason: "connection lost"}
	switch {
	case errors.Is(r.err, errWindowFull):
		e.Reason = errWindowFull.Error()
	case errors.Is(r.err, context.DeadlineExceeded):
		e.Reason = "timed out"
	}
	if r.arrived {
		e.Kind = sms.Uncertain
	}
	return e
}
