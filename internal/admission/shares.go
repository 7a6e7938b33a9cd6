package admission

import "sync"

// Shares bounds how many requests are in progress at once. No key can keep
// the others out. Up to limit requests, every key may have as many as it likes. The
// eighth beyond that is for keys with few: a key may have at most 8 times as many
// requests as there are places free. So one key, or any number of keys that take all
// they can get, leave places to the others. See docs/adr/0023-shares.md. Shares are
// safe for concurrent use.
type Shares[K comparable] struct {
	limit, total int

	mu   sync.Mutex
	used int
	of   map[K]int
}

// beyond is which part of the limit there is beyond it, and how many times the free
// places one key may have.
const beyond = 8

// NewShares returns Shares with a limit, which must be positive.
func NewShares[K comparable](limit int) *Shares[K] {
	return &Shares[K]{limit: limit, total: limit + max(1, limit/beyond), of: map[K]int{}}
}

// Enter takes a place for a request of key, and reports whether there was one. The
// caller must call Leave if so.
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

// Leave gives a place back.
func (s *Shares[K]) Leave(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if s.of[key]--; s.of[key] == 0 {
		delete(s.of, key) // the map holds no more than the keys of requests in progress
	}
}
