// Package cleantext reads codes, phone numbers and secrets as people paste them. Chat
// programs, password managers and keyboards of many scripts add characters that no
// one sees, and write digits, spaces and hyphens in other ways than ASCII does.
package cleantext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s without invisible characters, with every space as ' ', every hyphen
// and dash as '-', every decimal digit as 0 to 9, and full-width letters and signs in
// their ASCII form. All else stays as it is. Clean(Clean(s)) is Clean(s).
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
		case r == '﬩' || r == '﹢': // plus signs: the Hebrew one and the small one
			return '+'
		}
		return r
	}, s)
}

const (
	brailleBlank = '\u2800' // shows nothing, but is as wide as a letter
	longVowel    = 'ー'      // on Japanese keyboards it is where the hyphen is
)

// isClean reports whether s is ASCII without other spaces than ' ', as nearly all
// texts are.
func isClean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || '\t' <= c && c <= '\r' {
			return false
		}
	}
	return true
}

// Invisible reports whether r is a character without a glyph: zero-width characters, marks
// of the direction of writing, soft hyphens, variation selectors, byte order marks.
func Invisible(r rune) bool {
	return r >= utf8.RuneSelf && !unicode.Is(unicode.Prepended_Concatenation_Mark, r) &&
		unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// digitValue returns the value of a decimal digit. Unicode keeps the ten digits of a
// script together, in order, so each range starts with a zero.
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
