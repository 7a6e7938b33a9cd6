package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// A memory is a Store.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

func newMemory() *memory { return &memory{values: make(map[string][]byte)} }

func (m *memory) Meta(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values[name], nil
}

func (m *memory) SwapMeta(_ context.Context, name string, old, value []byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have, ok := m.values[name]
	if ok != (old != nil) || !bytes.Equal(have, old) {
		return false, nil
	}
	m.values[name] = value
	return true, nil
}

func (m *memory) DeleteMeta(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, name)
	return nil
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const domain = "mfa.example.com"

// A fixture is a Manager with a clock that a test moves.
type fixture struct {
	*Manager
	store *memory
	keys  *secret.Keyset
	now   time.Time
}

func newFixture(t *testing.T, store *memory, keys *secret.Keyset) *fixture {
	t.Helper()
	f := &fixture{store: store, keys: keys, now: noon}
	f.Manager = New(store, Options{
		Domains: []string{domain, "b.example.com"}, Keys: func() *secret.Keyset { return f.keys }, Now: func() time.Time { return f.now },
		Directory: "https://127.0.0.1:1/dir", Logger: slog.New(slog.DiscardHandler),
	})
	return f
}

func newKeys(t *testing.T) *secret.Keyset {
	t.Helper()
	k, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// pass visits each domain once, and returns the shortest pause.
func (f *fixture) pass(ctx context.Context) time.Duration {
	pause := time.Hour
	for _, domain := range f.opts.Domains {
		pause = min(pause, f.visit(ctx, domain))
	}
	return pause
}

// issue stores a certificate for a name as an authority would issue it.
func (f *fixture) issue(t *testing.T, name string, from, to time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(from.UnixNano()), DNSNames: []string{name}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.keep(t.Context(), name, [][]byte{der}, key); err != nil {
		t.Fatal(err)
	}
}

func TestHandshakesGetTheCertificateOfTheirDomain(t *testing.T) {
	f := newFixture(t, newMemory(), newKeys(t))
	for _, name := range f.opts.Domains {
		f.issue(t, name, noon.Add(-time.Hour), noon.Add(90*24*time.Hour))
	}
	if pause := f.pass(t.Context()); pause != time.Minute {
		t.Errorf("the next pass is after %v", pause)
	}
	for name, want := range map[string]string{
		domain: domain, "MFA.example.com.": domain, "b.example.com": "b.example.com", "": domain, "localhost": domain,
		"other.example.com": "", "com": "", "x.mfa.example.com": "",
	} {
		c, err := f.Get(&tls.ClientHelloInfo{ServerName: name})
		if want == "" {
			if err == nil {
				t.Errorf("%q gets the certificate of %v", name, c.Leaf.DNSNames)
			}
			continue
		}
		if err != nil || c.Leaf.DNSNames[0] != want {
			t.Errorf("%q: %v; want the certificate of %s", name, err, want)
		}
	}
}

func TestNodesUseANewerCertificate(t *testing.T) {
	store, keys := newMemory(), newKeys(t)
	a, b := newFixture(t, store, keys), newFixture(t, store, keys)
	a.issue(t, domain, noon, noon.Add(90*24*time.Hour))
	b.pass(t.Context())
	a.issue(t, domain, noon.Add(time.Hour), noon.Add(91*24*time.Hour))
	b.pass(t.Context())
	if got := b.States()[0]; !got.NotAfter.Equal(noon.Add(91 * 24 * time.Hour)) {
		t.Errorf("the other node has a certificate until %v", got.NotAfter)
	}
}

func TestOneNodeOrdersAtATime(t *testing.T) {
	store := newMemory()
	r := records{store: store}
	var won sync.Map
	var nodes sync.WaitGroup
	for i := range 16 {
		nodes.Go(func() {
			c, err := r.claim(t.Context(), domain, string(rune('a'+i)), noon)
			if err != nil {
				t.Error(err)
			}
			if c != nil {
				won.Store(i, c)
			}
		})
	}
	nodes.Wait()
	var first *claim
	n := 0
	won.Range(func(_, c any) bool { n++; first = c.(*claim); return true })
	if n != 1 {
		t.Fatalf("%d nodes order; want 1", n)
	}
	if c, err := r.claim(t.Context(), domain, "z", noon.Add(lease-1)); c != nil || err != nil {
		t.Errorf("before the end of the lease another node orders: %v", err)
	}
	second, err := r.claim(t.Context(), domain, "z", noon.Add(lease))
	if second == nil || err != nil {
		t.Fatalf("after the end of the lease no node orders: %v", err)
	}
	// The first node comes back late: it must not end the order of the second one.
	if err := r.release(t.Context(), domain, first, order{}); err != nil {
		t.Error(err)
	}
	if c, _ := r.claim(t.Context(), domain, "y", noon.Add(lease+time.Minute)); c != nil {
		t.Error("a late node has ended the order of another")
	}
}

func TestFailuresWait(t *testing.T) {
	refusedBy := &acme.AuthorizationError{Errors: []error{errors.New("no")}}
	var c claim
	for i, want := range []time.Duration{2, 4, 8, 16, 32, 60, 60} {
		o := c.failed(noon, refusedBy)
		if got := o.Next.Sub(noon); got != want*time.Minute || o.Failures != i+1 {
			t.Errorf("after %d refusals the next order is after %v; want %v minutes", o.Failures, got, want)
		}
		c = claim{order: o}
	}
	if o := (&claim{}).failed(noon, errors.New(strings.Repeat("connection refused ", 100))); o.Next.Sub(noon) != 5*time.Second || len(o.Problem) != mostProblem {
		t.Errorf("without an answer: %v, %d bytes", o.Next.Sub(noon), len(o.Problem))
	}
	if o := (&claim{order: order{Failures: 40}}).failed(noon, errors.New("time-out")); o.Next.Sub(noon) != 10*time.Minute {
		t.Errorf("after many failures: %v", o.Next.Sub(noon))
	}
	unreachable := claim{order: order{Failures: 5}}
	if o := unreachable.failed(noon, refusedBy); o.Next.Sub(noon) != 2*time.Minute || o.Failures != 1 {
		t.Errorf("the first refusal after an authority that did not answer: %v, %d in a row", o.Next.Sub(noon), o.Failures)
	}
	forever := &acme.Error{ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: map[string][]string{"Retry-After": {"315360000"}}}
	for _, err := range []error{forever, errOld} {
		if o := (&claim{}).failed(noon, err); o.Next.Sub(noon) != mostWait {
			t.Errorf("after %v the next order is after %v; want %v", err, o.Next.Sub(noon), mostWait)
		}
	}
	limited := &acme.Error{ProblemType: "urn:ietf:params:acme:error:rateLimited", Header: map[string][]string{"Retry-After": {"7200"}}}
	if o := (&claim{}).failed(noon, limited); o.Next.Sub(noon) < 2*time.Hour-time.Minute {
		t.Errorf("after a limit of the authority: %v", o.Next.Sub(noon))
	}
}

func TestAClockThatWasAheadDelaysNoOrder(t *testing.T) {
	for name, stored := range map[string]order{
		"lease": {Node: "a", Until: noon.AddDate(1, 0, 0)},
		"next":  {Next: noon.AddDate(1, 0, 0), Failures: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := records{store: newMemory()}
			first, err := r.claim(t.Context(), domain, "a", noon)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.release(t.Context(), domain, first, stored); err != nil {
				t.Fatal(err)
			}
			if c, err := r.claim(t.Context(), domain, "b", noon); c == nil || err != nil {
				t.Errorf("after the clock was corrected no order begins: %v", err)
			}
		})
	}
}

func TestAWrongClockPausesAllWork(t *testing.T) {
	f := newFixture(t, newMemory(), newKeys(t))
	f.opts.Ready = func() error { return errors.New("the clock is wrong") }
	if pause := f.pass(t.Context()); pause != impatient || len(f.store.values) != 0 {
		t.Errorf("it works with a wrong clock: %d values, the next visit after %v", len(f.store.values), pause)
	}
}

// A slowReader is a Store that counts the reads of tokens.
type slowReader struct {
	*memory
	reads atomic.Int64
}

func (s *slowReader) Meta(ctx context.Context, name string) ([]byte, error) {
	if strings.HasPrefix(name, "acme token ") {
		s.reads.Add(1)
	}
	return s.memory.Meta(ctx, name)
}

func TestStrangersCauseFewReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowReader{memory: newMemory()}
		f := New(store, Options{Domains: []string{domain}, Keys: func() *secret.Keyset { return nil }, Logger: slog.New(slog.DiscardHandler)})
		for range 3 {
			for range 1000 {
				if _, err := f.token(t.Context(), domain); err == nil {
					t.Fatal("a stranger gets a certificate")
				}
			}
			time.Sleep(tokenAge)
		}
		if n := store.reads.Load(); n != 3 {
			t.Errorf("3000 handshakes in three times the age of a read caused %d reads; want 3", n)
		}
	})
}

func TestARestartDoesNotOrderSooner(t *testing.T) {
	store, keys := newMemory(), newKeys(t)
	f := newFixture(t, store, keys)
	f.pass(t.Context()) // nothing listens there
	failed := f.States()[0]
	if failed.Failures != 1 || failed.Problem == "" || !failed.NextTry.After(noon) {
		t.Fatalf("after a failed order: %+v", failed)
	}
	again := newFixture(t, store, keys)
	again.pass(t.Context())
	if got := again.States()[0]; got != failed {
		t.Errorf("a restart orders again: %+v; want %+v", got, failed)
	}
	again.now = failed.NextTry
	again.pass(t.Context())
	if got := again.States()[0]; got.Failures != 2 {
		t.Errorf("when it is time: %+v", got)
	}
}

func TestOnlyAnOrderAnswersTheAuthority(t *testing.T) {
	store, keys := newMemory(), newKeys(t)
	f, other := newFixture(t, store, keys), newFixture(t, store, keys)
	f.issue(t, domain, noon, noon.Add(time.Hour))
	f.pass(t.Context())
	if c, err := f.token(t.Context(), domain); err == nil {
		t.Errorf("without an order the answer is %v", c.Leaf.DNSNames)
	}
	client := &acme.Client{Key: mustKey(t)}
	answer, err := client.TLSALPN01ChallengeCert("token", domain)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(answer.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.records.replace(t.Context(), f.records.tokenName(domain), encode(answer.Certificate, der)); err != nil {
		t.Fatal(err)
	}
	c, err := other.token(t.Context(), domain)
	if err != nil || !bytes.Equal(c.Certificate[0], answer.Certificate[0]) {
		t.Errorf("another node answers %v", err)
	}
}

func mustKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestARotationSealsAgain(t *testing.T) {
	store := newMemory()
	old := newKeys(t)
	f := newFixture(t, store, old)
	f.issue(t, domain, noon, noon.Add(90*24*time.Hour))
	if _, err := f.account(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := rotated(t, old)
	f.keys = next
	if _, err := f.records.claim(t.Context(), domain, "a", noon); err != nil {
		t.Fatal(err)
	}
	orders := bytes.Clone(store.values[f.records.orderName(domain)])
	reseal := func(keys *secret.Keyset) {
		t.Helper()
		for name := range store.values {
			if err := Reseal(t.Context(), store, keys, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	reseal(next)
	if got := store.values[f.records.orderName(domain)]; !bytes.Equal(got, orders) {
		t.Errorf("the order is %s; want %s", got, orders)
	}
	delete(store.values, f.records.orderName(domain))
	for _, name := range []string{f.records.accountName(), f.records.certificateName(domain)} {
		if next.Stale(store.values[name]) {
			t.Errorf("%q is sealed under the old key", name)
		}
	}
	again := newFixture(t, store, next)
	again.pass(t.Context())
	if got := again.States()[0]; got.NotAfter.IsZero() {
		t.Error("after the rotation the certificate cannot be read")
	}
	// A keyset that was lost costs an order, not the service.
	lost := newFixture(t, store, newKeys(t))
	lost.pass(t.Context())
	if got := lost.States()[0]; !got.NotAfter.IsZero() || got.Failures != 1 {
		t.Errorf("with another keyset: %+v", got)
	}
	reseal(lost.keys)
}

func TestAWrongCertificateIsRefused(t *testing.T) {
	f := newFixture(t, newMemory(), newKeys(t))
	key := mustKey(t)
	for name, template := range map[string]*x509.Certificate{
		"another domain": {DNSNames: []string{"other.example.com"}, NotBefore: noon, NotAfter: noon.Add(time.Hour)},
		"expired":        {DNSNames: []string{domain}, NotBefore: noon.Add(-2 * time.Hour), NotAfter: noon},
		"old already":    {DNSNames: []string{domain}, NotBefore: noon.Add(-2 * time.Hour), NotAfter: noon.Add(time.Hour)},
	} {
		template.SerialNumber = big.NewInt(1)
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.keep(t.Context(), domain, [][]byte{der}, key); err == nil {
			t.Errorf("%s: it is kept", name)
		}
	}
	if _, _, err := f.keep(t.Context(), domain, [][]byte{{1, 2, 3}}, key); err == nil {
		t.Error("bytes that are not a certificate are kept")
	}
	if len(f.store.values) != 0 {
		t.Errorf("the store has %d values", len(f.store.values))
	}
}

// rotated returns a keyset with a new primary key and the old one.
func rotated(t *testing.T, k *secret.Keyset) *secret.Keyset {
	t.Helper()
	k, err := k.Add()
	if err == nil {
		k, err = k.Promote()
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAnotherAuthorityIssuesAtOnce(t *testing.T) {
	store, keys := newMemory(), newKeys(t)
	staging := newFixture(t, store, keys)
	staging.issue(t, domain, noon, noon.Add(90*24*time.Hour))
	f := newFixture(t, store, keys)
	f.opts.Directory, f.records.directory = "https://127.0.0.1:1/other", "https://127.0.0.1:1/other"
	f.pass(t.Context())
	if got := f.States()[0]; !got.NotAfter.IsZero() || got.Failures != 1 {
		t.Errorf("with another authority: %+v; want an order, and not the certificate of the first one", got)
	}
	staging.pass(t.Context())
	if got := staging.States()[0]; got.NotAfter.IsZero() || got.Failures != 0 {
		t.Errorf("with the first authority again: %+v", got)
	}
}

func TestAShutdownIsNotAFailedOrder(t *testing.T) {
	store, keys := newMemory(), newKeys(t)
	f := newFixture(t, store, keys)
	c, err := f.records.claim(t.Context(), domain, "node", noon)
	if err != nil || c == nil {
		t.Fatalf("claim = %v, %v", c, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.renew(ended, domain, c); err != nil {
		t.Fatal(err)
	}
	f.setState(t.Context(), domain)
	if got := f.States()[0]; got.Failures != 0 || got.Problem != "" || got.OrderedBy != "" || !got.NextTry.IsZero() {
		t.Errorf("after a shutdown: %+v; want that another node can order at once", got)
	}
	// An authority that was asked counts a check that fails.
	c.asked = true
	if o := c.canceled(noon); o.Next != noon.Add(firstRefused) || o.Node != "" || !o.Until.IsZero() {
		t.Errorf("after a shutdown during the check: %+v", o)
	}
}

func TestStoredCertificatesAreDescribed(t *testing.T) {
	f := newFixture(t, newMemory(), newKeys(t))
	stored := func(keys *secret.Keyset) (State, error) {
		values := make(map[string][]byte)
		for _, name := range Names(f.opts.Directory, domain) {
			values[name], _ = f.store.Meta(t.Context(), name)
		}
		return Stored(values, keys, f.opts.Directory, domain)
	}
	if s, err := stored(f.keys); err != nil || s != (State{Domain: domain}) {
		t.Errorf("without a certificate: %+v, %v", s, err)
	}
	f.pass(t.Context()) // nothing listens there
	if s, err := stored(f.keys); err != nil || s != f.States()[0] || s.Failures != 1 {
		t.Errorf("after a failed order: %+v, %v; want %+v", s, err, f.States()[0])
	}
	f.issue(t, domain, noon, noon.Add(90*24*time.Hour))
	if s, err := stored(f.keys); err != nil || !s.NotAfter.Equal(noon.Add(90*24*time.Hour)) {
		t.Errorf("with a certificate: %+v, %v", s, err)
	}
	if _, err := stored(newKeys(t)); !errors.Is(err, secret.ErrOpen) {
		t.Errorf("with another keyset: %v", err)
	}
}
