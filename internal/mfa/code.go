package mfa

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// codeDigits is the length of a code that is sent (NIST SP 800-63B, 3.1.3.2).
const codeDigits = 6

// newCode draws a code, uniform from 000000 to 999999.
func newCode(rand io.Reader) (secret.String, error) {
	const codes = 1_000_000
	// Draws beyond the last whole multiple would favour small codes.
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

// typedCode returns the code that a person meant: without the spaces and hyphens
// of "123 456", in the digits 0 to 9 whatever script the keyboard has.
func typedCode(s string) string {
	if isPlainCode(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.Is(unicode.Dash, r):
			return -1
		case unicode.IsDigit(r):
			return '0' + digitValue(r)
		}
		return r
	}, s)
}

func isPlainCode(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// digitValue returns the value of a decimal digit. Unicode keeps the ten digits
// of a script together, in order, so that each range starts with a zero.
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
	return r
}
