package sms

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"time"
)

// Bounds on the work that unsigned posts can cause: a certificate must be fetched
// before a signature can be checked.
const (
	snsFetches   = 2               // certificates that are fetched at once
	snsWaiters   = 16              // posts that wait for one at once
	snsPatience  = 2 * time.Second // of a post; SNS posts again after an error
	snsFetchIn   = 5 * time.Second // for one fetch, which goes on when its posts have given up
	snsPause     = time.Second     // between the starts of two fetches
	snsKeepError = 5 * time.Second // a fetch that failed, until it is tried again
	snsKeepNone  = time.Minute     // that SNS has no such certificate
)

var (
	errSNSCrowded = errors.New("too many certificates of SNS to fetch")
	errSNSSlow    = errors.New("the certificate of SNS did not arrive in time")
)

// snsCertificates keeps the certificates that posts of SNS name. Posts that name the
// same one share its fetch. A certificate is kept until it expires, since its name
// changes with its content, and a failure for a short time.
type snsCertificates struct {
	fetch func(ctx context.Context, path string) (*x509.Certificate, error)
	now   func() time.Time

	mu      sync.Mutex
	all     map[string]*snsFetch // by path
	running int
	waiting int
	started time.Time // when the last fetch began
}

// A snsFetch is a fetch and its result, which is there once done is closed.
type snsFetch struct {
	done  chan struct{}
	cert  *x509.Certificate
	err   error
	until time.Time // when the result is forgotten; zero while it is not there
}

// get returns the certificate at path. It waits for at most snsPatience.
func (c *snsCertificates) get(ctx context.Context, path string) (*x509.Certificate, error) {
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
		return nil, errSNSCrowded
	}
	defer c.wait(-1)
	patience := time.NewTimer(snsPatience)
	defer patience.Stop()
	select {
	case <-f.done:
		return f.cert, f.err
	case <-patience.C:
		return nil, errSNSSlow
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wait counts posts that wait, and reports whether there is room for n more.
func (c *snsCertificates) wait(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting+n > snsWaiters {
		return false
	}
	c.waiting += n
	return true
}

// find returns the fetch of path. It begins one if path has none, or returns
// errSNSCrowded.
func (c *snsCertificates) find(path string) (*snsFetch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if f := c.all[path]; f != nil && (f.until.IsZero() || now.Before(f.until)) {
		return f, nil
	}
	if c.running >= snsFetches || now.Sub(c.started) < snsPause {
		return nil, errSNSCrowded
	}
	for other, f := range c.all { // few: one is added in a second at most
		if !f.until.IsZero() && !now.Before(f.until) {
			delete(c.all, other)
		}
	}
	f := &snsFetch{done: make(chan struct{})}
	c.all[path] = f
	c.running, c.started = c.running+1, now
	go c.run(path, f)
	return f, nil
}

func (c *snsCertificates) run(path string, f *snsFetch) {
	ctx, cancel := context.WithTimeout(context.Background(), snsFetchIn)
	defer cancel()
	f.cert, f.err = c.fetch(ctx, path)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	now := c.now()
	switch {
	case f.err == nil && f.cert.NotAfter.After(now):
		f.until = f.cert.NotAfter
	case f.err == nil || errors.Is(f.err, ErrSignature):
		f.until = now.Add(snsKeepNone)
	default:
		f.until = now.Add(snsKeepError)
	}
	close(f.done)
}
