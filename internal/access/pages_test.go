package access_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A slowPages counts the reads of environments and waits in each until gate is closed.
type slowPages struct {
	access.Store
	reads atomic.Int32
	gate  chan struct{}
	err   error
}

func (s *slowPages) Environments(ctx context.Context) ([]mfa.Environment, error) {
	s.reads.Add(1)
	<-s.gate
	if s.err != nil {
		return nil, s.err
	}
	return s.Store.Environments(ctx)
}

func (w *fixture) set(e mfa.Environment, changes map[string]string) {
	w.t.Helper()
	if _, err := w.ChangeSettings(w.t.Context(), mfa.Caller{Environment: e}, changes); err != nil {
		w.t.Fatal(err)
	}
}

func TestPagesOfADomain(t *testing.T) {
	w := newFixture(t)
	one, two := w.environment("one", true), w.environment("two", false)
	w.environment("without settings", false)
	mobile, test := w.environment("mobile", true), w.environment("test", false)
	w.set(mobile, map[string]string{"webauthn_rp_id": "example.net", "webauthn_origins": "android:apk-key-hash:2jmj7l5rSw0yVb_vlWAYkK_YBwk2jmj7l5rSw0yVb_s"})
	w.set(test, map[string]string{"webauthn_rp_id": "example.net", "webauthn_origins": "https://example.net"})
	three := w.environment("three", true)
	w.set(three, map[string]string{"webauthn_rp_id": "example.com", "webauthn_origins": "https://example.ch"})
	for name, page := range map[string]string{"sandbox one": "https://one.example.info", "sandbox two": "https://two.example.info"} {
		w.set(w.environment(name, false), map[string]string{"webauthn_rp_id": "example.info", "webauthn_origins": page})
	}
	w.set(one, map[string]string{"webauthn_rp_id": "example.com", "webauthn_origins": "https://example.de,https://example.com,android:apk-key-hash:2jmj7l5rSw0yVb_vlWAYkK_YBwk2jmj7l5rSw0yVb_s"})
	w.set(two, map[string]string{"webauthn_rp_id": "example.com", "webauthn_origins": "http://localhost:3000,https://example.com,https://example.at"})
	other := w.environment("other", true)
	w.set(other, map[string]string{"webauthn_rp_id": "example.org"})
	for domain, want := range map[string][]string{
		"example.com":  {"https://example.ch", "https://example.com", "https://example.de"}, // not that of the sandbox
		"example.org":  {"https://example.org"},                                             // the default
		"example.info": {"https://one.example.info", "https://two.example.info"},            // only sandboxes
	} {
		if got, err := w.PasskeyPages(t.Context(), domain); err != nil || !slices.Equal(got, want) {
			t.Errorf("the pages of %s are %q, %v; want %q", domain, got, err, want)
		}
	}
	for _, domain := range []string{"", "localhost", "example.de", "login.example.com", "com", "example.net"} {
		if got, err := w.PasskeyPages(t.Context(), domain); !errors.Is(err, access.ErrNoPages) {
			t.Errorf("the pages of %q are %q, %v", domain, got, err)
		}
	}
	w.set(other, map[string]string{"webauthn_rp_id": ""})
	w.clock.Advance(5 * time.Second)
	if got, err := w.PasskeyPages(t.Context(), "example.org"); !errors.Is(err, access.ErrNoPages) {
		t.Errorf("after a change the pages are %q, %v", got, err)
	}
}

func TestPagesAreReadOnceForAllRequests(t *testing.T) {
	w := newFixture(t)
	w.set(w.environment("one", true), map[string]string{"webauthn_rp_id": "example.com"})
	store := &slowPages{Store: w.store, gate: make(chan struct{})}
	s := w.another(store)

	// The first client goes away during the read, which continues for the others.
	gone, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	ask := func(ctx context.Context) {
		all.Go(func() {
			if got, err := s.PasskeyPages(ctx, "example.com"); err != nil || len(got) != 1 {
				t.Errorf("the pages are %q, %v", got, err)
			}
		})
	}
	ask(gone)
	for store.reads.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	leave()
	for range 20 {
		ask(t.Context())
	}
	// A client that goes away while it waits is not kept.
	if _, err := s.PasskeyPages(gone, "example.com"); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled request: %v", err)
	}
	close(store.gate)
	all.Wait()
	if n := store.reads.Load(); n != 1 {
		t.Errorf("the environments were read %d times", n)
	}
}

func TestPagesAfterAFailedRead(t *testing.T) {
	w := newFixture(t)
	w.set(w.environment("one", true), map[string]string{"webauthn_rp_id": "example.com"})
	store := &slowPages{Store: w.store, gate: make(chan struct{}), err: errors.New("no connection")}
	close(store.gate)
	s := w.another(store)
	for range 10 {
		if _, err := s.PasskeyPages(t.Context(), "example.com"); !errors.Is(err, store.err) {
			t.Errorf("a failed read: %v", err)
		}
	}
	if n := store.reads.Load(); n != 1 {
		t.Errorf("the environments were read %d times in one moment", n)
	}
	store.err = nil
	w.clock.Advance(2 * time.Second)
	if got, err := s.PasskeyPages(t.Context(), "example.com"); err != nil || len(got) != 1 {
		t.Errorf("later the pages are %q, %v", got, err)
	}
}
