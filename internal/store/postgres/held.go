package postgres

import (
	"errors"
	"slices"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// held is what a transaction has read and, as its jobs decide one after another,
// what it is going to write: each job sees what those before it in the group did.
// A row is in its map if it is stored, or will be.
type held struct {
	challenges map[mfa.ChallengeID]*mfa.Challenge
	factors    map[mfa.FactorID]*mfa.Factor
	users      map[mfa.UserKey]*mfa.User
	phones     map[mfa.PhoneKey]*mfa.PhoneLimit
	tallies    map[mfa.TallyKey]*mfa.Tally
	messages   map[mfa.MessageKey]*mfa.MessageRef
	replays    map[replayRow]*mfa.Replay

	synchronous bool  // whether the commit will wait for a standby
	moved       error // that of a store that was copied away, or nil
}

type replayRow struct {
	bucket mfa.Bucket
	key    mfa.ReplayKey
}

func newHeld() *held {
	return &held{
		challenges: make(map[mfa.ChallengeID]*mfa.Challenge),
		factors:    make(map[mfa.FactorID]*mfa.Factor),
		users:      make(map[mfa.UserKey]*mfa.User),
		phones:     make(map[mfa.PhoneKey]*mfa.PhoneLimit),
		tallies:    make(map[mfa.TallyKey]*mfa.Tally),
		messages:   make(map[mfa.MessageKey]*mfa.MessageRef),
		replays:    make(map[replayRow]*mfa.Replay),
	}
}

// rows returns copies of what r names, which the job may change.
func (h *held) rows(r mfa.Read) (rows mfa.Rows) {
	if c := h.challenges[r.Challenge]; c != nil {
		if f := h.factors[c.Factor]; f != nil {
			rows.Challenge = clone(c)
			rows.Challenge.Messages = slices.Clone(c.Messages)
			rows.Factor = clone(f)
		}
	}
	if f := h.factors[r.Factor]; f != nil {
		rows.Factor = clone(f)
	}
	if f := rows.Factor; f != nil && f.User != "" {
		rows.User = clone(h.users[mfa.UserKey{Environment: f.Environment, ID: f.User}])
	}
	if u := h.users[r.User]; u != nil {
		rows.User = clone(u)
	}
	if p := h.phones[r.Phone]; p != nil {
		rows.Phone = clone(p)
		rows.Phone.Sends = slices.Clone(p.Sends)
	}
	for _, key := range r.Tallies {
		t := clone(h.tallies[key])
		if t != nil {
			t.Counts = slices.Clone(t.Counts)
		}
		rows.Tallies = append(rows.Tallies, t)
	}
	rows.Message = clone(h.messages[r.Message])
	rows.Replay = clone(h.replays[replayRow{r.Bucket, r.Replay}])
	return rows
}

func clone[T any](row *T) *T {
	if row == nil {
		return nil
	}
	c := *row
	return &c
}

var errNotRead = errors.New("a row to change was not read, or is not stored")

// check refuses to change a row that is not held: without its lock it might be
// gone when the change arrives, together with COMMIT.
func (h *held) check(writes []mfa.Write) error {
	for i, w := range writes {
		ok := true
		switch w := w.(type) {
		case mfa.UpdateFactor:
			ok = h.factors[w.ID] != nil || inserts(writes[:i], w.ID)
		case mfa.SealFactor:
			ok = h.factors[w.ID] != nil || inserts(writes[:i], w.ID)
		case mfa.DeleteFactor:
			ok = h.factors[w.ID] != nil || inserts(writes[:i], w.ID)
		case mfa.UpdateChallenge:
			ok = h.challenges[w.ID] != nil || inserts(writes[:i], w.ID)
		}
		if !ok {
			return errNotRead
		}
	}
	return nil
}

// inserts reports whether a factor or a challenge is among what is written.
func inserts(writes []mfa.Write, id [16]byte) bool {
	return slices.ContainsFunc(writes, func(w mfa.Write) bool {
		switch w := w.(type) {
		case mfa.InsertFactor:
			return w.ID == id
		case mfa.InsertChallenge:
			return w.ID == id
		}
		return false
	})
}

// apply adds writes to out and remembers what they do. A row
// that may be new or not is inserted if it was not there when it was looked for:
// should another node have inserted it meanwhile, the unique violation makes the
// transaction run again.
func (h *held) apply(out *writes, all []mfa.Write) {
	for _, w := range all {
		switch w := w.(type) {
		case mfa.InsertFactor:
			out.insertFactor(w.Factor)
			h.factors[w.ID] = clone(w.Factor)
		case mfa.UpdateFactor:
			out.updateFactor(w)
			h.changeFactor(w.ID, func(f *mfa.Factor) { f.FactorState = w.FactorState })
		case mfa.SealFactor:
			out.others.Queue(sealFactor, w.Sealed, w.Label, replayBytes(w.Replay), bucket(w.ID), w.ID)
			h.changeFactor(w.ID, func(f *mfa.Factor) {
				f.Sealed, f.Label, f.Replay, f.Old = w.Sealed, w.Label, w.Replay, mfa.Unsealed{}
			})
		case mfa.DeleteFactor:
			out.others.Queue(deleteFactor, bucket(w.ID), w.ID)
			delete(h.factors, w.ID)
		case mfa.InsertChallenge:
			out.insertChallenge(w.Challenge)
			h.challenges[w.ID] = clone(w.Challenge)
		case mfa.UpdateChallenge:
			out.updateChallenge(w)
			if c := clone(h.challenges[w.ID]); c != nil {
				c.ChallengeState = w.ChallengeState
				h.challenges[w.ID] = c
			}
		case mfa.DeleteChallenge:
			out.others.Queue(deleteChallenge, bucket(w.ID), w.ID)
			delete(h.challenges, w.ID)
		case mfa.PutUser:
			if h.users[w.UserKey] != nil {
				out.others.Queue(updateUser, int16(w.Bucket()), w.Environment, w.ID, w.Failures)
			} else {
				out.others.Queue(insertUser, int16(w.Bucket()), w.Environment, w.ID, w.Failures, nil)
			}
			h.users[w.UserKey] = clone(w.User)
		case mfa.DeleteUser:
			out.others.Queue(deleteUser, int16(w.Key.Bucket()), w.Key.Environment, w.Key.ID)
			delete(h.users, w.Key)
		case mfa.RetireUser:
			// The row stays in h.users: it is not known whether it goes.
			out.others.Queue(retireUser, int16(w.Key.Bucket()), w.Key.Environment, w.Key.ID, w.Former, w.ExpiresAt)
		case mfa.RestoreUser:
			out.restoreUser(w)
		case mfa.PutPhone:
			sql := insertPhone
			if h.phones[w.Key] != nil {
				sql = updatePhone
			}
			out.others.Queue(sql, int16(w.Bucket), w.Key[:], mfa.EncodeSends(w.Sends), w.ExpiresAt)
			h.phones[w.Key] = clone(w.PhoneLimit)
		case mfa.PutTally:
			sql := insertTally
			if h.tallies[w.TallyKey] != nil {
				sql = updateTally
			}
			out.others.Queue(sql, tallyValues(w.Tally)...)
			h.tallies[w.TallyKey] = clone(w.Tally)
		case mfa.DeleteTally:
			out.others.Queue(deleteTally, int16(w.Key.Bucket()), w.Key.Environment, w.Key.Name)
			delete(h.tallies, w.Key)
		case mfa.PutMessage:
			sql := insertMessage
			if h.messages[w.Key] != nil {
				sql = updateMessage
			}
			out.others.Queue(sql, messageValues(w.MessageRef)...)
			h.messages[w.Key] = clone(w.MessageRef)
		case mfa.PutReplay:
			row, sql := replayRow{w.Bucket, w.Key}, insertReplay
			if h.replays[row] != nil {
				sql = updateReplay
			}
			out.others.Queue(sql, replayValues(w.Replay)...)
			h.replays[row] = clone(w.Replay)
		case mfa.DeleteReplay:
			out.others.Queue(deleteReplay, int16(w.Bucket), w.Key[:])
			delete(h.replays, replayRow{w.Bucket, w.Key})
		case mfa.ForgetReplay:
			out.others.Queue(forgetReplay, int16(w.Bucket), w.Key[:], w.Factor)
			if r := h.replays[replayRow{w.Bucket, w.Key}]; r != nil && r.About == w.Factor {
				r.Sealed = []byte{}
			}
		case mfa.AppendEvent:
			out.insertEvent(w.Event)
		default:
			panic("postgres: unknown write") // a write was added to mfa and not here
		}
	}
}

// changeFactor replaces a factor by a changed copy: a pointer to the old one may be among the writes.
func (h *held) changeFactor(id mfa.FactorID, change func(*mfa.Factor)) {
	if f := clone(h.factors[id]); f != nil {
		change(f)
		h.factors[id] = f
	}
}

func factorValues(f *mfa.Factor) []any {
	return []any{
		bucket(f.ID), f.ID, f.Environment, f.Type, text(f.User), text(f.Old.Issuer), text(f.Old.Account), f.Sealed,
		replayOf(f), f.LastStep, f.Failures, instant(f.LockedUntil), f.CreatedAt, f.UpdatedAt, f.Label,
	}
}

func challengeValues(c *mfa.Challenge) []any {
	return []any{
		bucket(c.ID), c.ID, c.Factor, c.CodeMAC, c.SealedCode, mfa.EncodeDeliveries(c.Messages), c.Counts(),
		c.CreatedAt, c.UpdatedAt, c.ExpiresAt, instant(c.VerifiedAt),
	}
}

func tallyValues(t *mfa.Tally) []any {
	return []any{
		int16(t.Bucket()), t.Environment, t.Name, t.Sealed, mfa.EncodeCounts(t.Counts), instant(t.PausedUntil), t.ExpiresAt,
	}
}

func messageValues(m *mfa.MessageRef) []any {
	return []any{
		int16(m.Bucket), m.Key[:], optional(m.Challenge), m.Number, text(string(m.State)), text(m.Reason), m.ExpiresAt,
	}
}

func replayValues(r *mfa.Replay) []any {
	return []any{
		int16(r.Bucket), r.Key[:], r.Fingerprint[:], optional(r.About), r.Sealed, r.ExpiresAt, instant(r.PendingUntil),
	}
}

func eventValues(e mfa.Event) []any {
	return []any{bucket(e.ID), e.ID, e.Environment, e.Type, optional(e.Factor), optional(e.Challenge), text(e.Reason)}
}
