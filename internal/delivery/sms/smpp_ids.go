package sms

import (
	"math/big"
	"regexp"
	"strings"
)

// smppID is a message id that can be kept, for receipts to find their message.
var smppID = regexp.MustCompile(`^[!-~]{1,128}$`)

var (
	smppHexDigits     = regexp.MustCompile(`^[0-9a-f]{1,64}$`)
	smppDecimalDigits = regexp.MustCompile(`^[0-9]{1,64}$`)
)

// smppCleanID returns an id in the form in which ids are compared: without padding,
// and if it is a number, decimal or hexadecimal, without leading zeros and in lower
// case. It is "" if the id cannot be kept.
func smppCleanID(id string) string {
	id = strings.Trim(id, " \t\r\n\x00\"'")
	digits := strings.TrimPrefix(strings.ToLower(id), "0x")
	switch {
	case smppHexDigits.MatchString(digits):
		id = strings.TrimLeft(digits, "0")
		if id == "" {
			id = "0"
		}
	case !smppID.MatchString(id):
		return ""
	}
	return id
}

// receiptID returns the id that submit_sm_resp gave the message of a receipt: the
// setting ReceiptIDs says in which base the two are. also is another reading, or "".
// It counts if no message has the first, and is returned only if it cannot be meant
// otherwise: a letter in one of the two ids shows that it is hexadecimal.
func (o *SMPPOptions) receiptID(id string) (first, also string) {
	toHex, toDecimal := "", "" // empty if the id has no such reading
	if smppDecimalDigits.MatchString(id) {
		toHex = smppNumber(id, 10, 16)
	}
	if smppHexDigits.MatchString(id) {
		toDecimal = smppNumber(id, 16, 10)
	}
	first = id
	switch {
	case o.ReceiptIDs == SMPPDecimalID && toHex != "":
		first = toHex
	case o.ReceiptIDs == SMPPHexID && toDecimal != "":
		first = toDecimal
	}
	for _, reading := range []string{id, toHex, toDecimal} {
		hasLetter := smppHexDigits.MatchString(id) && strings.Trim(id+reading, "0123456789") != ""
		if reading != "" && reading != first && hasLetter {
			return first, reading
		}
	}
	return first, ""
}

// smppNumber writes a number in another base.
func smppNumber(digits string, from, to int) string {
	n, ok := new(big.Int).SetString(digits, from)
	if !ok {
		return ""
	}
	return n.Text(to)
}
