package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Store keeps named values; see transfer.Store.
type Store interface {
	Meta(ctx context.Context, name string) ([]byte, error)
	SwapMeta(ctx context.Context, name string, old, value []byte) (bool, error)
	DeleteMeta(ctx context.Context, name string) error
}

// Prefix begins the names of all values.
const Prefix = "acme "

// The names of the values. The order of a domain is stored as JSON; the others are sealed. Each authority
// has its own: a change from one for tests to another brings an order at once.
func (r records) accountName() string { return Prefix + "account " + r.directory }
func (r records) certificateName(domain string) string {
	return Prefix + "certificate " + domain + " " + r.directory
}
func (r records) tokenName(domain string) string {
	return Prefix + "token " + domain + " " + r.directory
}
func (r records) orderName(domain string) string {
	return Prefix + "order " + domain + " " + r.directory
}

// records reads and writes the values.
type records struct {
	store     Store
	keys      func() *secret.Keyset
	directory string // of the authority
}

// sealed returns a sealed value, or nil.
func (r records) sealed(ctx context.Context, name string) ([]byte, error) {
	value, err := r.store.Meta(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	return value, nil
}

// put seals a value and stores it in place of old. It reports whether old was still stored.
func (r records) put(ctx context.Context, name string, old, plain []byte) (sealed []byte, done bool, err error) {
	if sealed, err = r.keys().Seal(plain, []byte(name)); err != nil {
		return nil, false, err
	}
	if done, err = r.store.SwapMeta(ctx, name, old, sealed); err != nil {
		return nil, false, fmt.Errorf("store %q: %w", name, err)
	}
	return sealed, done, nil
}

// replace is put in place of any value.
func (r records) replace(ctx context.Context, name string, plain []byte) (sealed []byte, err error) {
	for range 10 {
		old, err := r.sealed(ctx, name)
		if err != nil {
			return nil, err
		}
		if sealed, done, err := r.put(ctx, name, old, plain); err != nil || done {
			return sealed, err
		}
	}
	return nil, fmt.Errorf("store %q: other nodes change it all the time", name)
}

// Reseal seals the value with a name under the newest key. A value that cannot be opened stays: a
// certificate is ordered in its place, and an order is not sealed.
func Reseal(ctx context.Context, store Store, keys *secret.Keyset, name string) error {
	r := records{store: store, keys: func() *secret.Keyset { return keys }}
	sealed, err := r.sealed(ctx, name)
	if err != nil || sealed == nil || !keys.Stale(sealed) {
		return err
	}
	plain, err := keys.Open(sealed, []byte(name))
	if errors.Is(err, secret.ErrOpen) {
		return nil
	}
	if err != nil {
		return err
	}
	_, _, err = r.put(ctx, name, sealed, plain)
	return err
}

// remove deletes a value if it is still the given one.
func (r records) remove(ctx context.Context, name string, sealed []byte) error {
	if now, err := r.sealed(ctx, name); err != nil || !bytes.Equal(now, sealed) {
		return err
	}
	return r.store.DeleteMeta(ctx, name)
}

// open returns a sealed certificate with its key.
func (r records) open(name string, sealed []byte) (*tls.Certificate, error) {
	plain, err := r.keys().Open(sealed, []byte(name))
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	c, err := tls.X509KeyPair(plain, plain)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	return &c, nil
}

// encode returns a chain and the PKCS #8 form of its key in PEM.
func encode(chain [][]byte, key []byte) []byte {
	var b bytes.Buffer
	for _, der := range chain {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a Buffer has no errors
	}
	pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return b.Bytes()
}

// An order says which node orders a certificate, and when the next order may begin.
type order struct {
	Node     string    `json:"node,omitzero"`
	Until    time.Time `json:"until,omitzero"`    // the end of the lease of Node
	Next     time.Time `json:"next,omitzero"`     // no order begins before
	Failures int       `json:"failures,omitzero"` // of the same kind, in a row
	Refused  bool      `json:"refused,omitzero"`  // the kind: the authority has answered
	Problem  string    `json:"problem,omitzero"`
}

// lease is how long a node may take for an order. A node that has ended keeps others from it as long.
const lease = 5 * time.Minute

// A claim is an order of this node.
type claim struct {
	order
	stored []byte // its JSON
	asked  bool   // the authority was asked to check the domain
}

func (r records) order(ctx context.Context, domain string) (o claim, err error) {
	if o.stored, err = r.sealed(ctx, r.orderName(domain)); err != nil || o.stored == nil {
		return o, err
	}
	if err := json.Unmarshal(o.stored, &o.order); err != nil {
		return o, fmt.Errorf("read %q: %w", r.orderName(domain), err)
	}
	return o, nil
}

// claim gives the order of a domain to a node. It returns nil if another node has it, or if it is too early.
func (r records) claim(ctx context.Context, domain, node string, now time.Time) (*claim, error) {
	o, err := r.order(ctx, domain)
	if err != nil || isAhead(o.Until, now, lease) || isAhead(o.Next, now, mostWait) {
		return nil, err
	}
	mine := claim{order: o.order}
	mine.Node, mine.Until = node, now.Add(lease)
	if mine.stored, err = json.Marshal(mine.order); err != nil {
		return nil, err
	}
	done, err := r.store.SwapMeta(ctx, r.orderName(domain), o.stored, mine.stored)
	if err != nil || !done {
		return nil, err
	}
	return &mine, nil
}

// isAhead reports whether now is before a time that was stored. A time that is further ahead than any node stores
// comes from a clock that was wrong, and does not count.
func isAhead(stored, now time.Time, most time.Duration) bool {
	return now.Before(stored) && stored.Sub(now) <= most
}

// release ends the claim of a node. If the lease has ended and another node has taken the order, it changes nothing.
func (r records) release(ctx context.Context, domain string, c *claim, next order) error {
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	_, err = r.store.SwapMeta(ctx, r.orderName(domain), c.stored, text)
	return err
}

const (
	// mostProblem bounds the stored text of an error.
	mostProblem = 500
	// An authority refuses a domain for an hour after five failed checks (Let's Encrypt), so a refused order waits from
	// two minutes up to an hour. One that did not reach the authority waits less.
	firstRefused, mostRefused         = 2 * time.Minute, time.Hour
	firstUnreachable, mostUnreachable = 5 * time.Second, 10 * time.Minute
	// mostWait bounds every wait: what the authority asks for, and an order after a certificate that is old already.
	mostWait = 24 * time.Hour
	// mostRest bounds the pause after a successful order.
	mostRest = 6 * time.Hour
)

// errOld means that a new certificate is one to renew already: the clock of this machine is ahead.
var errOld = errors.New("the certificate of the authority is old already; is the clock of this machine right?")

// failed returns the order after a failure.
func (c *claim) failed(now time.Time, err error) order {
	o := order{Failures: 1, Refused: refused(err), Problem: err.Error()}
	if o.Refused == c.Refused {
		o.Failures += c.Failures
	}
	if len(o.Problem) > mostProblem {
		o.Problem = strings.ToValidUTF8(o.Problem[:mostProblem], "")
	}
	first, most := firstUnreachable, mostUnreachable
	if o.Refused {
		first, most = firstRefused, mostRefused
	}
	wait := min(first<<min(o.Failures-1, 16), most)
	if after, ok := acme.RateLimit(err); ok {
		wait = max(wait, after)
	}
	if errors.Is(err, errOld) {
		wait = mostWait
	}
	o.Next = now.Add(min(wait, mostWait))
	return o
}

// canceled returns the order after the process was told to end. It says nothing about the next one, unless
// the authority was asked to check the domain: it counts a check that fails.
func (c *claim) canceled(now time.Time) order {
	o := c.order
	o.Node, o.Until = "", time.Time{}
	if c.asked {
		o.Next = now.Add(firstRefused)
	}
	return o
}

// refused reports whether the authority has answered.
func refused(err error) bool {
	if _, ok := errors.AsType[*acme.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*acme.AuthorizationError](err); ok {
		return true
	}
	_, ok := errors.AsType[*acme.OrderError](err)
	return ok
}
