package smpp

import (
	"context"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
)

// deliver handles one deliver_sm. It acknowledges and drops replies from phones.
func (p *Provider) deliver(body []byte) (status uint32) {
	if p.opts.OnReceipt == nil {
		return 0
	}
	receipt, err := parseReceipt(body)
	if err != nil {
		p.opts.Logger.Warn("smpp: receipt not read", "address", p.opts.Address, "id", receipt.ID, "reason", err)
		return 0 // otherwise the carrier sends the same receipt again
	}
	if receipt.ID == "" {
		return 0
	}
	receipt.ID, receipt.Also = p.opts.receiptID(receipt.ID)
	ctx, cancel := context.WithTimeout(context.Background(), p.opts.AnswerTimeout)
	defer cancel()
	if err := p.opts.OnReceipt(ctx, receipt); err != nil {
		p.opts.Logger.Warn("smpp: receipt not recorded; the carrier is asked to send it again", "address", p.opts.Address, "id", receipt.ID, "error", err)
		return statusTryAgain
	}
	return 0
}

// An unreadableReceipt is the reason why a receipt cannot be read. It contains neither
// number nor text.
type unreadableReceipt string

func (e unreadableReceipt) Error() string { return string(e) }

// parseReceipt reads a deliver_sm. It returns the zero Receipt if the deliver_sm is not a
// receipt. The error is an unreadableReceipt; the id is then set if the receipt has one.
//
// The data of a receipt is in optional parameters, in a text, or in both. Parameters take
// precedence unless their value is unknown. The form of the text (appendix B) is only a
// convention: "id:3 sub:001 dlvrd:001 submit date:… done date:… stat:DELIVRD
// err:000 text:…".
func parseReceipt(body []byte) (r sms.Receipt, err error) {
	d, err := parseDeliver(body)
	if err != nil {
		return r, unreadableReceipt("the deliver_sm is truncated")
	}
	if !d.isReceipt() {
		return r, nil
	}
	fields := readFields(receiptText(d.esmClass, d.text))
	if payload, ok := d.parameters[tagMessagePayload]; ok && fields.id == "" && fields.state == "" {
		fields = readFields(receiptText(d.esmClass, payload))
	}
	if r.ID = cleanID(string(d.parameters[tagReceiptedMessageID])); r.ID == "" {
		r.ID = cleanID(fields.id)
	}
	state, known := stateNames[stateNumber(d.parameters[tagMessageState])]
	if !known || state == "SCHEDULED" {
		if named := stateName(fields.state); named != "" || !known {
			state = named
		}
	}
	switch {
	case r.ID == "":
		return sms.Receipt{}, unreadableReceipt("it has no message id")
	case state == "" && fields.state == "":
		return sms.Receipt{ID: r.ID}, unreadableReceipt("it has no state")
	case state == "":
		return sms.Receipt{ID: r.ID}, unreadableReceipt(fmt.Sprintf("its state %q is unknown", wire.Word(fields.state)))
	}
	r.State = states[state]
	if r.State == sms.Undelivered || r.State == sms.Failed {
		r.Reason = state
		if errPattern.MatchString(fields.code) && strings.Trim(fields.code, "0") != "" {
			r.Reason += " " + fields.code
		}
	}
	return r, nil
}

// isReceipt reports whether a deliver_sm is a receipt. Some carriers mark receipts only with
// optional parameters, which a phone cannot send. A text without these parameters may be a
// reply that looks like a receipt.
func (d deliverBody) isReceipt() bool {
	switch d.esmClass & 0x3C {
	case 0x04, 0x20: // a receipt, and an intermediate report
		return true
	case 0x00:
		_, id := d.parameters[tagReceiptedMessageID]
		_, state := d.parameters[tagMessageState]
		return id || state
	}
	return false
}

// receiptText returns the text of a receipt as ASCII. It finds the encoding from the octets
// and not from data_coding, which some carriers set wrongly. It replaces characters outside
// of ASCII with "?" and control characters with spaces.
func receiptText(esmClass byte, text []byte) string {
	text = withoutHeader(esmClass, text)
	var even, odd int // octets that are 0
	for i, b := range text {
		switch {
		case b == 0 && i%2 == 0:
			even++
		case b == 0:
			odd++
		}
	}
	half := len(text) / 2
	units := make([]uint16, 0, len(text))
	switch {
	case half > 0 && even > half/2: // UCS-2, the high octet first
		for i := 0; i+1 < len(text); i += 2 {
			units = append(units, binary.BigEndian.Uint16(text[i:]))
		}
	case half > 0 && odd > half/2: // the low octet first
		for i := 0; i+1 < len(text); i += 2 {
			units = append(units, binary.LittleEndian.Uint16(text[i:]))
		}
	default:
		for _, b := range text {
			units = append(units, uint16(b))
		}
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7F || r == 0xFEFF || r == 0xA0:
			return ' '
		case r > '~':
			return '?'
		}
		return r
	}, string(utf16.Decode(units)))
}

// withoutHeader removes a user data header from the start of a text. A bit of esm_class
// (0x40) announces the header, but some carriers do not set it.
func withoutHeader(esmClass byte, text []byte) []byte {
	if len(text) == 0 {
		return text
	}
	length := int(text[0])
	if length+1 > len(text) || esmClass&0x40 == 0 && (length == 0 || length >= ' ') {
		return text
	}
	for at := 1; at < length+1; { // elements: a name, a length, a value
		if at+1 > length {
			return text
		}
		at += 2 + int(text[at+1])
		if at > length+1 {
			return text
		}
	}
	return text[length+1:]
}

// receiptFields are the fields in the text of a receipt.
type receiptFields struct{ id, state, code string }

var (
	// A name, a separator, and a value with or without quotes.
	fieldPattern = regexp.MustCompile(`(?i)(?:^|[^a-z0-9_])(id|stat|state|status|err|error|text)["']?\s*[:=]\s*["']?([^\s,;"']*)`)
	// The name of a field that follows a field without a value.
	nextFieldPattern = regexp.MustCompile(`(?i)^(id|sub|dlvrd|submit|done|date|stat|state|status|err|error|text)[:=]`)
	errPattern       = regexp.MustCompile(`^[0-9A-Za-z]{1,8}$`)
)

// readFields reads the text of a receipt. If a field occurs more than once, the first value
// counts. It stops at "text:", because a message follows, which may look like fields.
func readFields(text string) (f receiptFields) {
	for len(text) > 0 {
		at := fieldPattern.FindStringSubmatchIndex(text)
		if at == nil {
			return f
		}
		name, value := strings.ToLower(text[at[2]:at[3]]), text[at[4]:at[5]]
		text = text[at[5]:]
		if nextFieldPattern.MatchString(value) {
			text, value = " "+value+text, ""
		}
		into := &f.code
		switch name {
		case "text":
			return f
		case "id":
			into = &f.id
		case "stat", "state", "status":
			into = &f.state
		}
		if *into == "" {
			*into = value
		}
	}
	return f
}

// stateNumber reads a message_state, for which some carriers use more than one octet. It
// returns -1 if value is not a number.
func stateNumber(value []byte) int {
	if len(value) == 0 || len(value) > 4 {
		return -1
	}
	state := 0
	for _, b := range value {
		state = state<<8 | int(b)
	}
	return state
}

// stateNames has the values of message_state (section 5.2.28, and 4.7.15 of version 5.0)
// and their names in texts. 0 means SCHEDULED in version 5.0 and has no meaning in 3.4.
var stateNames = map[int]string{
	0: "SCHEDULED", 1: "ENROUTE", 2: "DELIVRD", 3: "EXPIRED", 4: "DELETED", 5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD", 9: "SKIPPED",
}

// stateName returns the name of a state in the form of appendix B, with seven letters, for
// a full name or a number. It returns "" if the state is unknown.
func stateName(text string) string {
	name := strings.ToUpper(strings.Trim(text, ".:=-_"))
	if _, known := states[name]; known {
		return name
	}
	if same, known := otherNames[name]; known {
		return same
	}
	if len(name) <= 3 && decimalDigits.MatchString(name) {
		n := 0
		for _, digit := range name {
			n = 10*n + int(digit-'0')
		}
		return stateNames[n]
	}
	return ""
}

// otherNames has other names of the states.
var otherNames = map[string]string{
	"EN_ROUTE": "ENROUTE", "ENROUTED": "ENROUTE", "BUFFERED": "ENROUTE", "BUFFRED": "ENROUTE", "SENT": "ENROUTE", "SUBMITTED": "ENROUTE",
	"ACCEPTED": "ACCEPTD", "ACKED": "ACCEPTD",
	"DELIVERED": "DELIVRD", "DELIVERD": "DELIVRD", "DELIVRED": "DELIVRD", "READ": "DELIVRD",
	"EXPIRD": "EXPIRED",
	"DELETD": "DELETED", "CANCELED": "DELETED", "CANCELLED": "DELETED", "CANCELD": "DELETED",
	"UNDELIVERABLE": "UNDELIV", "UNDELIVERED": "UNDELIV", "UNDELIVRD": "UNDELIV", "UNDELIVERD": "UNDELIV", "UNDELIVERABL": "UNDELIV", "NOT_DELIVERED": "UNDELIV",
	"FAIL": "FAILED", "FAILURE": "FAILED",
	"UNKNOWN_STATE": "UNKNOWN", "UNKNWN": "UNKNOWN",
	"REJECTED": "REJECTD", "REJECT": "REJECTD", "REJCTD": "REJECTD", "BLOCKED": "REJECTD",
}

var states = map[string]sms.State{
	"SCHEDULED": sms.Queued,
	"ENROUTE":   sms.Sent,
	"ACCEPTD":   sms.Sent,
	"DELIVRD":   sms.Delivered,
	"EXPIRED":   sms.Undelivered,
	"DELETED":   sms.Undelivered,
	"UNDELIV":   sms.Undelivered,
	"FAILED":    sms.Undelivered,
	"UNKNOWN":   sms.Undelivered,
	"SKIPPED":   sms.Undelivered,
	"REJECTD":   sms.Failed,
}
