package access_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// A fixture is a Service over a real store, with a clock that does not move.
type fixture struct {
	*access.Service
	t     testing.TB
	store *sqlite.Store
	path  string
	clock *mfatest.Clock
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	w := &fixture{
		t:     t,
		path:  sqlitetest.Path(t),
		clock: mfatest.NewClock(time.Date(2026, 3, 27, 12, 0, 0, 432_567_891, time.UTC)),
	}
	var err error
	if w.store, err = sqlite.Open(w.path, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	w.Service = access.NewService(w.store, w.clock.Now)
	return w
}

// another returns a Service as on another node, over the given store.
func (w *fixture) another(store access.Store) *access.Service {
	return access.NewService(store, w.clock.Now)
}

func (w *fixture) environment(name string, production bool) mfa.Environment {
	w.t.Helper()
	e, err := w.CreateEnvironment(w.t.Context(), mfa.Caller{}, name, production)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// key returns the text of a new key, and the key.
func (w *fixture) key(e mfa.Environment) (string, access.Key) {
	w.t.Helper()
	text, k, err := w.CreateKey(w.t.Context(), mfa.Caller{Environment: e}, access.KeyParams{})
	if err != nil {
		w.t.Fatal(err)
	}
	return text.Reveal(), k
}

// A faulty store fails to read keys while it is broken, and counts the reads.
type faulty struct {
	access.Store
	broken atomic.Pointer[error]
	reads  atomic.Int32
}

func (s *faulty) fail(err error) {
	if err == nil {
		s.broken.Store(nil)
		return
	}
	s.broken.Store(&err)
}

func (s *faulty) KeyByHash(ctx context.Context, h access.Hash) (access.Key, error) {
	s.reads.Add(1)
	if err := s.broken.Load(); err != nil {
		return access.Key{}, *err
	}
	return s.Store.KeyByHash(ctx, h)
}
