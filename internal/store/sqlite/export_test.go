package sqlite

// MaxWaiting and MaxGroup are the bounds of the queue.
const (
	MaxWaiting = maxWaiting
	MaxGroup   = maxGroup
)

// Waiting returns how many writes wait for the writer.
func (s *Store) Waiting() int { return len(s.jobs) }

// Closing reports whether Close was called.
func (s *Store) Closing() bool {
	s.closing.RLock()
	defer s.closing.RUnlock()
	return s.closed
}
