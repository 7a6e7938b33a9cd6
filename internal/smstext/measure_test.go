package smstext_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/countersign-mfa/countersign/internal/smstext"
)

const gsm7, ucs2 = smstext.GSM7, smstext.UCS2

func TestMeasure(t *testing.T) {
	x := strings.Repeat
	for _, tc := range []struct {
		name, text string
		want       smstext.Length
	}{
		{"empty", "", smstext.Length{gsm7, 0, 1}},
		{"the default text with a code", "Your verification code is: 123456", smstext.Length{gsm7, 33, 1}},

		{"GSM-7, one less than a message", x("a", 159), smstext.Length{gsm7, 159, 1}},
		{"GSM-7, one message", x("a", 160), smstext.Length{gsm7, 160, 1}},
		{"GSM-7, one more", x("a", 161), smstext.Length{gsm7, 161, 2}},
		{"GSM-7, two segments", x("a", 306), smstext.Length{gsm7, 306, 2}},
		{"GSM-7, one more than two", x("a", 307), smstext.Length{gsm7, 307, 3}},
		{"GSM-7, three segments", x("a", 459), smstext.Length{gsm7, 459, 3}},
		{"GSM-7, one more than three", x("a", 460), smstext.Length{gsm7, 460, 4}},

		{"a euro takes two", "€", smstext.Length{gsm7, 2, 1}},
		{"euros, one message", x("€", 80), smstext.Length{gsm7, 160, 1}},
		{"euros, one letter more", x("€", 80) + "a", smstext.Length{gsm7, 161, 2}},
		{"euro at the end of a message", x("a", 158) + "€", smstext.Length{gsm7, 160, 1}},
		{"euro that the message has no room for", x("a", 159) + "€", smstext.Length{gsm7, 161, 2}},
		{"euro just before the seam", x("a", 151) + "€" + x("a", 153), smstext.Length{gsm7, 306, 2}},
		{"euro on the seam", x("a", 152) + "€" + x("a", 151), smstext.Length{gsm7, 305, 2}},
		{"euro on the seam, one letter more", x("a", 152) + "€" + x("a", 152), smstext.Length{gsm7, 306, 3}},
		{"euro just after the seam", x("a", 153) + "€" + x("a", 151), smstext.Length{gsm7, 306, 2}},
		{"euros on two seams", x("a", 152) + "€" + x("a", 150) + "€" + x("a", 151), smstext.Length{gsm7, 457, 3}},
		{"euros on two seams, one letter more", x("a", 152) + "€" + x("a", 150) + "€" + x("a", 152), smstext.Length{gsm7, 458, 4}},
		{"two segments of euros", x("€", 152), smstext.Length{gsm7, 304, 2}},
		{"two segments of euros, one more", x("€", 153), smstext.Length{gsm7, 306, 3}},

		{"UCS-2, one less than a message", x("ж", 69), smstext.Length{ucs2, 69, 1}},
		{"UCS-2, one message", x("ж", 70), smstext.Length{ucs2, 70, 1}},
		{"UCS-2, one more", x("ж", 71), smstext.Length{ucs2, 71, 2}},
		{"UCS-2, two segments", x("ж", 134), smstext.Length{ucs2, 134, 2}},
		{"UCS-2, one more than two", x("ж", 135), smstext.Length{ucs2, 135, 3}},
		{"a euro in UCS-2 takes one", x("ж", 69) + "€", smstext.Length{ucs2, 70, 1}},

		{"an emoji takes two", "🔑", smstext.Length{ucs2, 2, 1}},
		{"emoji, one message", x("🔑", 35), smstext.Length{ucs2, 70, 1}},
		{"emoji that the message has no room for", x("a", 69) + "🔑", smstext.Length{ucs2, 71, 2}},
		{"emoji just before the seam", x("a", 65) + "🔑" + x("a", 67), smstext.Length{ucs2, 134, 2}},
		{"emoji on the seam", x("a", 66) + "🔑" + x("a", 65), smstext.Length{ucs2, 133, 2}},
		{"emoji on the seam, one letter more", x("a", 66) + "🔑" + x("a", 66), smstext.Length{ucs2, 134, 3}},
		{"emoji just after the seam", x("a", 67) + "🔑" + x("a", 65), smstext.Length{ucs2, 134, 2}},
		{"emoji of several characters, parted between them", x("a", 67) + "👩\u200d💻" + x("a", 62), smstext.Length{ucs2, 134, 2}},

		{"German", "Ihr Code für Köln & Förde lautet: 123456", smstext.Length{gsm7, 40, 1}},
		{"Spanish, with an accent that GSM-7 lacks", "Tu código: 123456", smstext.Length{ucs2, 17, 1}},
		{"French, with a typographic apostrophe", "Code d’accès : 123456", smstext.Length{ucs2, 21, 1}},
		{"French, with capitals alone that GSM-7 has", "Code d'accès, çà", smstext.Length{ucs2, 16, 1}},
		{"Greek capitals that GSM-7 has", "ΔΦΓΛΩΠΨΣΘΞ", smstext.Length{gsm7, 10, 1}},
		{"Greek", "Ο κωδικός σας: 123456", smstext.Length{ucs2, 21, 1}},
		{"Russian", "Ваш код: 123456", smstext.Length{ucs2, 15, 1}},
		{"Arabic", "رمزك: 123456", smstext.Length{ucs2, 12, 1}},
		{"Hindi, by code point", "कोड", smstext.Length{ucs2, 3, 1}},
		{"Chinese", "您的验证码是123456。", smstext.Length{ucs2, 13, 1}},
		{"Japanese", "認証コード：123456", smstext.Length{ucs2, 12, 1}},

		{"escape itself", "\x1b", smstext.Length{ucs2, 1, 1}},
		{"backtick", "`", smstext.Length{ucs2, 1, 1}},
		{"tab", "\t", smstext.Length{ucs2, 1, 1}},
		{"small c with cedilla", "ç", smstext.Length{ucs2, 1, 1}},
		{"large one", "Ç", smstext.Length{gsm7, 1, 1}},
		{"lines", "a\r\nb", smstext.Length{gsm7, 4, 1}},
		{"not UTF-8", "a\xff\xfeb", smstext.Length{ucs2, 4, 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := smstext.Measure(tc.text); got != tc.want {
				t.Errorf("Measure = %+v; want %+v", got, tc.want)
			}
		})
	}
}

// alphabet is the default alphabet of 3GPP TS 23.038, section 6.2.1, as code points
// in the order of their codes, without 0x1B.
var alphabet = []rune{
	0x40, 0xA3, 0x24, 0xA5, 0xE8, 0xE9, 0xF9, 0xEC, 0xF2, 0xC7, 0x0A, 0xD8, 0xF8, 0x0D, 0xC5, 0xE5,
	0x394, 0x5F, 0x3A6, 0x393, 0x39B, 0x3A9, 0x3A0, 0x3A8, 0x3A3, 0x398, 0x39E, 0, 0xC6, 0xE6, 0xDF, 0xC9,
	0x20, 0x21, 0x22, 0x23, 0xA4, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D, 0x2E, 0x2F,
	0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F,
	0xA1, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F,
	0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0xC4, 0xD6, 0xD1, 0xDC, 0xA7,
	0xBF, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F,
	0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0xE4, 0xF6, 0xF1, 0xFC, 0xE0,
}

// extension is the table of section 6.2.1.1, by the code after the escape.
var extension = map[rune]byte{
	0x0C: 0x0A, 0x5E: 0x14, 0x7B: 0x28, 0x7D: 0x29, 0x5C: 0x2F, 0x5B: 0x3C, 0x7E: 0x3D, 0x5D: 0x3E, 0x7C: 0x40, 0x20AC: 0x65,
}

// encode writes r in GSM-7 by the tables above, or returns nil.
func encode(r rune) []byte {
	if code, ok := extension[r]; ok {
		return []byte{0x1B, code}
	}
	if code := slices.Index(alphabet, r); code >= 0 && r != 0 {
		return []byte{byte(code)}
	}
	return nil
}

func TestSeptets(t *testing.T) {
	count := 0
	for r := rune(-1); r <= 0x11000; r++ {
		want := encode(r)
		got, ok := smstext.Septets(r)
		if got != string(want) || ok != (want != nil) {
			t.Errorf("Septets(%U) = %x, %t; want %x", r, got, ok, want)
		}
		if ok {
			count++
		}
	}
	if want := 127 + 10; count != want {
		t.Errorf("%d characters; want %d", count, want)
	}
}

// FuzzMeasure compares Measure with a split of the text as a message center makes it:
// fill a segment, then move the last unit to the next one if it is half a character.
func FuzzMeasure(f *testing.F) {
	f.Add("Your code is: 123456")
	f.Add(strings.Repeat("a", 152) + "€" + strings.Repeat("a", 152))
	f.Add(strings.Repeat("a", 66) + "🔑" + strings.Repeat("a", 66))
	f.Add(strings.Repeat("{}", 99))
	f.Add("\xff\x1b\x00")
	f.Fuzz(func(t *testing.T, text string) {
		var septets []byte
		basic := true
		for _, r := range text {
			code := encode(r)
			basic = basic && code != nil
			septets = append(septets, code...)
		}
		want := smstext.Length{Encoding: gsm7, Units: len(septets)}
		if basic {
			want.Segments = split(septets, 160, 153, func(last byte) bool { return last == 0x1B })
		} else {
			units := utf16.Encode([]rune(text))
			want = smstext.Length{Encoding: ucs2, Units: len(units)}
			want.Segments = split(units, 70, 67, func(last uint16) bool { return last>>10 == 0xD800>>10 })
		}
		if got := smstext.Measure(text); got != want {
			t.Errorf("Measure(%q) = %+v; want %+v", text, got, want)
		}
	})
}

// split returns the number of messages that units need. dangling reports whether a unit
// needs the unit after it in the same message.
func split[T any](units []T, whole, part int, dangling func(T) bool) int {
	if len(units) <= whole {
		return 1
	}
	n := 0
	for len(units) > 0 {
		end := min(part, len(units))
		if end < len(units) && dangling(units[end-1]) {
			end--
		}
		units = units[end:]
		n++
	}
	return n
}

func BenchmarkMeasure(b *testing.B) {
	text := "123456 is your verification code for Acme. Do not share it.."
	if len(text) != 60 {
		b.Fatalf("text of %d characters; want 60", len(text))
	}
	b.ReportAllocs()
	for b.Loop() {
		smstext.Measure(text)
	}
}
