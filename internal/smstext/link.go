package smstext

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/cleantext"
)

// Link returns the first part of text that a phone may turn into a link, or "" if text
// has no such part. A link is an address with a scheme or www., a domain, an e-mail
// address, an IPv4 address, an IPv6 address in brackets, or a phone number of 7 digits
// or more. A domain ends in a top-level domain of the public suffix list, because phones
// make links only of these: "St.Gallen" is not a domain, but "code.Do" without a space
// is one, since .do is the Dominican Republic. Place is not a link, but it can be part
// of one.
//
// Link returns the part as a phone reads it: without invisible characters, and with
// full-width letters, digits and slashes in ASCII. It takes time linear in len(text).
func Link(text string) string {
	runes := read(text)
	var found []rune
	first := len(runes)
	for _, find := range []func([]rune) (start, end int){findScheme, findWWW, findDomain, findIPv4, findIPv6, findPhone} {
		if start, end := find(runes); start < end && (start < first || start == first && end-start > len(found)) {
			first, found = start, runes[start:end]
		}
	}
	return written(found)
}

// place represents Place in a slice of runes. It is outside Unicode, so no text
// contains it.
const place rune = utf8.MaxRune + 1

// read returns the runes of text as a phone reads them.
func read(text string) []rune {
	var runes []rune
	for i, piece := range strings.Split(text, Place) {
		if i > 0 {
			runes = append(runes, place)
		}
		for _, r := range piece {
			switch {
			case cleantext.Invisible(r):
				continue
			case '！' <= r && r <= '～' && r != '．': // full-width ASCII; its dot can be a full stop
				r += '!' - '！'
			}
			runes = append(runes, r)
		}
	}
	return runes
}

func written(runes []rune) string {
	var b strings.Builder
	for _, r := range runes {
		if r == place {
			b.WriteString(Place)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// schemes are the URL schemes that need no "//" after their colon.
var schemes = []string{
	"callto", "facetime", "ftp", "geo", "http", "https", "intent", "mailto", "market",
	"mms", "mmsto", "sip", "sips", "sms", "smsto", "tel",
}

func findScheme(runes []rune) (start, end int) {
	const longest = len("facetime")
	for i, r := range runes {
		if r != ':' {
			continue
		}
		start := i
		if hasPrefix(runes[i:], "://") {
			for start > 0 && isSchemeRune(runes[start-1]) {
				start--
			}
		} else {
			for start > 0 && i-start < longest && isASCIILetter(runes[start-1]) {
				start--
			}
			known := slices.Contains(schemes, strings.ToLower(string(runes[start:i])))
			if !known || isInWord(runes, start-1) || i+1 == len(runes) || unicode.IsSpace(runes[i+1]) {
				continue
			}
		}
		if start == i {
			continue
		}
		end = i + 1
		for end < len(runes) && !unicode.IsSpace(runes[end]) {
			end++
		}
		return start, end
	}
	return 0, 0
}

func findWWW(runes []rune) (start, end int) {
	for i := range runes {
		if isInWord(runes, i-1) || !hasPrefix(runes[i:], "www") {
			continue
		}
		if dot := i + len("www"); isDot(runes, dot) && dot+1 < len(runes) && isWordRune(runes[dot+1]) {
			return i, endOfName(runes, dot)
		}
	}
	return 0, 0
}

// findDomain finds names that end in a top-level domain, and e-mail addresses with such
// a name.
func findDomain(runes []rune) (start, end int) {
	for i := range runes {
		if !isDot(runes, i) || i == 0 || !isLabelRune(runes[i-1]) || !startsWithTLD(runes[i+1:]) {
			continue
		}
		start := i
		for start > 0 && (isLabelRune(runes[start-1]) || strings.ContainsRune("-_+%@", runes[start-1]) || isDot(runes, start-1)) {
			start--
		}
		for !isLabelRune(runes[start]) {
			start++
		}
		return start, endOfName(runes, i)
	}
	return 0, 0
}

// startsWithTLD reports whether the first label of runes is a top-level domain. Letters
// of a script without spaces between words may follow the domain directly.
func startsWithTLD(runes []rune) bool {
	const longest = 63
	n, ascii := 0, 0
	for n < len(runes) && n <= longest && (isWordRune(runes[n]) || runes[n] == '-') {
		if runes[n] == place {
			return false
		}
		if n++; ascii == n-1 && (isASCIILetter(runes[n-1]) || isASCIIDigit(runes[n-1]) || runes[n-1] == '-') {
			ascii = n
		}
	}
	if ascii < n && !unicode.In(runes[ascii], unicode.Latin, unicode.M) && isTLD(runes[:ascii]) {
		return true
	}
	for n > 0 && runes[n-1] == '-' {
		n--
	}
	return isTLD(runes[:n])
}

// endOfName returns the end of the name that has a dot at i.
func endOfName(runes []rune, i int) int {
	for ; i < len(runes); i++ {
		dotWithin := isDot(runes, i) && i+1 < len(runes) && isLabelRune(runes[i+1])
		if !dotWithin && !isLabelRune(runes[i]) && runes[i] != '-' {
			break
		}
	}
	return i
}

func findIPv4(runes []rune) (start, end int) {
	for i, r := range runes {
		if !isASCIIDigit(r) || isInWord(runes, i-1) {
			continue
		}
		if end := endOfIPv4(runes, i); end > 0 {
			return i, end
		}
	}
	return 0, 0
}

// endOfIPv4 returns the end of the IPv4 address that starts at i, or 0 if there is no
// such address.
func endOfIPv4(runes []rune, i int) int {
	for octet := range 4 {
		if octet > 0 {
			if !isDot(runes, i) {
				return 0
			}
			i++
		}
		value, digits := 0, 0
		for i < len(runes) && isASCIIDigit(runes[i]) && digits < 3 {
			value = value*10 + int(runes[i]-'0')
			digits++
			i++
		}
		if digits == 0 || value > 255 {
			return 0
		}
	}
	if isInWord(runes, i) {
		return 0
	}
	return i
}

func findIPv6(runes []rune) (start, end int) {
	const longest = 64 // characters, with a zone
	for i, r := range runes {
		if r != '[' {
			continue
		}
		inside := runes[i+1 : min(len(runes), i+1+longest)]
		n := slices.Index(inside, ']')
		if n < 0 {
			continue
		}
		if a, _ := netip.ParseAddr(string(inside[:n])); a.Is6() {
			return i, i + n + 2
		}
	}
	return 0, 0
}

func findPhone(runes []rune) (start, end int) {
	const (
		enough = 7 // digits
		gap    = 3 // separators between two digits, as in " - "
	)
	digits, last := 0, 0
	for i, r := range runes {
		switch {
		case unicode.IsDigit(r):
			if digits == 0 {
				start = i
			}
			digits, last = digits+1, i
			if digits >= enough {
				end = i + 1
			}
		case !isSeparator(r), i-last > gap:
			if end > 0 {
				return withPlus(runes, start), end
			}
			digits = 0
		}
	}
	return withPlus(runes, start), end
}

// withPlus returns the start of the phone number whose first digit is at start: the
// position of its plus sign, if it has one.
func withPlus(runes []rune, start int) int {
	for i := start - 1; i >= max(0, start-2); i-- {
		if runes[i] == '+' {
			return i
		}
	}
	return start
}

func isSeparator(r rune) bool {
	return strings.ContainsRune(" -./()\u00a0\u2009\u202f\u2010\u2011\u2012\u2013", r)
}

// isDot reports whether there is a dot of a name or address at i. Browsers also accept
// the full stops of Chinese and Japanese as dots. In those languages they end a
// sentence, with no space after them, so here they count as dots only between letters
// of scripts that use the ASCII full stop.
func isDot(runes []rune, i int) bool {
	if i >= len(runes) {
		return false
	}
	switch runes[i] {
	case '.':
		return true
	case '\u3002', '\uff0e', '\uff61':
		return i > 0 && i+1 < len(runes) && usesDots(runes[i-1]) && usesDots(runes[i+1])
	}
	return false
}

func usesDots(r rune) bool {
	return unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Nd)
}

// hasPrefix reports whether runes begin with prefix, in upper or lower case. The prefix
// is ASCII in lower case.
func hasPrefix(runes []rune, prefix string) bool {
	if len(runes) < len(prefix) {
		return false
	}
	for i, want := range prefix {
		if r := runes[i]; r != want && (!isASCIILetter(r) || r|0x20 != want) {
			return false
		}
	}
	return true
}

// isLabelRune reports whether r can be in a label of a name. It excludes the hyphen.
// Some registries accept emoji.
func isLabelRune(r rune) bool { return isWordRune(r) || unicode.Is(unicode.So, r) }

// isWordRune reports whether r can be part of a word or number.
func isWordRune(r rune) bool {
	return r == place || unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)
}

// isInWord reports whether the rune at i belongs to a word or number, so an address can
// neither start directly after it nor end directly before it. Only ASCII counts, because
// Chinese and some other languages have no space between words.
func isInWord(runes []rune, i int) bool {
	if i < 0 || i >= len(runes) {
		return false
	}
	r := runes[i]
	return r == place || isASCIILetter(r) || isASCIIDigit(r)
}

func isSchemeRune(r rune) bool {
	return isASCIILetter(r) || isASCIIDigit(r) || r == '+' || r == '-' || r == '.'
}

func isASCIILetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }

func isASCIIDigit(r rune) bool { return '0' <= r && r <= '9' }
