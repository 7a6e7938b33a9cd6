// Package wording knows the words of text messages: how long they are for a
// carrier, what in them a phone makes a link of, in which language they should
// be, and the line that binds a code to a website.
package wording

import "unicode/utf16"

// An Encoding is how carriers write a text.
type Encoding string

const (
	GSM7 Encoding = "GSM-7" // the 7-bit default alphabet with its extension table (3GPP TS 23.038, section 6.2.1)
	UCS2 Encoding = "UCS-2" // UTF-16, for every text that has one character more
)

// A Length is what a text takes on its way to a phone.
type Length struct {
	Encoding Encoding
	Units    int // septets, or code units of UTF-16, without the headers that join segments
	Segments int // messages that carriers send, and charge for; at least 1
}

// The capacity of a message: a whole text, or a part of it next to the six octets
// that number the part (3GPP TS 23.040, section 9.2.3.24.1).
const (
	wholeGSM7, partGSM7 = 160, 153
	wholeUCS2, partUCS2 = 70, 67
)

// Measure returns how carriers split text. A character is never split, neither an
// escape with its septet nor a surrogate pair: the segment then ends one unit
// early. The tables of national languages are not used. A byte that is not UTF-8
// counts as U+FFFD.
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
	filled := 0 // of the last segment
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

// Septets returns the code of r in GSM-7, one octet per septet: two, the first an
// escape, for a character of the extension table. ok is false if GSM-7 lacks r.
func Septets(r rune) (septets string, ok bool) {
	septets, ok = septetsOf[r]
	return septets, ok
}

const escape = "\x1b"

// basic is the default alphabet by code. Its 0x1B, the escape, is not a character.
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
			table[r] = string(rune(code)) // all below 0x80: one octet
		}
	}
	return table
}()
