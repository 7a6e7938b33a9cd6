// Package secret protects secrets: values that cannot be printed, and the Keyset
// that seals, authenticates and indexes stored values.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Bytes is key material that prints as [redacted] in fmt, slog and JSON. It
// holds a closure, not a slice: fmt cannot call Format on an unexported field of
// another struct, and would print a slice there, or a pointer to one, in full.
//
// The zero value holds nothing. Two Bytes never compare equal: compare what
// Reveal returns, in constant time.
type Bytes struct {
	redacted
	reveal func() []byte
}

// NewBytes hides b. It makes no copy: the caller gives b up.
func NewBytes(b []byte) Bytes {
	return Bytes{reveal: func() []byte { return b }}
}

// Reveal returns the hidden bytes, nil for the zero value. The caller does not
// change them.
func (b Bytes) Reveal() []byte {
	if b.reveal == nil {
		return nil
	}
	return b.reveal()
}

// String is a secret text (an API key, a phone number, a code) under the rules
// of Bytes. Its zero value holds the empty string.
type String struct {
	redacted
	reveal func() string
}

// NewString hides s.
func NewString(s string) String {
	return String{reveal: func() string { return s }}
}

// Reveal returns the hidden text.
func (s String) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// redacted gives a struct that embeds it one answer to everything that prints.
type redacted struct{}

const mark = "[redacted]"

// Format implements fmt.Formatter for every verb and flag.
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, mark) }

// LogValue implements slog.LogValuer.
func (redacted) LogValue() slog.Value { return slog.StringValue(mark) }

// MarshalText implements encoding.TextMarshaler, which JSON and XML use too.
func (redacted) MarshalText() ([]byte, error) { return []byte(mark), nil }
