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

// What a message holds: all of a text, or a part of it beside the six octets that
// say which part it is (3GPP TS 23.040, section 9.2.3.24.1).
const (
	wholeGSM7, partGSM7 = 160, 153
	wholeUCS2, partUCS2 = 70, 67
)

// Measure returns how carriers split text. What is one character is never parted,
// be it an escape with its septet or a surrogate pair: where it would, a segment
// ends one unit early. The tables of national languages are not used. A byte that
// is not UTF-8 counts as U+FFFD.
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

// Septets returns the code of r in GSM-7, an octet a septet: two of them, the first
// an escape, for what is in the extension table. Not ok means that GSM-7 has no r.
func Septets(r rune) (septets string, ok bool) {
	septets, ok = septetsOf[r]
	return septets, ok
}

const escape = "\x1b"

// basic is the default alphabet by code. Its 0x1B, the escape, stands for no
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
			table[r] = string(rune(code)) // all below 0x80: one octet
		}
	}
	return table
}()
