package postgres

import (
	"sync"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/recent"
)

// owners say whose the challenges are that this node has lately made. That never
// changes, so that nothing need be known of what other nodes do.
type owners struct {
	mu      sync.Mutex
	factors recent.Map[mfa.ChallengeID, mfa.FactorID]
}

// note takes in what is about to be written. Should it not be, nobody asks for it.
func (o *owners) note(writes []mfa.Write) {
	for _, w := range writes {
		if c, ok := w.(mfa.InsertChallenge); ok {
			o.mu.Lock()
			o.factors.Put(c.ID, c.Factor)
			o.mu.Unlock()
		}
	}
}

// factorOf returns the factor of a challenge, if it is known.
func (o *owners) factorOf(c mfa.ChallengeID) (mfa.FactorID, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.factors.Get(c)
}
