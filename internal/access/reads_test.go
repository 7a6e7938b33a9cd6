package access_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A heldStore keeps every read of a key until it is released.
type heldStore struct {
	access.Store
	arrived chan access.Hash
	release chan struct{}
}

func (s *heldStore) KeyByHash(ctx context.Context, h access.Hash) (access.Key, error) {
	s.arrived <- h
	select {
	case <-s.release:
		return s.Store.KeyByHash(ctx, h)
	case <-ctx.Done():
		return access.Key{}, ctx.Err()
	}
}

func newSlow(w *fixture) *heldStore {
	return &heldStore{w.store, make(chan access.Hash, 1024), make(chan struct{})}
}

func TestInventedKeysAreReadInBoundedNumber(t *testing.T) {
	const most = 256
	w := newFixture(t)
	known, _ := w.key(w.environment("Acme", true))
	store := newSlow(w)
	close(store.release)
	s := w.another(store)
	if _, err := s.Authenticate(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	<-store.arrived
	store.release = make(chan struct{})
	var all sync.WaitGroup
	for i := range most {
		all.Go(func() {
			if _, err := s.Authenticate(t.Context(), fmt.Sprintf("sk_live_INVENTED%d", i)); !errors.Is(err, access.ErrUnauthorized) {
				t.Errorf("Authenticate = %v; want %v", err, access.ErrUnauthorized)
			}
		})
	}
	for range most {
		<-store.arrived
	}
	if _, err := s.Authenticate(t.Context(), "sk_live_ONEMORE"); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("Authenticate = %v; want %v", err, mfa.ErrUnavailable)
	}
	if _, err := s.Authenticate(t.Context(), known); err != nil {
		t.Errorf("Authenticate of a key that was read before = %v", err)
	}
	close(store.release)
	all.Wait()
	if _, err := s.Authenticate(t.Context(), "sk_live_ONEMORE"); !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("Authenticate = %v; want %v", err, access.ErrUnauthorized)
	}
}

// The first of many requests reads the key for all of them. If its client leaves,
// another one reads it.
func TestRequestsWithOneUnknownKeyShareARead(t *testing.T) {
	w := newFixture(t)
	text, key := w.key(w.environment("Acme", true))
	store := newSlow(w)
	s := w.another(store)
	ctx, leave := context.WithCancel(t.Context())
	var first, others sync.WaitGroup
	first.Go(func() {
		if _, err := s.Authenticate(ctx, text); !errors.Is(err, context.Canceled) {
			t.Errorf("Authenticate = %v; want %v", err, context.Canceled)
		}
	})
	<-store.arrived
	for range 500 {
		others.Go(func() {
			if k, err := s.Authenticate(t.Context(), text); err != nil || k.ID != key.ID {
				t.Errorf("Authenticate = %v, %v; want %v", k.ID, err, key.ID)
			}
		})
	}
	leave()
	first.Wait()
	<-store.arrived
	close(store.release)
	others.Wait()
	if n := len(store.arrived); n > 0 {
		t.Errorf("the key was read %d times more", n)
	}
}
