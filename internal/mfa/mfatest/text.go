package mfatest

import "strings"

// Invisible are characters that contact lists, chat programs and web pages add.
const Invisible = "\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\ufe0f"

// WithInvisible returns s with r before, behind and within it.
func WithInvisible(s string, r rune) string {
	var b strings.Builder
	for _, c := range s {
		b.WriteRune(r)
		b.WriteRune(c)
	}
	b.WriteRune(r)
	return b.String()
}
