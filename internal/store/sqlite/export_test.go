package sqlite

// MaxWaiting and MaxGroup are the bounds of the queue.
const (
	MaxWaiting = maxWaiting
	MaxGroup   = maxGroup
)

// Waiting returns how many writes wait for the writer.
func (s *Store) Waiting() int { return s.queue.Waiting() }

// Closing reports whether Close was called.
func (s *Store) Closing() bool { return s.queue.Closed() }
