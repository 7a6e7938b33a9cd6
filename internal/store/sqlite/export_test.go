package sqlite

// MaxWaiting and MaxGroup are the limits of the queue.
const (
	MaxWaiting = maxWaiting
	MaxGroup   = maxGroup
)

// Closing reports whether Close was called.
func (s *Store) Closing() bool { return s.writes.Closed() }
