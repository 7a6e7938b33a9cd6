package server

import (
	"context"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// CheckClock compares the clock of the node with that of the store now.
func (s *Server) CheckClock(ctx context.Context) { s.clock.check(ctx) }

// Sweep removes expired rows now.
func (s *Server) Sweep(ctx context.Context) error { return s.mfa.Load().Sweep(ctx) }

// KeysetFingerprint returns the fingerprint of the keyset that cfg names.
func KeysetFingerprint(t testing.TB, cfg config.Config) string {
	t.Helper()
	source, err := KeysetSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := secret.LoadKeyset(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	_, fingerprint := describeKeyset(keys)
	return fingerprint
}

// Reseal seals all rows under the newest key now.
func (s *Server) Reseal(ctx context.Context) error { return s.mfa.Load().Reseal(ctx) }

// CountEvents returns how many events are stored.
func (s *Server) CountEvents(t testing.TB) int {
	t.Helper()
	return len(storetest.Events(t, s.store.events))
}

// ClockIsWrong compares now with the clock of store.
func ClockIsWrong(ctx context.Context, store clockStore, now func() time.Time, limit time.Duration) (bool, error) {
	_, wrong, err := (&clock{store: store, now: now, limit: limit}).compare(ctx)
	return wrong, err
}

// Update is mfa.Store.Update.
func (s *Store) Update(ctx context.Context, r mfa.Read, fn func(tx *mfa.Tx) error) error {
	return s.mfa.Update(ctx, r, fn)
}

// Beat stores the row of the node now.
func (s *Server) Beat(ctx context.Context) { s.heartbeat.Beat(ctx) }

// PutSealed stores a named value, sealed under the primary key.
func (s *Server) PutSealed(t testing.TB, name string) {
	t.Helper()
	value, err := s.mfa.Load().Keys().Seal([]byte("a secret"), []byte(name))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.store.transfer.PutMeta(t.Context(), name, value); err != nil {
		t.Fatal(err)
	}
}

// Drain makes the server not ready, as at the beginning of its end.
func (s *Server) Drain() { s.drain() }
