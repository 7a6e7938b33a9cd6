package access

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	// recheck is after how long a key is read again, by one of its requests.
	recheck = 2 * time.Second
	// trust is how long a key is honoured while it cannot be read again. It bounds
	// how late a revocation is felt.
	trust = 5 * time.Second
	// maxUnknown is how many keys that are not in the cache are read at once. Clients
	// can invent keys, which would otherwise fill the store's queue.
	maxUnknown = 256
)

// cache holds the keys that were valid when they were last read. It holds nothing
// else, so it is not larger than the table of keys.
type cache struct {
	mu   sync.RWMutex
	keys map[Hash]*cached
}

type cached struct {
	key     Key
	read    atomic.Int64 // when, in nanoseconds since 1970
	reading atomic.Bool
}

func (c *cache) get(h Hash) *cached {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.keys[h]
}

func (c *cache) put(h Hash, k Key, now time.Time) {
	e := &cached{key: k}
	e.read.Store(now.UnixNano())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = make(map[Hash]*cached)
	}
	c.keys[h] = e
}

func (c *cache) drop(h Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keys, h)
}

// Forget makes every key be read again at its next use.
func (s *Service) Forget() {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	clear(s.cache.keys)
}

// Authenticate returns the key that text is. ErrUnauthorized if there is no such
// key, or it was revoked or has expired; any other error means that this could not be found out,
// mfa.ErrUnavailable that too many unknown keys are being read.
func (s *Service) Authenticate(ctx context.Context, text string) (Key, error) {
	if !hasPrefix(text) {
		return Key{}, ErrUnauthorized
	}
	h, now := hash(text), s.now()
	e := s.cache.get(h)
	if e == nil {
		return s.readOnce(ctx, h, now)
	}
	if !e.key.valid(now) { // it has expired
		return Key{}, ErrUnauthorized
	}
	age := now.Sub(time.Unix(0, e.read.Load()))
	if age < recheck && age >= 0 {
		return e.key, nil
	}
	if age < trust && age >= 0 && !e.reading.CompareAndSwap(false, true) {
		return e.key, nil // another request is reading it
	}
	defer e.reading.Store(false)
	k, err := s.read(ctx, h, now)
	if err != nil && !errors.Is(err, ErrUnauthorized) && age < trust && age >= 0 {
		return e.key, nil
	}
	return k, err
}

func (s *Service) read(ctx context.Context, h Hash, now time.Time) (Key, error) {
	k, err := s.store.KeyByHash(ctx, h)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && !k.valid(now):
		s.cache.drop(h)
		return Key{}, ErrUnauthorized
	case err != nil:
		return Key{}, fmt.Errorf("read a key: %w", err)
	}
	s.cache.put(h, k, now)
	s.uses.add(k, now)
	return k, nil
}

// reads are the unknown keys that are being read. Requests with the same key share
// one read.
type reads struct {
	mu  sync.Mutex
	now map[Hash]*reading
}

// A reading ends when done is closed; then key and err are set.
type reading struct {
	done chan struct{}
	key  Key
	err  error
}

// start returns the reading of h, and whether the caller has to carry it out. It
// returns nil if there are too many.
func (r *reads) start(h Hash) (_ *reading, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x := r.now[h]; x != nil {
		return x, false
	}
	if len(r.now) >= maxUnknown {
		return nil, false
	}
	if r.now == nil {
		r.now = map[Hash]*reading{}
	}
	x := &reading{done: make(chan struct{})}
	r.now[h] = x
	return x, true
}

func (r *reads) end(h Hash, x *reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.now, h)
	close(x.done)
}

// readOnce reads an unknown key, or waits for another request that reads it.
func (s *Service) readOnce(ctx context.Context, h Hash, now time.Time) (Key, error) {
	for {
		x, mine := s.reads.start(h)
		switch {
		case x == nil:
			return Key{}, fmt.Errorf("read a key: too many unknown keys at once: %w", mfa.ErrUnavailable)
		case mine:
			func() {
				defer s.reads.end(h, x)
				x.err = errors.New("read a key: given up") // after a panic
				// Another request may have read the key since this one looked.
				if e := s.cache.get(h); e != nil && e.key.valid(now) {
					x.key, x.err = e.key, nil
					return
				}
				x.key, x.err = s.read(ctx, h, now)
			}()
			return x.key, x.err
		}
		select {
		case <-x.done:
		case <-ctx.Done():
			return Key{}, fmt.Errorf("read a key: %w", ctx.Err())
		}
		if !errors.Is(x.err, context.Canceled) && !errors.Is(x.err, context.DeadlineExceeded) {
			return x.key, x.err
		}
		// The request that read it was given up. This one was not.
	}
}
