package smpp

import (
	"encoding/binary"
	"unicode/utf16"

	"github.com/countersign-mfa/countersign/internal/smstext"
)

// The values of data_coding that this package uses.
const (
	defaultAlphabet = 0x00 // GSM-7, one octet per septet
	ucS2            = 0x08
)

// The sizes in octets of a text in one message, and of one part of a longer text without
// the header that joins the parts. GSM-7 is not packed here: one octet per septet.
const (
	wholeGSM, partGSM   = 160, 153
	wholeUCS2, partUCS2 = 140, 134
)

// An encodedText is a text in the encoding of SMPP.
type encodedText struct {
	coding      byte
	units       [][]byte // the characters; a part never ends within one
	whole, part int      // sizes in octets
}

func newEncodedText(text string) encodedText {
	t := encodedText{coding: defaultAlphabet, whole: wholeGSM, part: partGSM}
	for _, r := range text {
		septets, ok := smstext.Septets(r)
		if !ok {
			return newUCS2Text(text)
		}
		t.units = append(t.units, []byte(septets))
	}
	return t
}

func newUCS2Text(text string) encodedText {
	t := encodedText{coding: ucS2, whole: wholeUCS2, part: partUCS2}
	for _, r := range text {
		var unit []byte
		for _, half := range utf16.Encode([]rune{r}) {
			unit = binary.BigEndian.AppendUint16(unit, half)
		}
		t.units = append(t.units, unit)
	}
	return t
}

// bytes returns the whole text.
func (t encodedText) bytes() []byte {
	b := []byte{}
	for _, u := range t.units {
		b = append(b, u...)
	}
	return b
}

// parts returns the text in as few parts as possible. Each of several parts leaves room for
// the header that joins them.
func (t encodedText) parts() [][]byte {
	if all := t.bytes(); len(all) <= t.whole {
		return [][]byte{all}
	}
	var parts [][]byte
	var piece []byte
	for _, u := range t.units {
		if len(piece)+len(u) > t.part {
			parts, piece = append(parts, piece), nil
		}
		piece = append(piece, u...)
	}
	return append(parts, piece)
}
