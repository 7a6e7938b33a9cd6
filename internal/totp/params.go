package totp

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"time"
)

// Params say how an app makes codes from its secret. The zero value is the default: SHA-1,
// six digits, 30 seconds.
type Params struct {
	Hash   Hash
	Eight  bool // codes have eight digits
	Minute bool // a time step takes 60 seconds
}

// A Hash is the hash function of the HMAC of a code.
type Hash uint8

// The hash functions of RFC 6238, section 1.2.
const (
	SHA1 Hash = iota
	SHA256
	SHA512
)

// String returns the name of h in the address of a QR code.
func (h Hash) String() string {
	switch h {
	case SHA256:
		return "SHA256"
	case SHA512:
		return "SHA512"
	}
	return "SHA1"
}

func (h Hash) new() func() hash.Hash {
	switch h {
	case SHA256:
		return sha256.New
	case SHA512:
		return sha512.New
	}
	return sha1.New
}

// size returns the number of bytes of a new secret: that of the hash, as RFC 6238 recommends
// (section 5.1 and Appendix B).
func (h Hash) size() int { return h.new()().Size() }

// Digits returns the length of a code.
func (p Params) Digits() int {
	if p.Eight {
		return 8
	}
	return Digits
}

// Period returns the length of a time step.
func (p Params) Period() time.Duration {
	if p.Minute {
		return time.Minute
	}
	return Period
}

// Step returns the number of whole periods between 1970 and t.
func (p Params) Step(t time.Time) int64 { return t.Unix() / int64(p.Period()/time.Second) }

// Code returns the code that an app shows during step.
func (p Params) Code(secret []byte, step int64) string {
	return HOTP(p.Hash.new(), secret, uint64(step), p.Digits())
}
