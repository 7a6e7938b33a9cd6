package postgres

import (
	"sync"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/recent"
)

// owners maps challenges that this node has recently created to their factors. The factor
// of a challenge never changes, so writes of other nodes cannot make the map wrong.
type owners struct {
	mu      sync.Mutex
	factors recent.Map[mfa.ChallengeID, mfa.FactorID]
}

// note records challenges before the commit. Entries of a failed commit are harmless
// because their ids are never looked up.
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
