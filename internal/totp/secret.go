package totp

import (
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

const (
	minSecretSize = 10  // bytes, which many services hand out, though R6 asks for 16
	maxSecretSize = 128 // bytes, the block of SHA-512: no HMAC uses more as it is
)

// What ParseSecret finds wrong. None of them tells any of the secret.
var (
	ErrNotBase32      = errors.New("secret is not base32")
	ErrSecretTooShort = errors.New("secret is shorter than 80 bits")
	ErrSecretTooLong  = errors.New("secret is longer than 1024 bits")
)

// NewSecret returns a secret for codes with the hash h, read from r, a cryptographic source.
// It is as long as the output of h: 160 bits for SHA1, as RFC 4226 recommends (section 4,
// R6), and more for the others (RFC 6238, section 5.1).
func (h Hash) NewSecret(r io.Reader) ([]byte, error) {
	secret := make([]byte, h.size())
	if _, err := io.ReadFull(r, secret); err != nil {
		return nil, fmt.Errorf("read random secret: %w", err)
	}
	return secret, nil
}

var unpadded = base32.StdEncoding.WithPadding(base32.NoPadding)

// EncodeSecret returns secret in base32 as apps expect it: upper case, without
// padding. A new secret for SHA1 has 32 characters.
func EncodeSecret(secret []byte) string {
	return unpadded.EncodeToString(secret)
}

// ParseSecret reads a secret in the forms people have: base32 in either case, in
// groups separated by hyphens or spaces, with padding or without. Bits beyond the last
// whole byte are dropped, as authenticator apps do: a secret that an app has
// accepted is the same key here.
func ParseSecret(s string) ([]byte, error) {
	s = strings.TrimRightFunc(s, func(r rune) bool { return r == '=' || isSeparator(r) })
	var (
		secret []byte
		bits   uint // read and not yet part of secret: the low n
		n      int
	)
	for _, r := range s {
		if isSeparator(r) {
			continue
		}
		value, ok := base32Value(r)
		if !ok {
			return nil, ErrNotBase32
		}
		bits, n = bits<<5|value, n+5
		if n >= 8 {
			n -= 8
			secret = append(secret, byte(bits>>n))
		}
	}
	switch {
	case len(secret) < minSecretSize:
		return nil, ErrSecretTooShort
	case len(secret) > maxSecretSize:
		return nil, ErrSecretTooLong
	}
	return secret, nil
}

func isSeparator(r rune) bool {
	return r == '-' || unicode.IsSpace(r)
}

// base32Value returns the five bits that r encodes (RFC 4648, section 6).
func base32Value(r rune) (value uint, ok bool) {
	switch {
	case 'A' <= r && r <= 'Z':
		return uint(r - 'A'), true
	case 'a' <= r && r <= 'z':
		return uint(r - 'a'), true
	case '2' <= r && r <= '7':
		return uint(r-'2') + 26, true
	}
	return 0, false
}
