package smpp

import (
	"math/big"
	"regexp"
	"strings"
)

// idPattern matches the message ids that can be stored. Receipts find their message by it.
var idPattern = regexp.MustCompile(`^[!-~]{1,128}$`)

var (
	hexDigits     = regexp.MustCompile(`^[0-9a-f]{1,64}$`)
	decimalDigits = regexp.MustCompile(`^[0-9]{1,64}$`)
)

// cleanID returns an id in the form in which ids are compared: without padding and, if it
// is a decimal or hexadecimal number, without leading zeros and in lower case. It returns ""
// if the id cannot be stored.
func cleanID(id string) string {
	id = strings.Trim(id, " \t\r\n\x00\"'")
	digits := strings.TrimPrefix(strings.ToLower(id), "0x")
	switch {
	case hexDigits.MatchString(digits):
		id = strings.TrimLeft(digits, "0")
		if id == "" {
			id = "0"
		}
	case !idPattern.MatchString(id):
		return ""
	}
	return id
}

// receiptID returns the id in submit_sm_resp of the message that a receipt names with id.
// ReceiptIDs gives the bases of both. also is another reading for use if no message has the
// first, or "". receiptID returns it only if it is certain: a letter in one of the two ids
// shows that this id is hexadecimal.
func (o *Options) receiptID(id string) (first, also string) {
	toHex, toDecimal := "", "" // empty if the id has no such reading
	if decimalDigits.MatchString(id) {
		toHex = convertBase(id, 10, 16)
	}
	if hexDigits.MatchString(id) {
		toDecimal = convertBase(id, 16, 10)
	}
	first = id
	switch {
	case o.ReceiptIDs == DecimalID && toHex != "":
		first = toHex
	case o.ReceiptIDs == HexID && toDecimal != "":
		first = toDecimal
	}
	for _, reading := range []string{id, toHex, toDecimal} {
		hasLetter := hexDigits.MatchString(id) && strings.Trim(id+reading, "0123456789") != ""
		if reading != "" && reading != first && hasLetter {
			return first, reading
		}
	}
	return first, ""
}

// convertBase converts a number from one base to another.
func convertBase(digits string, from, to int) string {
	n, ok := new(big.Int).SetString(digits, from)
	if !ok {
		return ""
	}
	return n.Text(to)
}
