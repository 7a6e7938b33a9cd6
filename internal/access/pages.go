package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// ErrNoPages means that no environment makes passkeys for a domain and has a page under https.
var ErrNoPages = errors.New("no environment has pages for this domain")

// readPages is the time in which the environments must be read for PasskeyPages.
const readPages = 5 * time.Second

// pages has the origins of the pages of all environments. Any client can ask for them, so all
// requests share one read.
type pages struct {
	last atomic.Pointer[pagesRead]
	turn chan struct{} // filled while a request reads; of size 1
}

// A pagesRead is the result of one read, also of one that has failed.
type pagesRead struct {
	at  time.Time
	of  map[string][]string // origins in order, by relying party id
	err error
}

// PasskeyPages returns the origins of the pages under https, in order, of the environments that
// make passkeys for a domain: of the production environments, or of sandboxes if there is no production environment. So
// the keys of a sandbox cannot open the passkeys of production to another page. It reads the environments at most every two seconds. Errors:
// ErrNoPages; every other error means that they could not be read.
func (s *Service) PasskeyPages(ctx context.Context, domain string) ([]string, error) {
	r, err := s.readPages(ctx)
	switch {
	case err != nil:
		return nil, err
	case r.err != nil:
		return nil, r.err
	case r.of[domain] == nil:
		return nil, ErrNoPages
	}
	return r.of[domain], nil
}

// readPages returns the last read if it is recent, and otherwise reads. The error is that of ctx.
func (s *Service) readPages(ctx context.Context) (*pagesRead, error) {
	if r := s.recentPages(); r != nil {
		return r, nil
	}
	select {
	case s.pages.turn <- struct{}{}:
		defer func() { <-s.pages.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the environments: %w", ctx.Err())
	}
	if r := s.recentPages(); r != nil { // another request has read it
		return r, nil
	}
	r := &pagesRead{at: s.now(), of: map[string][]string{}}
	// Other requests use the result too, so it must not depend on this client.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readPages)
	defer cancel()
	all, err := s.store.Environments(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		r.err = fmt.Errorf("read the environments: %w: %w", mfa.ErrUnavailable, err)
	case err != nil:
		r.err = fmt.Errorf("read the environments: %w", err)
	}
	inProduction := map[string]bool{} // by relying party id
	for _, e := range all {
		if site, _ := e.PasskeyPages(); e.Production {
			inProduction[site] = true
		}
	}
	for _, e := range all {
		if site, origins := e.PasskeyPages(); len(origins) > 0 && e.Production == inProduction[site] {
			r.of[site] = append(r.of[site], origins...)
		}
	}
	for site, origins := range r.of {
		slices.Sort(origins)
		r.of[site] = slices.Compact(origins)
	}
	s.pages.last.Store(r)
	return r, nil
}

// recentPages returns the last read, or nil if it is too old.
func (s *Service) recentPages() *pagesRead {
	r := s.pages.last.Load()
	if r == nil {
		return nil
	}
	if age := s.now().Sub(r.at); age < 0 || age >= recheck {
		return nil
	}
	return r
}
