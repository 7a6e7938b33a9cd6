package access_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestAuthenticateRefusesMalformedKeys(t *testing.T) {
	w := newFixture(t)
	env := w.environment("Acme Test", false)
	text, _ := w.key(env)
	other, _ := w.key(env)
	for name, given := range map[string]string{
		"empty":             "",
		"only a prefix":     "sk_test_",
		"never made":        "sk_test_AAAAAAAAAAAAAAAAAAAAAAAAAA",
		"of the other kind": strings.Replace(text, "sk_test_", "sk_live_", 1),
		"lower case":        "sk_test_" + strings.ToLower(text[8:]),
		"space behind":      text + " ",
		"last one missing":  text[:len(text)-1],
		"without a prefix":  text[8:],
		"with Bearer":       "Bearer " + text,
		"two keys":          text + other,
		"NUL behind":        text + "\x00",
		"huge":              "sk_test_" + strings.Repeat("A", 1<<20),
	} {
		for range 2 { // a refusal is not remembered as anything else
			if k, err := w.Authenticate(t.Context(), given); !errors.Is(err, access.ErrUnauthorized) || k != (access.Key{}) {
				t.Errorf("Authenticate of a text %s = %+v, %v; want %v", name, k, err, access.ErrUnauthorized)
			}
		}
	}
	if _, err := w.Authenticate(t.Context(), text); err != nil {
		t.Errorf("Authenticate = %v", err)
	}
}

func TestKeyOpensItsOwnEnvironment(t *testing.T) {
	w := newFixture(t)
	for _, env := range []struct {
		name       string
		production bool
	}{{"Acme Test", false}, {"Acme", true}, {"Zebra", true}} {
		e := w.environment(env.name, env.production)
		text, _ := w.key(e)
		for _, s := range []*access.Service{w.Service, w.another(w.store)} {
			if k, err := s.Authenticate(t.Context(), text); err != nil || k.Environment != e {
				t.Errorf("Authenticate = %+v, %v; want a key of %+v", k, err, e)
			}
		}
	}
}

func TestNewKeyIsGoodAtOnceEverywhere(t *testing.T) {
	w := newFixture(t)
	env := w.environment("Acme", true)
	other := w.another(w.store)
	if _, err := other.Authenticate(t.Context(), "sk_live_AAAAAAAAAAAAAAAAAAAAAAAAAA"); !errors.Is(err, access.ErrUnauthorized) {
		t.Fatal(err)
	}
	text, _ := w.key(env)
	if _, err := other.Authenticate(t.Context(), text); err != nil {
		t.Errorf("Authenticate = %v", err)
	}
}

func TestRevocationIsFeltWithin5s(t *testing.T) {
	w := newFixture(t)
	text, k := w.key(w.environment("Acme", true))
	other := w.another(w.store)
	if _, err := other.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if err := w.Revoke(t.Context(), mfa.Caller{}, k.ID); err != nil {
		t.Fatal(err)
	}
	for range 50 { // a busy node, with a request every 100 ms
		w.clock.Advance(100 * time.Millisecond)
		if _, err := other.Authenticate(t.Context(), text); errors.Is(err, access.ErrUnauthorized) {
			break
		}
	}
	for range 3 {
		if _, err := other.Authenticate(t.Context(), text); !errors.Is(err, access.ErrUnauthorized) {
			t.Errorf("Authenticate 5 s after the revocation = %v; want %v", err, access.ErrUnauthorized)
		}
		w.clock.Advance(time.Hour)
	}
}

func TestRevocationIsFeltByAnIdleNode(t *testing.T) {
	w := newFixture(t)
	text, k := w.key(w.environment("Acme", true))
	other := w.another(w.store)
	if _, err := other.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if err := w.Revoke(t.Context(), mfa.Caller{}, k.ID); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(5 * time.Second)
	if _, err := other.Authenticate(t.Context(), text); !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("Authenticate = %v; want %v", err, access.ErrUnauthorized)
	}
}

func TestStoreOutage(t *testing.T) {
	w := newFixture(t)
	text, k := w.key(w.environment("Acme", true))
	store := &faulty{Store: w.store}
	s := w.another(store)
	if _, err := s.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	down := errors.New("store down")
	store.fail(down)
	for _, tc := range []struct {
		name  string
		after time.Duration // since the key was read
		want  error
	}{
		{"at once", 0, nil},
		{"when it is to be read again", 2 * time.Second, nil},
		{"in the last millisecond", 5*time.Second - time.Millisecond, nil},
		{"after 5 s", 5 * time.Second, down},
		{"an hour later", time.Hour, down},
	} {
		start := w.clock.Now()
		w.clock.Advance(tc.after)
		for range 3 {
			got, err := s.Authenticate(t.Context(), text)
			if !errors.Is(err, tc.want) || errors.Is(err, access.ErrUnauthorized) {
				t.Errorf("%s: Authenticate = %v; want %v", tc.name, err, tc.want)
			}
			if err == nil && got != k {
				t.Errorf("%s: key is %+v; want %+v", tc.name, got, k)
			}
		}
		w.clock.Advance(start.Sub(w.clock.Now()))
	}
	fresh, _ := w.key(k.Environment)
	if _, err := s.Authenticate(t.Context(), fresh); !errors.Is(err, down) {
		t.Errorf("Authenticate of a key never read = %v; want %v", err, down)
	}
	store.fail(nil)
	w.clock.Advance(time.Hour)
	for _, text := range []string{text, fresh} {
		if _, err := s.Authenticate(t.Context(), text); err != nil {
			t.Errorf("Authenticate after the outage = %v", err)
		}
	}
}

// Once a revocation was felt, an outage does not bring the key back.
func TestRevokedKeyStaysRevokedInAnOutage(t *testing.T) {
	w := newFixture(t)
	text, k := w.key(w.environment("Acme", true))
	store := &faulty{Store: w.store}
	s := w.another(store)
	if _, err := s.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if err := w.Revoke(t.Context(), mfa.Caller{}, k.ID); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(2 * time.Second)
	if _, err := s.Authenticate(t.Context(), text); !errors.Is(err, access.ErrUnauthorized) {
		t.Fatalf("Authenticate = %v; want %v", err, access.ErrUnauthorized)
	}
	store.fail(errors.New("store down"))
	if _, err := s.Authenticate(t.Context(), text); err == nil {
		t.Error("a revoked key is honoured while the store is down")
	}
}

// A clock that was set back must not make keys read in its future look fresh.
func TestClockThatIsSetBack(t *testing.T) {
	w := newFixture(t)
	text, k := w.key(w.environment("Acme", true))
	other := w.another(w.store)
	if _, err := other.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if err := w.Revoke(t.Context(), mfa.Caller{}, k.ID); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(-time.Hour)
	if _, err := other.Authenticate(t.Context(), text); !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("Authenticate = %v; want %v", err, access.ErrUnauthorized)
	}
}

func TestBusyKeyIsReadRarely(t *testing.T) {
	w := newFixture(t)
	text, _ := w.key(w.environment("Acme", true))
	store := &faulty{Store: w.store}
	s := w.another(store)
	for range 600 { // a minute
		w.clock.Advance(100 * time.Millisecond)
		if _, err := s.Authenticate(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if n := store.reads.Load(); n < 12 || n > 31 {
		t.Errorf("in a minute the key was read %d times; want once every 2 to 5 s", n)
	}
}

func TestOneRequestReadsWhileTheOthersGoOn(t *testing.T) {
	w := newFixture(t)
	text, k := w.key(w.environment("Acme", true))
	store := &slow{Store: w.store, entered: make(chan struct{}), leave: make(chan struct{})}
	s := w.another(store)
	if _, err := s.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(3 * time.Second)
	store.once.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.Authenticate(t.Context(), text); !errors.Is(err, access.ErrUnauthorized) {
			t.Errorf("Authenticate of who read = %v; want %v, as it was revoked meanwhile", err, access.ErrUnauthorized)
		}
	})
	<-store.entered
	for range 64 {
		if _, err := s.Authenticate(t.Context(), text); err != nil {
			t.Errorf("Authenticate meanwhile = %v", err)
		}
	}
	if n := store.reads.Load(); n != 2 {
		t.Errorf("the key was read %d times; want 2", n)
	}
	if err := w.Revoke(t.Context(), mfa.Caller{}, k.ID); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(2 * time.Second) // 5 s since the last read that came back
	if _, err := s.Authenticate(t.Context(), text); !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("Authenticate = %v; want %v, however long another read takes", err, access.ErrUnauthorized)
	}
	close(store.leave)
	wg.Wait()
}

// A slow store holds up the next read of a key once it is told to.
type slow struct {
	access.Store
	once           atomic.Bool
	reads          atomic.Int32
	entered, leave chan struct{}
}

func (s *slow) KeyByHash(ctx context.Context, h access.Hash) (access.Key, error) {
	s.reads.Add(1)
	if s.once.CompareAndSwap(true, false) {
		s.entered <- struct{}{}
		<-s.leave
	}
	return s.Store.KeyByHash(ctx, h)
}

func TestAuthenticateConcurrently(t *testing.T) {
	w := newFixture(t)
	env := w.environment("Acme", true)
	good, _ := w.key(env)
	bad, k := w.key(env)
	store := &faulty{Store: w.store}
	s := w.another(store)
	if _, err := s.Authenticate(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	if err := w.Revoke(t.Context(), mfa.Caller{}, k.ID); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(5 * time.Second)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				if _, err := s.Authenticate(t.Context(), good); err != nil {
					t.Errorf("Authenticate of a good key = %v", err)
				}
				if _, err := s.Authenticate(t.Context(), bad); !errors.Is(err, access.ErrUnauthorized) {
					t.Errorf("Authenticate of a revoked key = %v; want %v", err, access.ErrUnauthorized)
				}
				if _, err := s.Authenticate(t.Context(), "sk_live_nobody"); !errors.Is(err, access.ErrUnauthorized) {
					t.Errorf("Authenticate of no key = %v; want %v", err, access.ErrUnauthorized)
				}
				w.clock.Advance(10 * time.Millisecond)
			}
		})
	}
	wg.Wait()
}

func TestForgetMakesEveryKeyBeReadAgain(t *testing.T) {
	w := newFixture(t)
	text, k := w.key(w.environment("Acme", true))
	other := w.another(w.store)
	if _, err := other.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if err := w.Revoke(t.Context(), mfa.Caller{}, k.ID); err != nil {
		t.Fatal(err)
	}
	other.Forget()
	if _, err := other.Authenticate(t.Context(), text); !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("Authenticate = %v; want %v", err, access.ErrUnauthorized)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	w := newFixture(b)
	text, _ := w.key(w.environment("Acme", true))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Authenticate(b.Context(), text); err != nil {
			b.Fatal(err)
		}
	}
}
