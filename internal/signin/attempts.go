package signin

import (
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// Passkeys and links cannot be guessed: they have at least 128 random bits. The limits keep
// failed attempts from filling the log of events, and ceremonies from filling the store.
// After failuresInAll failures, further ones are neither counted nor recorded. They block no
// other address: strangers could otherwise keep operators from signing in.
const (
	attemptSpan     = 15 * time.Minute
	failuresPerAddr = 20
	failuresInAll   = 500
	startsPerAddr   = 100
	startsInAll     = 5000

	// swept is how many expired tickets each new ticket removes.
	swept = 20
)

// The names of the counters.
const (
	failures = "failures"
	starts   = "starts"
)

func counterOf(name, network string) Hash { return hashOf(name + "\x00" + network) }

// counted is one of the two counters of an attempt, and its limit.
type counted struct {
	hash  Hash
	limit int
}

func countersOf(name string, c Client) []counted {
	perAddr, inAll := failuresPerAddr, failuresInAll
	if name == starts {
		perAddr, inAll = startsPerAddr, startsInAll
	}
	return []counted{{counterOf(name, c.Network), perAddr}, {counterOf("all "+name, ""), inAll}}
}

// blocked returns a BlockedError if a limit was reached.
func (s *Service) blocked(r Reader, name string, c Client) error {
	counters := countersOf(name, c)
	if name == failures {
		counters = counters[:1]
	}
	for _, counter := range counters {
		t, err := s.fullCounter(r, counter)
		if err != nil {
			return err
		}
		if t != nil {
			return &BlockedError{Until: t.ExpiresAt}
		}
	}
	return nil
}

// fullCounter returns the ticket of a counter that has reached its limit, or else nil.
func (s *Service) fullCounter(r Reader, counter counted) (*Ticket, error) {
	t, err := r.Ticket(counter.hash)
	if err != nil || t == nil || !s.now().Before(t.ExpiresAt) || t.Count < counter.limit {
		return nil, err
	}
	return t, nil
}

// count adds 1 to the counters. It reports whether one of them reached its limit.
func (s *Service) count(tx Tx, name string, c Client) (reached bool, err error) {
	now := s.now()
	for _, counter := range countersOf(name, c) {
		t, err := tx.Ticket(counter.hash)
		if err != nil {
			return false, err
		}
		if t == nil || !now.Before(t.ExpiresAt) {
			t = &Ticket{Hash: counter.hash, Kind: KindAttempts, CreatedAt: now, SeenAt: now, ExpiresAt: now.Add(attemptSpan)}
		}
		t.Count++
		reached = reached || t.Count == counter.limit
		if err := tx.PutTicket(*t); err != nil {
			return false, err
		}
	}
	return reached, nil
}

// fail records a failed attempt. operator is "" if it is not known who tried. It returns
// outcome for Service.update.
func (s *Service) fail(tx Tx, c Client, operator, reason string, outcome error) (error, error) {
	full, err := s.fullCounter(tx, countersOf(failures, c)[1])
	if full != nil || err != nil {
		return outcome, err
	}
	reached, err := s.count(tx, failures, c)
	if err != nil {
		return nil, err
	}
	if reached {
		reason = "too_many_attempts"
	}
	return outcome, s.happened(tx, c, mfa.SignInFailed, operator, reason)
}

// begin stores a ceremony and counts it.
func (s *Service) begin(tx Tx, c Client, t Ticket) error {
	if _, err := s.count(tx, starts, c); err != nil {
		return err
	}
	if err := tx.DeleteExpired(s.now(), swept); err != nil {
		return err
	}
	return tx.PutTicket(t)
}

// mayBegin returns a BlockedError if the client may not begin a ceremony.
func (s *Service) mayBegin(r Reader, c Client) error {
	if err := s.blocked(r, failures, c); err != nil {
		return err
	}
	return s.blocked(r, starts, c)
}
