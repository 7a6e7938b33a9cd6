package postgres

import (
	"bytes"
	"errors"
	"slices"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

// txRows holds the rows that a transaction has read, with the changes of its jobs. The
// jobs decide one after another, and each sees the changes of the jobs before it.
// A row is in its map if it is stored or will be stored.
type txRows struct {
	challenges map[mfa.ChallengeID]*mfa.Challenge
	created    map[mfa.ReplayKey]*mfa.Challenge // by the key in CreatedBy; the newest of each
	factors    map[mfa.FactorID]*mfa.Factor
	users      map[mfa.UserKey]*mfa.User
	phones     map[delivery.PhoneKey]*delivery.PhoneLimit
	tallies    map[delivery.CounterKey]*delivery.Counter
	messages   map[delivery.MessageKey]*delivery.MessageRef
	bypasses   map[bypassRow]*mfa.Bypass
	replays    map[replayRow]*mfa.Replay
	owned      map[mfa.UserKey]int // numbers of factors of the users that are locked

	synchronous bool         // whether the commit will wait for a standby
	moved       error        // the error of a store that was copied to another one, or nil
	position    mfa.Position // of the next event
}

type replayRow struct {
	bucket mfa.Bucket
	key    mfa.ReplayKey
}

type bypassRow struct {
	bucket mfa.Bucket
	key    mfa.BypassKey
}

func newTxRows() *txRows {
	return &txRows{
		challenges: make(map[mfa.ChallengeID]*mfa.Challenge),
		created:    make(map[mfa.ReplayKey]*mfa.Challenge),
		factors:    make(map[mfa.FactorID]*mfa.Factor),
		users:      make(map[mfa.UserKey]*mfa.User),
		phones:     make(map[delivery.PhoneKey]*delivery.PhoneLimit),
		tallies:    make(map[delivery.CounterKey]*delivery.Counter),
		messages:   make(map[delivery.MessageKey]*delivery.MessageRef),
		bypasses:   make(map[bypassRow]*mfa.Bypass),
		replays:    make(map[replayRow]*mfa.Replay),
		owned:      make(map[mfa.UserKey]int),
	}
}

// rows returns copies of the rows that r names. The job may change the copies.
func (h *txRows) rows(r mfa.Read) (rows mfa.Rows) {
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
	rows.Created = clone(h.created[r.Created])
	if f := rows.Factor; f != nil && f.User != "" {
		rows.User = clone(h.users[mfa.UserKey{Environment: f.Environment, ID: f.User}])
	}
	if u := h.users[r.User]; u != nil {
		rows.User = clone(u)
	}
	for _, id := range r.Others {
		rows.Others = append(rows.Others, clone(h.factors[id]))
	}
	if r.Recovery != (mfa.UserKey{}) {
		for _, f := range h.factors {
			if f.Type == mfa.RecoveryCodes && f.UserKey() == r.Recovery {
				rows.Recovery = clone(f)
			}
		}
	}
	if p := h.phones[r.Phone]; p != nil {
		rows.Phone = clone(p)
		rows.Phone.Sends = slices.Clone(p.Sends)
	}
	for _, key := range r.Counters {
		t := clone(h.tallies[key])
		if t != nil {
			t.Counts = slices.Clone(t.Counts)
		}
		rows.Counters = append(rows.Counters, t)
	}
	rows.Message = clone(h.messages[r.Message])
	rows.Bypass = clone(h.bypasses[bypassRow{r.Bucket, r.Bypass}])
	rows.Replay = clone(h.replays[replayRow{r.Bucket, r.Replay}])
	if c := h.challenges[r.Proof]; c != nil && h.factors[c.Factor] != nil {
		rows.Proof, rows.ProofFactor = clone(c), clone(h.factors[c.Factor])
	}
	rows.Owned = min(h.owned[r.Owned.User], r.Owned.Most)
	if r.Owned.All {
		for _, f := range h.factors {
			if f.UserKey() == r.Owned.User {
				rows.AllOwned = append(rows.AllOwned, clone(f))
			}
		}
		slices.SortFunc(rows.AllOwned, func(a, b *mfa.Factor) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	}
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

// check refuses a change of a row that was not read. Without a lock, the row may be
// deleted before the change reaches the server together with COMMIT.
func (h *txRows) check(writes []mfa.Write) error {
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

// inserts reports whether writes insert the factor or challenge with this id.
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

// put adds a row to out: an update if the row is stored, otherwise an insert. A stored row
// was read before.
func put[R any](out *writes, t *table[R], r *R, stored bool) {
	sql := t.insert
	if stored {
		sql = t.update
	}
	out.others.Queue(sql, t.values(r)...)
}

// sealedReplay returns NULL for the zero key.
func sealedReplay(k mfa.ReplayKey) []byte {
	if k == (mfa.ReplayKey{}) {
		return nil
	}
	return k[:]
}

// apply adds writes to out and applies them to h. A write that creates or replaces a row
// becomes an insert if h does not contain the row. If another node has inserted the row
// since it was read, the unique violation makes the transaction run again.
func (h *txRows) apply(out *writes, all []mfa.Write) {
	for _, w := range all {
		switch w := w.(type) {
		case mfa.InsertFactor:
			out.insertFactor(w.Factor)
			h.factors[w.ID] = clone(w.Factor)
			h.owned[w.UserKey()]++ // a factor that is deleted in the same transaction still counts
		case mfa.UpdateFactor:
			out.updateFactor(&w)
			h.changeFactor(w.ID, func(f *mfa.Factor) { f.FactorState = w.FactorState })
		case mfa.SealFactor:
			out.others.Queue(sealFactor, w.Sealed, w.Label, sealedReplay(w.Replay), rows.EncodePhone(w.Phone), bucket(w.ID), w.ID)
			h.changeFactor(w.ID, func(f *mfa.Factor) {
				f.Sealed, f.Label, f.Replay, f.Old = w.Sealed, w.Label, w.Replay, mfa.Unsealed{}
			})
		case mfa.DeleteFactor:
			out.others.Queue(deleteFactor, bucket(w.ID), w.ID)
			delete(h.factors, w.ID)
		case mfa.InsertChallenge:
			out.insertChallenge(w.Challenge)
			h.challenges[w.ID] = clone(w.Challenge)
			if key := w.CreatedBy.Key; key != (mfa.ReplayKey{}) {
				h.created[key] = h.challenges[w.ID]
			}
		case mfa.UpdateChallenge:
			out.updateChallenge(&w)
			if c := clone(h.challenges[w.ID]); c != nil {
				c.ChallengeState = w.ChallengeState
				h.challenges[w.ID] = c
			}
		case mfa.DeleteChallenge:
			out.others.Queue(deleteChallenge, bucket(w.ID), w.ID)
			delete(h.challenges, w.ID)
		case mfa.PutUser:
			put(out, users, w.User, h.users[w.UserKey] != nil)
			h.users[w.UserKey] = clone(w.User)
		case mfa.DeleteUser:
			out.others.Queue(deleteUser, int16(w.Key.Bucket()), w.Key.Environment, w.Key.ID)
			delete(h.users, w.Key)
		case mfa.RetireUser:
			// The row stays in h.users, because the server decides whether to delete it.
			out.others.Queue(retireUser, int16(w.Key.Bucket()), w.Key.Environment, w.Key.ID, w.Former, w.ExpiresAt)
		case mfa.RestoreUser:
			out.restoreUser(w)
		case mfa.PutPhone:
			put(out, phones, w.PhoneLimit, h.phones[w.Key] != nil)
			h.phones[w.Key] = clone(w.PhoneLimit)
		case mfa.PutCounter:
			put(out, tallies, w.Counter, h.tallies[w.CounterKey] != nil)
			h.tallies[w.CounterKey] = clone(w.Counter)
		case mfa.DeleteCounter:
			out.others.Queue(deleteTally, int16(w.Key.Bucket()), w.Key.Environment, w.Key.Name)
			delete(h.tallies, w.Key)
		case mfa.PutMessage:
			put(out, messages, w.MessageRef, h.messages[w.Key] != nil)
			h.messages[w.Key] = clone(w.MessageRef)
		case mfa.PutBypass:
			row := bypassRow{w.Bucket, w.Key}
			put(out, bypasses, w.Bypass, h.bypasses[row] != nil)
			h.bypasses[row] = clone(w.Bypass)
		case mfa.DeleteBypass:
			out.others.Queue(deleteBypass, int16(w.Bucket), w.Key[:])
			delete(h.bypasses, bypassRow{w.Bucket, w.Key})
		case mfa.PutReplay:
			row := replayRow{w.Bucket, w.Key}
			put(out, replays, w.Replay, h.replays[row] != nil)
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
			out.insertEvent(&w.Event)
			if w.Context != nil {
				row := *w.Context
				row.Event = w.ID
				out.others.Queue(contexts.insert, contexts.values(&row)...)
			}
		case mfa.InsertDeletedFactor:
			out.others.Queue(deletedFactors.insert, deletedFactors.values(w.DeletedFactor)...)
		case mfa.ScheduleErasure:
			out.others.Queue(scheduleErasure, erasures.values(w.Erasure)...)
			if w.User != (mfa.UserKey{}) {
				out.others.Queue(unscheduleErasure, int16(w.Bucket), w.Person[:], w.User.Environment, w.User.ID)
			}
		case mfa.CancelErasure:
			out.cancelErasure(w)
		case mfa.ErasePerson:
			for _, sql := range []string{eraseContexts, eraseFactors, cancelErasure} {
				out.others.Queue(sql, int16(w.Bucket), w.Person[:])
			}
		case mfa.SealContext:
			out.others.Queue(sealContext, w.Sealed, bucket(w.Event), w.Event)
		case mfa.SealDeletedFactor:
			out.others.Queue(sealDeletedFactor, w.Sealed, bucket(w.ID), w.ID)
		default:
			panic("postgres: unknown write") // mfa has a write that this switch lacks
		}
	}
}

// changeFactor replaces a factor with a changed copy: the writes may contain a pointer to
// the old one.
func (h *txRows) changeFactor(id mfa.FactorID, change func(*mfa.Factor)) {
	if f := clone(h.factors[id]); f != nil {
		change(f)
		h.factors[id] = f
	}
}
