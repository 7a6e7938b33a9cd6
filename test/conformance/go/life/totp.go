package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// codeAt returns the code that an authenticator app shows for a secret (RFC 6238),
// steps time steps after the current one. It does not share code with the server, so an
// error in one cannot hide an error in the other.
func codeAt(secret string, steps int64) string {
	key := must(base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret))
	mac := hmac.New(sha1.New, key)
	binary.Write(mac, binary.BigEndian, time.Now().Unix()/30+steps)
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0x0f
	number := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return fmt.Sprintf("%06d", number%1_000_000)
}

// wrongFor returns a code that is wrong for the secret at all times near now.
func wrongFor(secret string) string {
	near := map[string]bool{}
	for steps := int64(-3); steps <= 3; steps++ {
		near[codeAt(secret, steps)] = true
	}
	code := "000000"
	for near[code] {
		code = otherThan(code)
	}
	return code
}

// otherThan returns a code other than the given one.
func otherThan(code string) string {
	number := must(strconv.Atoi(code))
	return fmt.Sprintf("%06d", (number+1)%1_000_000)
}
