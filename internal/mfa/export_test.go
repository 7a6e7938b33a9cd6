package mfa

import (
	"io"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// NewIDs returns how a Service makes ids.
func NewIDs(rand io.Reader) func(now time.Time, b Bucket) ([16]byte, error) {
	return ids.NewSource(rand).Next
}

// ReplayKey returns the key under which the record of an idempotency key is stored.
func (s *Service) ReplayKey(key [32]byte) ReplayKey { return idempotency.StoredKey(s.keys.Load(), key) }

// PrefixReference returns how events name a prefix.
func (s *Service) PrefixReference(env EnvironmentID, prefix string) string {
	return delivery.NewCounterKey(s.keys.Load(), env, prefix).Reference()
}

// Keyset returns the keyset in use.
func (s *Service) Keyset() *secret.Keyset { return s.keys.Load() }
