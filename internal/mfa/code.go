package mfa

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/countersign-mfa/countersign/internal/cleantext"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// codeDigits is the length of a code that is sent (NIST SP 800-63B, 3.1.3.2).
const codeDigits = 6

// newCode draws a code, uniform from 000000 to 999999.
func newCode(rand io.Reader) (secret.String, error) {
	const codes = 1_000_000
	// Draws beyond the last whole multiple would favor small codes.
	const fair = (1 << 32) / codes * codes
	for {
		var b [4]byte
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return secret.String{}, fmt.Errorf("draw a code: %w", err)
		}
		if n := uint64(binary.BigEndian.Uint32(b[:])); n < fair {
			var digits [codeDigits]byte
			for i, rest := codeDigits-1, n%codes; i >= 0; i, rest = i-1, rest/10 {
				digits[i] = byte('0' + rest%10)
			}
			return secret.NewString(string(digits[:])), nil
		}
	}
}

// typedCode returns the code that a person typed, without spaces, hyphens and invisible
// characters, and with the digits of all scripts converted to 0 to 9.
func typedCode(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, cleantext.Clean(s))
}

// NumberCode returns the code that a program sent as a JSON number. A number has no
// leading zeros, so 59491 is 059491, and 1234567 is 01234567. For a literal that is not a
// whole number of at most eight digits, such as -59491 or 5e4, NumberCode returns "", which
// equals no code. A code of eight digits that begins with two zeros must be sent as a string.
func NumberCode(literal string) string {
	digits := codeDigits
	if len(literal) > digits {
		digits = 8
	}
	if literal == "" || len(literal) > digits || strings.ContainsFunc(literal, func(r rune) bool { return r < '0' || r > '9' }) {
		return ""
	}
	return strings.Repeat("0", digits-len(literal)) + literal
}
