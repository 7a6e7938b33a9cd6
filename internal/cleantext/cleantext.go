// Package cleantext normalizes codes, phone numbers and secrets that people paste. Chat
// programs, password managers and the keyboards of many scripts add invisible
// characters, and use digits, spaces and hyphens outside ASCII.
package cleantext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s without invisible characters, with each space as ' ', each hyphen and
// dash as '-', each decimal digit as 0 to 9, and full-width letters and signs in their
// ASCII form. All other characters stay the same. Clean(Clean(s)) is Clean(s).
func Clean(s string) string {
	if isClean(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r < utf8.RuneSelf:
			if unicode.IsSpace(r) {
				return ' '
			}
			return r
		case Invisible(r):
			return -1
		case unicode.IsSpace(r) || r == brailleBlank:
			return ' '
		case unicode.Is(unicode.Dash, r) || r == longVowel:
			return '-'
		case unicode.IsDigit(r):
			return '0' + digitValue(r)
		case '！' <= r && r <= '～': // full-width ASCII
			return r - '！' + '!'
		case r == '﬩' || r == '﹢': // the Hebrew and the small plus sign
			return '+'
		}
		return r
	}, s)
}

const (
	brailleBlank = '\u2800' // an empty glyph as wide as a letter
	longVowel    = 'ー'      // has the place of the hyphen on Japanese keyboards
)

// isClean reports whether s is ASCII and has no space other than ' '. This is true of
// nearly all texts.
func isClean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || '\t' <= c && c <= '\r' {
			return false
		}
	}
	return true
}

// Invisible reports whether r is a character without a glyph: a zero-width character, a
// mark of the writing direction, a soft hyphen, a variation selector or a byte order mark.
func Invisible(r rune) bool {
	return r >= utf8.RuneSelf && !unicode.Is(unicode.Prepended_Concatenation_Mark, r) &&
		unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// digitValue returns the value of a decimal digit. In Unicode the ten digits of a script
// are adjacent and in order, so each range starts with a zero.
func digitValue(r rune) rune {
	for _, x := range unicode.Nd.R16 {
		if rune(x.Lo) <= r && r <= rune(x.Hi) {
			return (r - rune(x.Lo)) % 10
		}
	}
	for _, x := range unicode.Nd.R32 {
		if rune(x.Lo) <= r && r <= rune(x.Hi) {
			return (r - rune(x.Lo)) % 10
		}
	}
	return 0 // not a digit
}
