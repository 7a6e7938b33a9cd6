package admission

import "sync"

// Shares bound how many requests are in progress at once, so no key can take all places.
// Up to the limit, each key may have any number of requests. Beyond the limit there is
// an eighth more, for keys with few requests: a key may have at most 8 times as many
// requests as there are free places. So one key, or any number of keys that take all they
// can get, leave places to the others. See docs/adr/0023-shares.md. Shares are safe for
// concurrent use.
type Shares[K comparable] struct {
	limit, total int

	mu   sync.Mutex
	used int
	of   map[K]int
}

// beyond determines the places beyond the limit, limit/beyond, and how many requests one
// key may have, beyond times the free places.
const beyond = 8

// NewShares returns Shares with a limit, which must be positive.
func NewShares[K comparable](limit int) *Shares[K] {
	return &Shares[K]{limit: limit, total: limit + max(1, limit/beyond), of: map[K]int{}}
}

// Enter takes a place for a request of key and reports whether it got one. If it did, the
// caller must call Leave.
func (s *Shares[K]) Enter(key K) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.of[key]; n >= s.limit || n >= beyond*(s.total-s.used) {
		return false
	}
	s.of[key]++
	s.used++
	return true
}

// Leave returns a place that Enter took.
func (s *Shares[K]) Leave(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if s.of[key]--; s.of[key] == 0 {
		delete(s.of, key) // the map has only the keys of requests in progress
	}
}
