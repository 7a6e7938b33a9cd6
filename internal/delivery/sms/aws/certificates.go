package aws

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
)

// Bounds on the work that unsigned posts can cause. A signature can be checked only after
// its certificate was fetched.
const (
	maxFetches    = 2               // certificates fetched at the same time
	maxWaiting    = 16              // posts that wait for a certificate at the same time
	maxWait       = 2 * time.Second // of a post; SNS repeats a post after an error
	fetchTimeout  = 5 * time.Second // of a fetch, which continues after its posts gave up
	fetchInterval = time.Second     // between the starts of two fetches
	keepError     = 5 * time.Second // how long a failed fetch is not repeated
	keepMissing   = time.Minute     // how long a missing certificate is not fetched again
)

var (
	errCrowded = errors.New("too many certificates of SNS to fetch")
	errSlow    = errors.New("the certificate of SNS did not arrive in time")
)

// certificates is a cache of the certificates that posts of SNS name. Posts that name the
// same certificate share one fetch. A certificate is kept until it expires, because its
// name changes with its content. A failure is kept for a short time.
type certificates struct {
	fetch func(ctx context.Context, path string) (*x509.Certificate, error)
	now   func() time.Time

	mu      sync.Mutex
	all     map[string]*certificateFetch // by path
	running int
	waiting int
	started time.Time // when the last fetch began
}

// A certificateFetch is a fetch and its result, which may be read after done is closed.
type certificateFetch struct {
	done  chan struct{}
	cert  *x509.Certificate
	err   error
	until time.Time // expiry of the result; zero during the fetch
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

// wait adds n to the number of waiting posts, or reports false if that is too many.
func (c *certificates) wait(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting+n > maxWaiting {
		return false
	}
	c.waiting += n
	return true
}

// find returns the fetch of path. It starts a fetch if path has no result, or returns
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
	for other, f := range c.all { // few entries: at most one is added in a second
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
