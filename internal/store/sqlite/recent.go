package sqlite

import (
	"slices"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// recent remembers the challenges and factors that the writer has lately read or
// written: most challenges are verified soon after they are made, and to read their
// rows again takes a fifth of the writer's time. What it holds is what is stored, for
// only the writer changes the file; should another process have done so, current
// finds out.
type recent struct {
	version    int64 // of the file, as SQLite counts what other connections commit
	challenges generations[mfa.ChallengeID, mfa.Challenge]
	factors    generations[mfa.FactorID, mfa.Factor]
}

// maxRecent is how many rows of a kind a generation has; there are two.
const maxRecent = 4096

// current forgets everything if another process has changed the file. It is called
// within the transaction that the rows are to be used in.
func (r *recent) current(c *conn) error {
	return c.prepare("PRAGMA data_version").each(func(row *columns) error {
		if v := row.int(); v != r.version {
			r.clear()
			r.version = v
		}
		return nil
	})
}

func (r *recent) clear() {
	r.challenges.clear()
	r.factors.clear()
}

// wrote takes in what was written: of a change only what it changes.
func (r *recent) wrote(w mfa.Write) {
	switch w := w.(type) {
	case mfa.InsertFactor:
		r.factors.put(w.ID, copyFactor(w.Factor))
	case mfa.UpdateFactor:
		if f := r.factors.get(w.ID); f != nil {
			f.Sealed, f.LastStep, f.Failures = w.Sealed, w.LastStep, w.Failures
			f.LockedUntil, f.UpdatedAt = w.LockedUntil, w.UpdatedAt
		}
	case mfa.DeleteFactor:
		r.factors.remove(w.ID)
	case mfa.InsertChallenge:
		r.challenges.put(w.ID, copyChallenge(w.Challenge))
	case mfa.UpdateChallenge:
		if !w.VerifiedAt.IsZero() {
			r.challenges.remove(w.ID) // it is seldom asked for again
		} else if c := r.challenges.get(w.ID); c != nil {
			c.SealedCode, c.Messages, c.Attempts, c.UpdatedAt = w.SealedCode, slices.Clone(w.Messages), w.Attempts, w.UpdatedAt
		}
	case mfa.DeleteChallenge:
		r.challenges.remove(w.ID)
	}
}

// Copies share bytes with what they are made of, which nobody changes in place.

func copyFactor(f *mfa.Factor) *mfa.Factor {
	own := *f
	return &own
}

func copyChallenge(c *mfa.Challenge) *mfa.Challenge {
	own := *c
	own.Messages = slices.Clone(c.Messages)
	return &own
}

// generations hold values that were put there lately: when the young ones are many,
// they become the old ones, and the old are forgotten.
type generations[K comparable, V any] struct{ young, old map[K]*V }

// get returns nil if there is none.
func (g *generations[K, V]) get(k K) *V {
	if v := g.young[k]; v != nil {
		return v
	}
	return g.old[k]
}

func (g *generations[K, V]) put(k K, v *V) {
	if len(g.young) >= maxRecent {
		g.young, g.old = g.old, g.young
		clear(g.young)
	}
	if g.young == nil {
		g.young = make(map[K]*V)
	}
	g.young[k] = v
}

func (g *generations[K, V]) remove(k K) {
	delete(g.young, k)
	delete(g.old, k)
}

func (g *generations[K, V]) clear() {
	clear(g.young)
	clear(g.old)
}
