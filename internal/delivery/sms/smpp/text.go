package smpp

import (
	"encoding/binary"
	"unicode/utf16"

	"github.com/countersign-mfa/countersign/internal/smstext"
)

// The values of data_coding that are used.
const (
	defaultAlphabet = 0x00 // GSM 7 bit, an octet a character
	ucS2            = 0x08
)

// What one message holds, and one part of several, after the header that joins
// them: octets as they are here, the first unpacked.
const (
	wholeGSM, partGSM   = 160, 153
	wholeUCS2, partUCS2 = 140, 134
)

// A encodedText is a text as SMPP carries it.
type encodedText struct {
	coding      byte
	units       [][]byte // its characters, none of which may be parted
	whole, part int      // octets that fit
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

// bytes is the text in one piece.
func (t encodedText) bytes() []byte {
	b := []byte{}
	for _, u := range t.units {
		b = append(b, u...)
	}
	return b
}

// parts returns the text in as many pieces as it needs; several share what one
// message holds with the header that joins them.
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
