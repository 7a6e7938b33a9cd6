package smpp

import (
	"bytes"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
)

// The functions below are for fuzz tests.

func ParseReceipt(body []byte) (sms.Receipt, error) { return parseReceipt(body) }

// ReceiptID returns the readings of an id in a receipt.
func ReceiptID(o Options, id string) (first, also string) {
	return o.receiptID(cleanID(id))
}

// RepeatPDU reads a frame and writes it again.
func RepeatPDU(stream []byte) ([]byte, error) {
	p, err := readPDU(bytes.NewReader(stream))
	return p.frame(), err
}

// Parts returns what a text is sent as.
func Parts(text string) (coding byte, parts [][]byte) {
	t := newEncodedText(text)
	return t.coding, t.parts()
}

// CodeTables has the table of the values of command_status.
func CodeTables() []wire.Codes {
	table := wire.Codes{}
	for status, m := range statuses {
		table[fmt.Sprintf("0x%08X", status)] = m
	}
	return []wire.Codes{table}
}
