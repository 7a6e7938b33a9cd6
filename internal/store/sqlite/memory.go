package sqlite

import (
	"slices"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/recent"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

// A memory holds the challenges and factors that the writer has recently read or
// written. Most challenges are verified soon after they are created, and reading their
// rows again takes 20 % of the writer's time. The memory equals the stored rows because
// only the writer changes the file. If another process has changed the file, current
// clears the memory.
type memory struct {
	version    int64       // of the file: SQLite's count of commits by other connections
	looked     bool        // moved holds the value in the file
	moved      []byte      // the name of the target if the store was copied away, otherwise nil
	placed     bool        // last is set
	last       mfa.EventID // at least every id in the file
	challenges recent.Map[mfa.ChallengeID, *mfa.Challenge]
	factors    recent.Map[mfa.FactorID, *mfa.Factor]
}

// current clears the memory if another process has changed the file. Call it inside the
// transaction that uses the rows.
func (m *memory) current(c *conn) error {
	return c.prepare("PRAGMA data_version").each(func(row *rowReader) error {
		if v := row.int(); v != m.version {
			m.clear()
			m.version = v
		}
		return nil
	})
}

// mayWrite returns transfer.Moved if the store was copied away. Call it inside the
// transaction that writes. If another process sets the mark, the version changes.
func (m *memory) mayWrite(c *conn) error {
	if !m.looked {
		moved, err := readMeta(c, transfer.MetaMoved)
		if err != nil {
			return domainError(err)
		}
		m.moved, m.looked = moved, true
	}
	if m.moved != nil {
		return transfer.Moved(m.moved)
	}
	return nil
}

func (m *memory) clear() {
	m.looked, m.placed = false, false
	m.challenges.Clear()
	m.factors.Clear()
}

// wrote applies a write to the memory.
func (m *memory) wrote(w mfa.Write) {
	switch w := w.(type) {
	case mfa.InsertFactor:
		m.factors.Put(w.ID, copyFactor(w.Factor))
	case mfa.UpdateFactor:
		if f, ok := m.factors.Get(w.ID); ok {
			f.FactorState = w.FactorState
		}
	case mfa.SealFactor:
		if f, ok := m.factors.Get(w.ID); ok {
			f.Sealed, f.Label, f.Replay, f.PhoneHash, f.Old = w.Sealed, w.Label, w.Replay, w.Phone, mfa.Unsealed{}
		}
	case mfa.DeleteFactor:
		m.factors.Remove(w.ID)
	case mfa.InsertChallenge:
		m.challenges.Put(w.ID, copyChallenge(w.Challenge))
	case mfa.UpdateChallenge:
		if !w.VerifiedAt.IsZero() {
			m.challenges.Remove(w.ID) // it is rarely read again
		} else if c, ok := m.challenges.Get(w.ID); ok {
			c.ChallengeState = w.ChallengeState
			c.Messages = slices.Clone(w.Messages)
		}
	case mfa.DeleteChallenge:
		m.challenges.Remove(w.ID)
	}
}

// Copies share bytes with the original rows. No code changes bytes in place.

func copyFactor(f *mfa.Factor) *mfa.Factor {
	own := *f
	return &own
}

func copyChallenge(c *mfa.Challenge) *mfa.Challenge {
	own := *c
	own.Messages = slices.Clone(c.Messages)
	return &own
}
