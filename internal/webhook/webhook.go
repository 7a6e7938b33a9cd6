// Package webhook signs deliveries to an endpoint of a customer, in a form that the
// client libraries of the hosted service accept.
package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// SignatureHeader is the header that carries what Sign returns.
const SignatureHeader = "WorkOS-Signature"

// Sign returns the signature of a body that is sent at a time, as
// "t=1648358126432, v1=<64 lower-case hexadecimal digits>": milliseconds since 1970,
// and an HMAC-SHA-256 of them, a dot and the body. Libraries split it at the comma
// and one space, and refuse a time that is more than 180 seconds ago.
func Sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return "t=" + t + ", v1=" + hex.EncodeToString(mac.Sum(nil))
}

// Marshal returns v as the JSON that JavaScript's JSON.stringify prints, byte for
// byte: some libraries parse a delivery before they check its signature over what
// they would print themselves. v must hold structs, strings, booleans, nil and
// whole numbers below 2^53, no float and no map.
func Marshal(v any) ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(unescape(text.Bytes()), []byte("\n")), nil
}

// unescape restores the line separators U+2028 and U+2029, which encoding/json
// always escapes. It leaves an escaped backslash before "u2028" unchanged.
func unescape(text []byte) []byte {
	if !bytes.Contains(text, []byte(`\u202`)) {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out = append(out, text[i])
			continue
		}
		switch rest := text[i:]; {
		case bytes.HasPrefix(rest, []byte(`\u2028`)):
			out = append(out, "\u2028"...)
			i += 5
		case bytes.HasPrefix(rest, []byte(`\u2029`)):
			out = append(out, "\u2029"...)
			i += 5
		default: // a backslash and the escaped character
			out = append(out, rest[:2]...)
			i++
		}
	}
	return out
}
