package mfa

import (
	"io"
	"time"
)

// NewIDs returns how a Service makes ids.
func NewIDs(rand io.Reader) func(now time.Time, b Bucket) ([16]byte, error) {
	return (&idSource{rand: rand}).next
}
