package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// recheck is after how long a key is read again, by one of its requests.
	recheck = 2 * time.Second
	// trust is how long a key is honoured while it cannot be read again. It bounds
	// how late a revocation is felt.
	trust = 5 * time.Second
)

// cache holds the keys that were good when they were last read. Nothing else
// enters it, so that it is no larger than the table of keys.
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
// key or it was revoked; any other error means that this could not be found out.
func (s *Service) Authenticate(ctx context.Context, text string) (Key, error) {
	if !strings.HasPrefix(text, sandboxPrefix) && !strings.HasPrefix(text, productionPrefix) {
		return Key{}, ErrUnauthorized
	}
	h, now := hash(text), s.now()
	e := s.cache.get(h)
	if e == nil {
		return s.read(ctx, h, now)
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
	case errors.Is(err, ErrNotFound) || err == nil && !k.RevokedAt.IsZero():
		s.cache.drop(h)
		return Key{}, ErrUnauthorized
	case err != nil:
		return Key{}, fmt.Errorf("read a key: %w", err)
	}
	s.cache.put(h, k, now)
	return k, nil
}
