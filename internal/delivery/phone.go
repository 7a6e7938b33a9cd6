package delivery

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"

	"github.com/countersign-mfa/countersign/internal/cleantext"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Phone is a phone number. It prints masked.
type Phone struct{ e164 secret.String }

// E164 returns the whole number, +16073517112.
func (p Phone) E164() string { return p.e164.Reveal() }

// Secret returns the whole number, still hidden.
func (p Phone) Secret() secret.String { return p.e164 }

// String returns the number with all but its last two digits hidden.
func (p Phone) String() string {
	n := p.E164()
	if len(n) < 4 {
		return "[no phone]"
	}
	return "+" + strings.Repeat("*", len(n)-3) + n[len(n)-2:]
}

// GoString returns the same text as String: %#v does not print the number either.
func (p Phone) GoString() string { return p.String() }

// NewPhone returns the phone number that E164 returned.
func NewPhone(e164 string) Phone { return Phone{secret.NewString(e164)} }

// maxPhoneText bounds the length of parsed text: the longest number has 15 digits, and
// people write separators between them.
const maxPhoneText = 64

// ParsePhone reads a number in international form, as people paste it and phones
// share it. These are the same number:
//
//	+1 607-351-7112    (+1) 607 351 7112    16073517112
//	tel:+1-607-351-7112    0016073517112    01116073517112
//
// A plus sign may be missing. It may also be replaced by 00, the international prefix of
// most countries, or by 011, that of North America. 011 counts as a prefix only before a
// valid number of at least 10 digits: a shorter number may be national, because 011 is
// also the area code of Delhi, Johannesburg and Buenos Aires.
//
// A sandbox also accepts numbers that are not assigned yet, for tests. The error is an
// *InvalidPhoneError.
func ParsePhone(text string, production bool) (Phone, error) {
	bad := &InvalidPhoneError{Given: secret.NewString(text)}
	s, ok := digitsAndSeparators(text)
	if !ok || len(s) > maxPhoneText {
		bad.Extension = extension.MatchString(cleantext.Clean(text))
		return Phone{}, bad
	}
	dialed := false
	if rest, ok := strings.CutPrefix(s, "011"); ok && countDigits(rest) >= 10 {
		s, dialed = rest, true
	} else if rest, ok := strings.CutPrefix(s, "00"); ok {
		s = rest
	}
	if !strings.HasPrefix(s, "+") {
		s = "+" + s
	}
	n, err := phonenumbers.Parse(s, "")
	if err != nil || n.GetExtension() != "" {
		return Phone{}, bad
	}
	if !phonenumbers.IsPossibleNumber(n) || (production || dialed) && !phonenumbers.IsValidNumber(n) {
		return Phone{}, bad
	}
	return NewPhone(phonenumbers.Format(n, phonenumbers.E164)), nil
}

// extension matches an extension as people and tel URIs (RFC 3966) write it.
var extension = regexp.MustCompile(`(?i)[0-9)].*(;ext=|;isub=|ext\.?|x|#)[ .:]*[0-9]+\s*$`)

// digitsAndSeparators returns text cleaned, without "tel:" and without a parenthesis before
// the plus sign. It reports whether the rest begins like an international number and has
// neither letters nor parameters: "(607) …" has no country, and 1800FLOWERS may mean
// another number.
func digitsAndSeparators(text string) (string, bool) {
	s := strings.TrimSpace(cleantext.Clean(text))
	if len(s) >= len("tel:") && strings.EqualFold(s[:len("tel:")], "tel:") {
		number, err := url.PathUnescape(s[len("tel:"):])
		if err != nil {
			return "", false
		}
		s = strings.TrimSpace(cleantext.Clean(number))
	}
	if rest := strings.TrimLeft(s, "( "); strings.HasPrefix(rest, "+") {
		s = rest
	}
	if s == "" || s[0] != '+' && (s[0] < '0' || s[0] > '9') {
		return "", false
	}
	return s, !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsLetter(r) || r == ';' || r == '#' })
}

func countDigits(s string) (n int) {
	for i := range len(s) {
		if '0' <= s[i] && s[i] <= '9' {
			n++
		}
	}
	return n
}
