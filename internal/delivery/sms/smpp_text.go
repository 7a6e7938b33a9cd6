package sms

import (
	"encoding/binary"
	"unicode/utf16"
)

// The values of data_coding that are used.
const (
	smppDefaultAlphabet = 0x00 // GSM 7 bit, an octet a character
	smppUCS2            = 0x08
)

// What one message holds, and one part of several, after the header that joins
// them: octets as they are here, the first unpacked.
const (
	smppWholeGSM, smppPartGSM   = 160, 153
	smppWholeUCS2, smppPartUCS2 = 140, 134
)

// gsmBasic is the default alphabet of GSM (3GPP TS 23.038, section 6.2.1), by code.
// Its 0x1B, the escape, stands for no character.
const gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ" +
	" !\"#¤%&'()*+,-./0123456789:;<=>?" +
	"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§" +
	"¿abcdefghijklmnopqrstuvwxyzäöñüà"

var gsmCodes = func() map[rune][]byte {
	codes := map[rune][]byte{ // those after an escape (section 6.2.1.1)
		'\f': {0x1B, 0x0A}, '^': {0x1B, 0x14}, '{': {0x1B, 0x28}, '}': {0x1B, 0x29}, '\\': {0x1B, 0x2F},
		'[': {0x1B, 0x3C}, '~': {0x1B, 0x3D}, ']': {0x1B, 0x3E}, '|': {0x1B, 0x40}, '€': {0x1B, 0x65},
	}
	code := byte(0)
	for _, r := range gsmBasic {
		if r != 0x1B {
			codes[r] = []byte{code}
		}
		code++
	}
	return codes
}()

// A smppText is a text as SMPP carries it.
type smppText struct {
	coding      byte
	units       [][]byte // its characters, none of which may be parted
	whole, part int      // octets that fit
}

func newSMPPText(text string) smppText {
	t := smppText{coding: smppDefaultAlphabet, whole: smppWholeGSM, part: smppPartGSM}
	for _, r := range text {
		code, ok := gsmCodes[r]
		if !ok {
			return newSMPPTextUCS2(text)
		}
		t.units = append(t.units, code)
	}
	return t
}

func newSMPPTextUCS2(text string) smppText {
	t := smppText{coding: smppUCS2, whole: smppWholeUCS2, part: smppPartUCS2}
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
func (t smppText) bytes() []byte {
	b := []byte{}
	for _, u := range t.units {
		b = append(b, u...)
	}
	return b
}

// parts returns the text in as many pieces as it needs; several share what one
// message holds with the header that joins them.
func (t smppText) parts() [][]byte {
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
