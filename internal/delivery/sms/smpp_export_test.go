package sms

import "bytes"

// What the fuzz functions of package sms_test reach.

func ParseSMPPReceipt(body []byte) (Receipt, error) { return parseSMPPReceipt(body) }

// SMPPReceiptID returns the readings of an id in a receipt.
func SMPPReceiptID(o SMPPOptions, id string) (first, also string) {
	return o.receiptID(smppCleanID(id))
}

// RepeatSMPP reads a frame and writes it again.
func RepeatSMPP(stream []byte) ([]byte, error) {
	p, err := readSMPP(bytes.NewReader(stream))
	return p.frame(), err
}

// SMPPParts returns what a text is sent as.
func SMPPParts(text string) (coding byte, parts [][]byte) {
	t := newSMPPText(text)
	return t.coding, t.parts()
}
