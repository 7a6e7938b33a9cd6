package certs

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Manager obtains the certificates of some domains, renews them, and answers handshakes. It is
// safe for concurrent use.
type Manager struct {
	records records
	opts    Options
	node    string // names this Manager in leases

	current atomic.Pointer[map[string]*held]

	mu         sync.Mutex
	tokens     map[string]*tls.Certificate // the answers to challenges of this node, by domain
	states     map[string]State
	unreadable map[string][]byte // stored certificates that the log has named

	reading sync.Mutex // one read of a token follows another
	reads   map[string]tokenRead
}

// Options say which certificates a Manager obtains, and from which authority.
type Options struct {
	Domains   []string // lower case, without a trailing dot; at least one
	Email     string   // to which the authority may write; may be empty
	Directory string   // the URL of the authority; default LetsEncrypt
	Keys      func() *secret.Keyset
	Ready     func() error     // an error, such as a wrong clock, pauses all work; default nil
	Client    *http.Client     // speaks to the authority; default http.DefaultClient
	UserAgent string           // of requests to the authority
	Now       func() time.Time // default time.Now
	Logger    *slog.Logger     // default slog.Default()
}

// LetsEncrypt is the directory of Let's Encrypt.
const LetsEncrypt = acme.LetsEncryptURL

// Protocol is the protocol of a handshake with which the authority checks a domain (RFC 8737).
// The listener at port 443 must offer it.
const Protocol = acme.ALPNProto

// A held is a certificate in memory.
type held struct {
	sealed      []byte // as stored
	certificate *tls.Certificate
}

// A State describes the certificate of a domain.
type State struct {
	Domain    string
	NotAfter  time.Time // of the certificate; zero before the first one
	NextTry   time.Time // no order begins before
	Failures  int       // orders that failed since the last certificate
	Problem   string    // of the last order; "" if it succeeded
	OrderedBy string    // the node that orders now; "" if none does
}

// New returns a Manager for the certificates in a store.
func New(store Store, opts Options) *Manager {
	opts.Now = wallclock.Or(opts.Now)
	if opts.Directory == "" {
		opts.Directory = LetsEncrypt
	}
	if opts.Client == nil {
		opts.Client = http.DefaultClient
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Ready == nil {
		opts.Ready = func() error { return nil }
	}
	m := &Manager{
		records: records{store, opts.Keys, opts.Directory}, opts: opts, node: rand.Text(),
		tokens: make(map[string]*tls.Certificate), states: make(map[string]State), unreadable: make(map[string][]byte), reads: make(map[string]tokenRead),
	}
	m.current.Store(&map[string]*held{})
	return m
}

const (
	// most is the longest pause between two looks at the store, so a certificate that another node has obtained
	// is used soon.
	most = time.Minute
	// impatient is the pause while a domain has no certificate.
	impatient = 2 * time.Second
	// looks is the least number of looks at the store in the lifetime of a certificate.
	looks = 60
)

// Run obtains and renews certificates until ctx ends. Each domain has a goroutine, so an order that
// takes minutes delays no other domain.
func (m *Manager) Run(ctx context.Context) {
	var domains sync.WaitGroup
	for _, domain := range m.opts.Domains {
		domains.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-ctx.Done():
				case <-time.After(m.visit(ctx, domain)):
				}
			}
		})
	}
	domains.Wait()
}

// visit looks after a domain once, and returns how long to wait before the next visit.
func (m *Manager) visit(ctx context.Context, domain string) time.Duration {
	if err := m.opts.Ready(); err != nil {
		return impatient // the server says why
	}
	if err := m.look(ctx, domain); err != nil && ctx.Err() == nil {
		m.opts.Logger.Warn("look after a certificate", "domain", domain, "error", err)
	}
	have := (*m.current.Load())[domain]
	if have == nil {
		return impatient
	}
	return min(most, max(lifetime(have.certificate)/looks, time.Second))
}

// look takes the certificate of a domain from the store, and orders a new one if it is time and no
// other node does.
func (m *Manager) look(ctx context.Context, domain string) error {
	if err := m.load(ctx, domain); err != nil {
		return err
	}
	now := m.opts.Now()
	have := (*m.current.Load())[domain]
	if have != nil && now.Before(renewAt(have.certificate)) {
		m.setState(ctx, domain)
		return nil
	}
	claimed, err := m.records.claim(ctx, domain, m.node, now)
	m.setState(ctx, domain)
	if err != nil || claimed == nil {
		return err
	}
	// Another node may have obtained one between the two reads.
	if err := m.load(ctx, domain); err != nil {
		return err
	}
	if newer := (*m.current.Load())[domain]; newer != have && now.Before(renewAt(newer.certificate)) {
		return m.records.release(ctx, domain, claimed, order{Next: claimed.Next})
	}
	return m.renew(ctx, domain, claimed)
}

func lifetime(c *tls.Certificate) time.Duration { return c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) }

// renewAt is when two thirds of the lifetime of a certificate have passed.
func renewAt(c *tls.Certificate) time.Time {
	return c.Leaf.NotBefore.Add(lifetime(c) / 3 * 2)
}

// renew orders a certificate, for which this node has the lease, and stores it.
func (m *Manager) renew(ctx context.Context, domain string, claimed *claim) error {
	m.opts.Logger.Info("ordering a certificate", "domain", domain, "directory", m.opts.Directory)
	work, cancel := context.WithTimeout(ctx, lease*4/5)
	defer cancel()
	sealed, c, err := m.obtain(work, domain, claimed)
	settled := context.WithoutCancel(ctx) // the lease ends also if the process does
	if err != nil && ctx.Err() != nil {
		return m.records.release(settled, domain, claimed, claimed.canceled(m.opts.Now()))
	}
	if err != nil {
		next := claimed.failed(m.opts.Now(), err)
		m.opts.Logger.Error("a certificate could not be obtained", "domain", domain, "error", err, "next_try", next.Next.UTC())
		err = m.records.release(settled, domain, claimed, next)
		m.setState(settled, domain)
		return err
	}
	m.hold(domain, sealed, c)
	// An authority issues only a few certificates for a domain in a week, also if the clock is wrong.
	err = m.records.release(settled, domain, claimed, order{Next: m.opts.Now().Add(min(lifetime(c)/10, mostRest))})
	m.setState(settled, domain)
	return err
}

// load takes the certificate of a domain from the store, if it is not the one in memory.
func (m *Manager) load(ctx context.Context, domain string) error {
	sealed, err := m.records.sealed(ctx, m.records.certificateName(domain))
	if err != nil {
		return err
	}
	if have := (*m.current.Load())[domain]; sealed == nil || have != nil && slices.Equal(have.sealed, sealed) {
		return nil
	}
	c, err := m.records.open(m.records.certificateName(domain), sealed)
	if errors.Is(err, secret.ErrOpen) {
		m.mu.Lock()
		known := slices.Equal(m.unreadable[domain], sealed)
		m.unreadable[domain] = sealed
		m.mu.Unlock()
		if !known {
			m.opts.Logger.Warn("the stored certificate cannot be read with this keyset; a new one is ordered", "domain", domain)
		}
		return nil
	}
	if err != nil {
		return err
	}
	m.hold(domain, sealed, c)
	return nil
}

// hold makes a certificate the one of its domain.
func (m *Manager) hold(domain string, sealed []byte, c *tls.Certificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := maps.Clone(*m.current.Load())
	before := all[domain]
	all[domain] = &held{sealed, c}
	m.current.Store(&all)
	if before == nil || !before.certificate.Leaf.Equal(c.Leaf) {
		m.opts.Logger.Info("using a certificate", "domain", domain, "serial", c.Leaf.SerialNumber.Text(16), "not_after", c.Leaf.NotAfter.UTC())
	}
}

// Get returns the certificate for a handshake; see tls.Config.GetCertificate. A handshake that
// names no domain, or localhost as checks of the health do, gets the certificate of the first one. Only a handshake with which the authority checks
// a domain waits for the store.
func (m *Manager) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	domain := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if domain == "" || domain == "localhost" {
		domain = m.opts.Domains[0]
	}
	if !slices.Contains(m.opts.Domains, domain) {
		return nil, fmt.Errorf("%q is not one of the domains of this server", domain)
	}
	if slices.Contains(hello.SupportedProtos, Protocol) {
		return m.token(hello.Context(), domain)
	}
	if have := (*m.current.Load())[domain]; have != nil {
		return have.certificate, nil
	}
	return nil, fmt.Errorf("there is no certificate for %s yet", domain)
}

// A tokenRead is the result of a read of a token, which may be an error.
type tokenRead struct {
	at          time.Time
	certificate *tls.Certificate
	err         error
}

// tokenAge is how long the result of a read is used. Strangers can claim to be the
// authority: their handshakes cause one read in this time.
const tokenAge = 500 * time.Millisecond

// token returns the answer to a challenge, which this node or another has put into the store.
func (m *Manager) token(ctx context.Context, domain string) (*tls.Certificate, error) {
	m.mu.Lock()
	c := m.tokens[domain]
	m.mu.Unlock()
	if c != nil {
		return c, nil
	}
	m.reading.Lock()
	defer m.reading.Unlock()
	if r, ok := m.reads[domain]; ok && time.Since(r.at) < tokenAge {
		return r.certificate, r.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // others use the result
	defer cancel()
	c, err := m.readToken(ctx, domain)
	m.reads[domain] = tokenRead{time.Now(), c, err}
	return c, err
}

func (m *Manager) readToken(ctx context.Context, domain string) (*tls.Certificate, error) {
	name := m.records.tokenName(domain)
	sealed, err := m.records.sealed(ctx, name)
	if err != nil {
		return nil, err
	}
	if sealed == nil {
		return nil, fmt.Errorf("no certificate is being ordered for %s", domain)
	}
	return m.records.open(name, sealed)
}

// setState remembers the state of a domain, for States.
func (m *Manager) setState(ctx context.Context, domain string) {
	s := State{Domain: domain}
	if o, err := m.records.order(ctx, domain); err == nil {
		s.NextTry, s.Failures, s.Problem = o.Next, o.Failures, o.Problem
		if m.opts.Now().Before(o.Until) {
			s.OrderedBy = o.Node
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[domain] = s
}

// States returns the states of all domains, as of the last look.
func (m *Manager) States() []State {
	all := *m.current.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	states := make([]State, len(m.opts.Domains))
	for i, domain := range m.opts.Domains {
		states[i] = m.states[domain]
		states[i].Domain = domain
		if have := all[domain]; have != nil {
			states[i].NotAfter = have.certificate.Leaf.NotAfter
		}
	}
	return states
}

// Names returns the names of the values that Stored reads.
func Names(directory, domain string) []string {
	r := records{directory: directory}
	return []string{r.certificateName(domain), r.orderName(domain)}
}

// Stored describes the certificate of a domain without a Manager, from the values of Names. A missing value is nil.
func Stored(values map[string][]byte, keys *secret.Keyset, directory, domain string) (State, error) {
	r := records{keys: func() *secret.Keyset { return keys }, directory: directory}
	state := State{Domain: domain}
	if text := values[r.orderName(domain)]; text != nil {
		var o order
		if err := json.Unmarshal(text, &o); err != nil {
			return state, fmt.Errorf("read %q: %w", r.orderName(domain), err)
		}
		state.NextTry, state.Failures, state.Problem = o.Next, o.Failures, o.Problem
	}
	name := r.certificateName(domain)
	if values[name] == nil {
		return state, nil
	}
	c, err := r.open(name, values[name])
	if err != nil {
		return state, err
	}
	state.NotAfter = c.Leaf.NotAfter
	return state, nil
}
