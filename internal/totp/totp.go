// Package totp makes and checks one-time codes: HOTP (RFC 4226) and TOTP
// (RFC 6238) with SHA-1, six digits and thirty seconds, the values every
// authenticator app knows.
package totp

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"time"
)

const (
	Digits = 6                // length of a code
	Period = 30 * time.Second // life of a code
)

// HOTP returns the code for counter, zero-padded to digits (RFC 4226,
// section 5.3). It serves any hash of RFC 6238, section 1.2.
func HOTP(newHash func() hash.Hash, secret []byte, counter uint64, digits int) string {
	return string(appendCode(nil, hmac.New(newHash, secret), counter, digits))
}

// Code returns the code that an authenticator app shows during step.
func Code(secret []byte, step int64) string {
	return HOTP(sha1.New, secret, uint64(step), Digits)
}

// Step returns the number of whole periods between 1970 and t (RFC 6238,
// section 4.2).
func Step(t time.Time) int64 {
	return t.Unix() / int64(Period/time.Second)
}

// An Outcome says what a code was worth.
type Outcome int

const (
	Wrong Outcome = iota // the code of no step in the window
	Spent                // the code of a step already accepted, or of one before it
	Right                // the code of a step still to be accepted
)

// Match compares code with the codes of the step at now and of window steps on
// either side. Only a step greater than after, the last one accepted, can be Right; zero
// means that no step was accepted yet. The returned step is the one to record as
// accepted if Right, the one already spent if Spent, and zero if Wrong. If the
// code belongs to several steps, the smallest unspent one counts.
//
// Every step in the window is computed, and compared in constant time, even after
// a match.
func Match(secret []byte, code string, now time.Time, window int, after int64) (step int64, outcome Outcome) {
	var (
		mac     = hmac.New(sha1.New, secret)
		given   = []byte(code)
		scratch = make([]byte, 0, scratchSize)
		current = Step(now)
	)
	for s := current + int64(window); s >= current-int64(window); s-- {
		want := appendCode(scratch, mac, uint64(s), Digits)
		same := subtle.ConstantTimeCompare(given, want) == 1
		switch {
		case same && s > after:
			step, outcome = s, Right
		case same && outcome == Wrong:
			step, outcome = s, Spent
		}
		mac.Reset() // after each use, not before: the first is fresh, and a Reset costs
	}
	return step, outcome
}

// scratchSize is the room appendCode needs with SHA-1.
const scratchSize = sha1.Size

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
