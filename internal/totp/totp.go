// Package totp makes and checks one-time codes: HOTP (RFC 4226) and TOTP (RFC 6238). By
// default with SHA-1, six digits and thirty seconds, the values that every authenticator
// app supports.
package totp

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"hash"
	"time"
)

const (
	Digits = 6                // default length of a code
	Period = 30 * time.Second // default length of a time step
)

// HOTP returns the code for counter, zero-padded to digits (RFC 4226,
// section 5.3). It serves any hash of RFC 6238, section 1.2.
func HOTP(newHash func() hash.Hash, secret []byte, counter uint64, digits int) string {
	return string(appendCode(nil, hmac.New(newHash, secret), counter, digits))
}

// Code returns the code that an authenticator app with the default Params shows during step.
func Code(secret []byte, step int64) string {
	return HOTP(sha1.New, secret, uint64(step), Digits)
}

// Step returns the number of whole default periods between 1970 and t (RFC 6238,
// section 4.2).
func Step(t time.Time) int64 {
	return t.Unix() / int64(Period/time.Second)
}

// appendCode appends the code for counter to dst. The mac must be fresh or reset.
// It works in the spare capacity of dst, which a caller that makes several codes
// can allocate once.
func appendCode(dst []byte, mac hash.Hash, counter uint64, digits int) []byte {
	start := len(dst)
	mac.Write(binary.BigEndian.AppendUint64(dst, counter)[start:])
	sum := mac.Sum(dst)[start:]

	// Dynamic truncation (RFC 4226, section 5.3).
	offset := sum[len(sum)-1] & 0x0f
	value := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff

	dst = append(dst, make([]byte, digits)...)
	for i := len(dst) - 1; i >= start; i-- {
		dst[i] = '0' + byte(value%10)
		value /= 10
	}
	return dst
}
