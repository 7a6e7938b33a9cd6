package cleantext_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/cleantext"
)

// invisible are invisible characters that people paste with a code.
var invisible = []rune{
	0x00ad, 0x061c, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e,
	0x2060, 0x2061, 0x2062, 0x2063, 0x2064, 0x2066, 0x2067, 0x2068, 0x2069, 0x206a, 0x206f, 0x115f, 0x1160, 0x3164, 0xffa0,
	0xfe00, 0xfe0e, 0xfe0f, 0xfeff, 0xe0001, 0xe0061, 0xe007f, 0xe0100,
}

var spaces = []rune{'\t', '\n', '\v', '\f', '\r', 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x2800, 0x3000}

var hyphens = []rune{0x058a, 0x05be, 0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2015, 0x2212, 0x2e3a, 0x301c, 0x30fc, 0xfe58, 0xfe63, 0xff0d}

func TestClean(t *testing.T) {
	for _, r := range invisible {
		if got := cleantext.Clean("1" + string(r) + "2"); got != "12" {
			t.Errorf("%U: %q", r, got)
		}
	}
	for _, r := range spaces {
		if got := cleantext.Clean("1" + string(r) + "2"); got != "1 2" {
			t.Errorf("%U: %q", r, got)
		}
	}
	for _, r := range hyphens {
		if got := cleantext.Clean("1" + string(r) + "2"); got != "1-2" {
			t.Errorf("%U: %q", r, got)
		}
	}
	for in, want := range map[string]string{
		"":                "",
		"123456":          "123456",
		"１２３４５６":          "123456",
		"١٢٣٤٥٦":          "123456",
		"۱۲۳۴۵۶":          "123456",
		"१२३४५६":          "123456",
		"𝟏𝟐𝟑𝟒𝟓𝟔":          "123456",
		"＋１（６０７）":         "+1(607)",
		"ＡＢｃ":             "ABc",
		"﬩1 ﹢1":           "+1 +1",
		"²¹ ①":            "²¹ ①", // not decimal digits
		"é \u0600":        "é \u0600",
		"a\x00b":          "a\x00b",
		"\u202a+1\u202c ": "+1 ",
	} {
		if got := cleantext.Clean(in); got != want {
			t.Errorf("Clean(%q) = %q; want %q", in, got, want)
		}
	}
}

// The test uses the tables of package unicode, so it covers newer versions of Unicode.
func TestCleanLeavesNoSpaceDigitOrInvisible(t *testing.T) {
	for r := range rune(unicode.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		got, n := cleantext.Clean(string(r)), 0
		for _, c := range got {
			n++
			if c > ' ' && (unicode.IsSpace(c) || cleantext.Invisible(c)) || c > '9' && unicode.IsDigit(c) || c > '-' && unicode.Is(unicode.Dash, c) {
				t.Errorf("%U becomes %U", r, c)
			}
		}
		if n > 1 || n == 0 && !cleantext.Invisible(r) {
			t.Errorf("%U becomes %q", r, got)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "123 456", "\u200e＋１\u2011٢", "\xff", "\ufeff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		clean := cleantext.Clean(s)
		if again := cleantext.Clean(clean); again != clean {
			t.Errorf("Clean(%q) = %q, and Clean of that = %q", s, clean, again)
		}
		var b strings.Builder
		for _, r := range s {
			fmt.Fprintf(&b, "\u200b%c\ufe0f", r)
		}
		if utf8.ValidString(s) && cleantext.Clean(b.String()) != clean {
			t.Errorf("Clean(%q with invisible characters) = %q", s, cleantext.Clean(b.String()))
		}
	})
}
