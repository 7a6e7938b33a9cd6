package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// secretPrefix begins every secret. Base64 of 32 bytes follows.
const secretPrefix = "whsec_"

// newSecret draws the secret of an endpoint.
func newSecret(rand io.Reader) (secret.String, error) {
	var key [32]byte
	if _, err := io.ReadFull(rand, key[:]); err != nil {
		return secret.String{}, fmt.Errorf("draw a secret: %w", err)
	}
	return secret.NewString(secretPrefix + base64.StdEncoding.EncodeToString(key[:])), nil
}

// A Header is a header of a delivery.
type Header struct{ Name, Value string }

// Headers returns the headers that identify and sign a delivery: the header of
// WorkOS and three of Standard Webhooks. id is the id of the event, which all attempts have in common.
func (s Secrets) Headers(id string, at time.Time, body []byte) ([]Header, error) {
	var signatures []string
	for _, text := range []string{s.Current.Reveal(), s.Next.Reveal()} {
		if text == "" {
			continue
		}
		signature, err := signStandard(text, id, at, body)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	return []Header{
		{SignatureHeader, Sign(s.Current.Reveal(), at, body)},
		{"webhook-id", id},
		{"webhook-timestamp", strconv.FormatInt(at.Unix(), 10)},
		{"webhook-signature", strings.Join(signatures, " ")},
	}, nil
}

// signStandard returns the signature of Standard Webhooks, "v1,<base64>", whose key is the
// decoded secret.
func signStandard(text, id string, at time.Time, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, secretPrefix))
	if err != nil {
		return "", errors.New("the secret is not base64") // the error of base64 would tell a part of it
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

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
