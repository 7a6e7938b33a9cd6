package mfa

import (
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"

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

// GoString returns what String does, so that %#v prints no number either.
func (p Phone) GoString() string { return p.String() }

func newPhone(e164 string) Phone { return Phone{secret.NewString(e164)} }

// maxPhoneText bounds what is parsed: the longest number has 15 digits, and
// people write separators between them.
const maxPhoneText = 64

// ParsePhone reads a number in international form, with or without its plus
// sign and with any usual separators. A sandbox also takes numbers that belong to
// nobody yet, for tests. The error is an *InvalidPhoneError.
func ParsePhone(text string, production bool) (Phone, error) {
	bad := &InvalidPhoneError{Given: secret.NewString(text)}
	s := strings.TrimSpace(text)
	if s == "" || len(s) > maxPhoneText || s[0] != '+' && (s[0] < '0' || s[0] > '9') || strings.ContainsFunc(s, unicode.IsLetter) {
		return Phone{}, bad // "(607) …" has no country; 1800FLOWERS may mean another number
	}
	if rest, ok := strings.CutPrefix(s, "00"); ok {
		s = rest
	}
	if !strings.HasPrefix(s, "+") {
		s = "+" + s
	}
	n, err := phonenumbers.Parse(s, "")
	if err != nil || n.GetExtension() != "" {
		return Phone{}, bad
	}
	if !phonenumbers.IsPossibleNumber(n) || production && !phonenumbers.IsValidNumber(n) {
		return Phone{}, bad
	}
	return newPhone(phonenumbers.Format(n, phonenumbers.E164)), nil
}
