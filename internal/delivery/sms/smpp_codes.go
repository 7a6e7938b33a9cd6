package sms

import (
	"context"
	"errors"
	"fmt"
)

// The command_status that answer what the other side sends.
const (
	smppUnknownCommand = 0x03
	smppQueueFull      = 0x14
	smppTryAgain       = 0x64 // ESME_RX_T_APPN
)

// smppError is what a command_status (section 5.1.3) means for a message.
func smppError(status uint32, refused []uint32) *Error {
	e := &Error{Kind: Unavailable, Code: fmt.Sprintf("0x%08X", status), Reason: "refused"}
	if known, ok := smppStatuses[status]; ok {
		known.tell(e)
	}
	for _, r := range refused {
		if r == status {
			e.Kind, e.Reason = Refused, "the carrier does not deliver to the number"
		}
	}
	return e
}

var smppStatuses = map[uint32]meaning{
	0x01: {Unavailable, "message length"},
	0x02: {Unavailable, "command length"},
	0x03: {Unavailable, "unknown command"},
	0x04: {Unavailable, "not bound for this command"},
	0x05: {Unavailable, "already bound: by another process?"},
	0x08: {Unavailable, "system error"},
	0x0A: {Unavailable, "source address"},
	0x0B: {Refused, "destination address"},
	0x0D: {Unavailable, "bind failed"},
	0x0E: {Unavailable, "password"},
	0x0F: {Unavailable, "system id"},
	0x14: {Unavailable, "queue full"},
	0x15: {Unavailable, "service type"},
	0x43: {Unavailable, "esm_class"},
	0x45: {Unavailable, "submit failed"},
	0x48: {Unavailable, "source type of number"},
	0x49: {Unavailable, "source numbering plan"},
	0x50: {Unavailable, "destination type of number"},
	0x51: {Unavailable, "destination numbering plan"},
	0x53: {Unavailable, "system type"},
	0x58: {Unavailable, "throttled"},
	0x62: {Unavailable, "validity period"},
	0x64: {Unavailable, "temporary error"},
	0x65: {Unavailable, "permanent error"},
	0x66: {Unavailable, "rejected"},
	0xC0: {Unavailable, "optional part"},
	0xC1: {Unavailable, "optional parameter not allowed"},
	0xC2: {Unavailable, "parameter length"},
	0xC3: {Unavailable, "parameter missing"},
	0xC4: {Unavailable, "parameter value"},
	0xFE: {Unavailable, "delivery failed"},
	0xFF: {Unavailable, "unknown error"},
}

// smppNoAnswer says why there is none.
func smppNoAnswer(r smppResult) *Error {
	e := &Error{Kind: Unavailable, Reason: "connection lost"}
	switch {
	case errors.Is(r.err, errSMPPWindow):
		e.Reason = errSMPPWindow.Error()
	case errors.Is(r.err, context.DeadlineExceeded):
		e.Reason = "timed out"
	}
	if r.arrived {
		e.Kind = Uncertain
	}
	return e
}
