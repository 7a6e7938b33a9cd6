package aws

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
)

// Bounds on the work that unsigned posts can cause: a certificate must be fetched
// before a signature can be checked.
const (
	maxFetches    = 2               // certificates that are fetched at once
	maxWaiting    = 16              // posts that wait for one at once
	maxWait       = 2 * time.Second // of a post; SNS posts again after an error
	fetchTimeout  = 5 * time.Second // for one fetch, which goes on when its posts have given up
	fetchInterval = time.Second     // between the starts of two fetches
	keepError     = 5 * time.Second // a fetch that failed, until it is tried again
	keepMissing   = time.Minute     // that SNS has no such certificate
)

var (
	errCrowded = errors.New("too many certificates of SNS to fetch")
	errSlow    = errors.New("the certificate of SNS did not arrive in time")
)

// certificates keeps the certificates that posts of SNS name. Posts that name the
// same one share its fetch. A certificate is kept until it expires, since its name
// changes with its content, and a failure for a short time.
type certificates struct {
	fetch func(ctx context.Context, path string) (*x509.Certificate, error)
	now   func() time.Time

	mu      sync.Mutex
	all     map[string]*certificateFetch // by path
	running int
	waiting int
	started time.Time // when the last fetch began
}

// A certificateFetch is a fetch and its result, which is there once done is closed.
type certificateFetch struct {
	done  chan struct{}
	cert  *x509.Certificate
	err   error
	until time.Time // when the result is forgotten; zero while it is not there
}

// get returns the certificate at path. It waits for at most maxWait.
func (c *certificates) get(ctx context.Context, path string) (*x509.Certificate, error) {
	f, err := c.find(path)
	if err != nil {
		return nil, err
	}
	select {
	case <-f.done:
		return f.cert, f.err
	default:
	}
	if !c.wait(1) {
		return nil, errCrowded
	}
	defer c.wait(-1)
	patience := time.NewTimer(maxWait)
	defer patience.Stop()
	select {
	case <-f.done:
		return f.cert, f.err
	case <-patience.C:
		return nil, errSlow
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wait counts posts that wait, and reports whether there is room for n more.
func (c *certificates) wait(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting+n > maxWaiting {
		return false
	}
	c.waiting += n
	return true
}

// find returns the fetch of path. It begins one if path has none, or returns
// errCrowded.
func (c *certificates) find(path string) (*certificateFetch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if f := c.all[path]; f != nil && (f.until.IsZero() || now.Before(f.until)) {
		return f, nil
	}
	if c.running >= maxFetches || now.Sub(c.started) < fetchInterval {
		return nil, errCrowded
	}
	for other, f := range c.all { // few: one is added in a second at most
		if !f.until.IsZero() && !now.Before(f.until) {
			delete(c.all, other)
		}
	}
	f := &certificateFetch{done: make(chan struct{})}
	c.all[path] = f
	c.running, c.started = c.running+1, now
	go c.run(path, f)
	return f, nil
}

func (c *certificates) run(path string, f *certificateFetch) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	f.cert, f.err = c.fetch(ctx, path)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	now := c.now()
	switch {
	case f.err == nil && f.cert.NotAfter.After(now):
		f.until = f.cert.NotAfter
	case f.err == nil || errors.Is(f.err, sms.ErrSignature):
		f.until = now.Add(keepMissing)
	default:
		f.until = now.Add(keepError)
	}
	close(f.done)
}
