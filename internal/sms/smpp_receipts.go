package sms

import (
	"context"
	"math/big"
	"regexp"
	"strings"
)

// deliver handles one deliver_sm. What is no receipt, such as somebody's reply, is
// taken and forgotten.
func (p *SMPP) deliver(body []byte) (status uint32) {
	receipt, ok := parseSMPPReceipt(body)
	if !ok || p.opts.OnReceipt == nil {
		return 0
	}
	receipt.ID = p.opts.receiptID(receipt.ID)
	ctx, cancel := context.WithTimeout(context.Background(), p.opts.AnswerTimeout)
	defer cancel()
	if err := p.opts.OnReceipt(ctx, receipt); err != nil {
		p.opts.Logger.Warn("smpp: a receipt was not taken", "address", p.opts.Address, "error", err)
		return smppTryAgain
	}
	return 0
}

// submittedID and receiptID make one of the two names that a message may have: the
// hexadecimal or decimal number of its submit_sm_resp, without leading zeros.
func (o *SMPPOptions) submittedID(id string) string {
	switch o.ReceiptIDs {
	case SMPPDecimalID:
		return smppNumber(id, 16, 16)
	case SMPPHexID:
		return smppNumber(id, 10, 10)
	}
	return id
}

func (o *SMPPOptions) receiptID(id string) string {
	switch o.ReceiptIDs {
	case SMPPDecimalID:
		return smppNumber(id, 10, 16)
	case SMPPHexID:
		return smppNumber(id, 16, 10)
	}
	return id
}

// smppNumber writes a number in another base; what is none stays what it is.
func smppNumber(s string, from, to int) string {
	if n, ok := new(big.Int).SetString(s, from); ok && n.Sign() >= 0 && len(s) <= 64 {
		return n.Text(to)
	}
	return s
}

// parseSMPPReceipt reads a deliver_sm. ok is false unless it is a receipt that
// names a message and a state. Optional parameters come before the text, whose
// form (appendix B) is only a custom: "id:3 sub:001 dlvrd:001 submit date:… done
// date:… stat:DELIVRD err:000 text:…".
func parseSMPPReceipt(body []byte) (r Receipt, ok bool) {
	d, err := parseSMPPDelivery(body)
	// 0x04 is a receipt, 0x20 a report on the way.
	if kind := d.esmClass & 0x3C; err != nil || kind != 0x04 && kind != 0x20 {
		return Receipt{}, false
	}
	fields := smppReceiptFields(string(d.text))
	r.ID = fields["id"]
	if id, found := d.parameters[smppReceiptedMessageID]; found {
		r.ID = strings.TrimRight(string(id), "\x00")
	}
	stat := strings.ToUpper(fields["stat"])
	if state := d.parameters[smppMessageState]; len(state) == 1 {
		stat = smppStateNames[state[0]]
	}
	if r.State, ok = smppStates[stat]; !ok || !smppID.MatchString(r.ID) {
		return Receipt{}, false
	}
	if r.State == Undelivered || r.State == Failed {
		r.Reason = stat
		if code := fields["err"]; smppErr.MatchString(code) && strings.Trim(code, "0") != "" {
			r.Reason += " " + code
		}
	}
	return r, true
}

var (
	smppID    = regexp.MustCompile(`^[!-~]{1,64}$`)
	smppErr   = regexp.MustCompile(`^[0-9A-Za-z]{1,8}$`)
	smppField = regexp.MustCompile(`(?i)(?:^|\s)(id|stat|err|text):(\S*)`)
)

// smppReceiptFields returns id, stat and err. What follows "text:" is a message,
// and could say anything.
func smppReceiptFields(text string) map[string]string {
	fields := map[string]string{}
	for _, f := range smppField.FindAllStringSubmatch(text, -1) {
		name := strings.ToLower(f[1])
		if name == "text" {
			break
		}
		if _, twice := fields[name]; !twice {
			fields[name] = f[2]
		}
	}
	return fields
}

// smppStateNames are the values of message_state (section 5.2.28) as texts call them.
var smppStateNames = map[byte]string{
	1: "ENROUTE", 2: "DELIVRD", 3: "EXPIRED", 4: "DELETED", 5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD",
}

var smppStates = map[string]State{
	"ENROUTE": Sent,
	"ACCEPTD": Sent,
	"DELIVRD": Delivered,
	"EXPIRED": Undelivered,
	"DELETED": Undelivered,
	"UNDELIV": Undelivered,
	"UNKNOWN": Undelivered,
	"REJECTD": Failed,
}
