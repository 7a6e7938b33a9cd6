package smstext

import "unicode/utf16"

// An Encoding is the character encoding in which carriers transmit a text.
type Encoding string

const (
	GSM7 Encoding = "GSM-7" // the 7-bit default alphabet with its extension table (3GPP TS 23.038, section 6.2.1)
	UCS2 Encoding = "UCS-2" // UTF-16, for each text with a character that GSM-7 lacks
)

// A Length is the length of a text on its way to a phone.
type Length struct {
	Encoding Encoding
	Units    int // septets, or code units of UTF-16, without the headers of segments
	Segments int // messages that carriers send and charge for; at least 1
}

// The capacity of a message in units: for a whole text, and for one part of a longer
// text, which shares the message with a header of six octets (3GPP TS 23.040, section
// 9.2.3.24.1).
const (
	wholeGSM7, partGSM7 = 160, 153
	wholeUCS2, partUCS2 = 70, 67
)

// Measure returns the length of text and the number of segments into which carriers
// split it. Carriers do not split a character: a segment ends one unit early rather than
// split an escape from its septet, or a surrogate pair. Measure does not use the tables
// of national languages. A byte that is not valid UTF-8 counts as U+FFFD.
func Measure(text string) Length {
	for _, r := range text {
		if _, ok := Septets(r); !ok {
			return measure(text, UCS2, wholeUCS2, partUCS2, utf16.RuneLen)
		}
	}
	return measure(text, GSM7, wholeGSM7, partGSM7, func(r rune) int {
		septets, _ := Septets(r)
		return len(septets)
	})
}

func measure(text string, encoding Encoding, whole, part int, width func(rune) int) Length {
	l := Length{Encoding: encoding, Segments: 1}
	filled := 0 // units in the last segment
	for _, r := range text {
		w := width(r)
		if filled+w > part {
			l.Segments++
			filled = 0
		}
		filled += w
		l.Units += w
	}
	if l.Units <= whole {
		l.Segments = 1
	}
	return l
}

// Septets returns the code of r in GSM-7, one octet per septet. A character of the
// extension table has two septets, of which the first is an escape. ok is false if
// GSM-7 lacks r.
func Septets(r rune) (septets string, ok bool) {
	septets, ok = septetsOf[r]
	return septets, ok
}

const escape = "\x1b"

// basic is the default alphabet in the order of its codes. The escape, 0x1B, is not a
// character.
const basic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ" + escape + "ÆæßÉ" +
	" !\"#¤%&'()*+,-./0123456789:;<=>?" +
	"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§" +
	"¿abcdefghijklmnopqrstuvwxyzäöñüà"

var septetsOf = func() map[rune]string {
	table := map[rune]string{ // the extension table
		'\f': escape + "\x0a", '^': escape + "\x14", '{': escape + "\x28", '}': escape + "\x29", '\\': escape + "\x2f",
		'[': escape + "\x3c", '~': escape + "\x3d", ']': escape + "\x3e", '|': escape + "\x40", '€': escape + "\x65",
	}
	for code, r := range []rune(basic) {
		if string(r) != escape {
			table[r] = string(rune(code)) // every code is below 0x80 and takes one octet
		}
	}
	return table
}()
