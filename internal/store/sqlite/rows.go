package sqlite

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	storedrows "github.com/countersign-mfa/countersign/internal/store/rows"
)

// Update runs fn on the writer; see mfa.Store.
func (s *Store) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	return s.writes.Do(ctx, func(c *conn) error {
		if err := c.recent.mayWrite(c); err != nil {
			return err
		}
		rows, err := load(c, r)
		if err != nil {
			return domainError(err)
		}
		tx := &mfa.Tx{Rows: rows}
		if err := fn(tx); err != nil {
			return err
		}
		for _, w := range tx.Writes {
			if e, ok := w.(mfa.AppendEvent); ok {
				if err := appendEvent(c, e.Event, e.Context); err != nil {
					return err
				}
				continue
			}
			if err := apply(c, w); err != nil {
				return domainError(fmt.Errorf("%T: %w", w, err))
			}
			c.recent.wrote(w)
		}
		return nil
	})
}

// View reads a consistent snapshot; see mfa.Store.
func (s *Store) View(ctx context.Context, r mfa.Read) (rows mfa.Rows, err error) {
	err = s.read(ctx, func(c *conn) (err error) {
		rows, err = load(c, r)
		return err
	})
	return rows, err
}

var (
	selectChallenge = `SELECT ` + challenges.columns + ` FROM challenges WHERE hi = ? AND lo = ?`
	selectFactor    = `SELECT ` + factors.columns + ` FROM factors WHERE hi = ? AND lo = ?`
	selectCreated   = `SELECT ` + challenges.columns + ` FROM challenges WHERE created_key = ? AND substr(created_by, 1, 16) = ? ORDER BY hi DESC, lo DESC LIMIT 1`
	selectUser      = `SELECT ` + users.columns + ` FROM users WHERE environment = ? AND id = ?`
	selectRecovery  = `SELECT ` + factors.columns + ` FROM factors WHERE environment = ? AND user_id = ? AND type = '` + string(mfa.RecoveryCodes) + `'`
	selectOwned     = `SELECT ` + factors.columns + ` FROM factors WHERE user_hash = ? AND environment = ? AND user_id = ? ORDER BY hi, lo`
	selectPhone     = `SELECT ` + phones.columns + ` FROM phones WHERE key = ?`
	selectTally     = `SELECT ` + tallies.columns + ` FROM tallies WHERE environment = ? AND name = ?`
	selectMessage   = `SELECT ` + messages.columns + ` FROM messages WHERE key = ?`
	selectBypass    = `SELECT ` + bypasses.columns + ` FROM bypasses WHERE bucket = ? AND key = ?`
	selectReplay    = `SELECT ` + replays.columns + ` FROM replays WHERE bucket = ? AND key = ?`
)

// countOwned counts the factors of a user. Updates run one after another, so none of them needs a lock.
// The same applies to selectOwned.
const countOwned = `SELECT count(*) FROM (SELECT 1 FROM factors WHERE user_hash = ? AND environment = ? AND user_id = ? LIMIT ?)`

// load reads the rows that r names.
func load(c *conn, r mfa.Read) (rows mfa.Rows, err error) {
	none := mfa.Read{}
	factor, user := r.Factor, r.User
	if r.Challenge != none.Challenge {
		if rows.Challenge, err = loadChallenge(c, r.Challenge); rows.Challenge != nil {
			factor = rows.Challenge.Factor
		}
	}
	if err == nil && factor != none.Factor {
		switch rows.Factor, err = loadFactor(c, factor); {
		case rows.Factor == nil:
			rows.Challenge = nil // its factor does not exist any more
		case rows.Factor.User != "":
			user = mfa.UserKey{Environment: rows.Factor.Environment, ID: rows.Factor.User}
		}
	}
	if err == nil && r.Created != none.Created {
		rows.Created, err = challenges.one(c.prepare(selectCreated).int(storedrows.KeyNumber(r.Created)).blob(r.Created[:]))
	}
	if err == nil && user != none.User {
		rows.User, err = users.one(c.prepare(selectUser).int(int64(user.Environment)).text(user.ID))
	}
	if err == nil && len(r.Others) > 0 {
		rows.Others = make([]*mfa.Factor, len(r.Others))
		for i, id := range r.Others {
			if rows.Others[i], err = loadFactor(c, id); err != nil {
				return rows, err
			}
		}
	}
	if err == nil && r.Recovery != none.Recovery {
		rows.Recovery, err = factors.one(c.prepare(selectRecovery).int(int64(r.Recovery.Environment)).text(r.Recovery.ID))
	}
	if err == nil && r.Phone != none.Phone {
		if rows.Phone, err = phones.one(c.prepare(selectPhone).blob(r.Phone[:])); rows.Phone != nil {
			rows.Phone.Bucket = r.Bucket
		}
	}
	if err == nil && len(r.Counters) > 0 {
		rows.Counters, err = loadTallies(c, r.Counters)
	}
	if err == nil && r.Message != none.Message {
		if rows.Message, err = messages.one(c.prepare(selectMessage).blob(r.Message[:])); rows.Message != nil {
			rows.Message.Bucket = r.Bucket
		}
	}
	if err == nil && r.Bypass != none.Bypass {
		rows.Bypass, err = bypasses.one(c.prepare(selectBypass).int(int64(r.Bucket)).blob(r.Bypass[:]))
	}
	if err == nil && r.Replay != none.Replay {
		rows.Replay, err = replays.one(c.prepare(selectReplay).int(int64(r.Bucket)).blob(r.Replay[:]))
	}
	if err == nil && r.Proof != none.Proof {
		if rows.Proof, err = loadChallenge(c, r.Proof); err == nil && rows.Proof != nil {
			if rows.ProofFactor, err = loadFactor(c, rows.Proof.Factor); rows.ProofFactor == nil {
				rows.Proof = nil
			}
		}
	}
	if o := r.Owned; err == nil && o.All {
		env := int64(o.User.Environment)
		var all []mfa.Factor
		err = factors.list(c.prepare(selectOwned).int(userHash(env, o.User.ID)).int(env).text(o.User.ID), &all)
		for i := range all {
			rows.AllOwned = append(rows.AllOwned, &all[i])
		}
	}
	if o := r.Owned; err == nil && o.Most > 0 {
		env := int64(o.User.Environment)
		err = c.prepare(countOwned).int(userHash(env, o.User.ID)).int(env).text(o.User.ID).int(int64(o.Most)).each(func(row *rowReader) error {
			rows.Owned = int(row.int())
			return nil
		})
	}
	return rows, err
}

func loadChallenge(c *conn, id mfa.ChallengeID) (found *mfa.Challenge, err error) {
	if c.recent != nil {
		if kept, ok := c.recent.challenges.Get(id); ok {
			return copyChallenge(kept), nil
		}
	}
	return challenges.one(c.prepare(selectChallenge).id(id))
}

func loadFactor(c *conn, id mfa.FactorID) (found *mfa.Factor, err error) {
	if c.recent != nil {
		if kept, ok := c.recent.factors.Get(id); ok {
			return copyFactor(kept), nil
		}
	}
	found, err = factors.one(c.prepare(selectFactor).id(id))
	if c.recent != nil && found != nil {
		c.recent.factors.Put(id, copyFactor(found))
	}
	return found, err
}

// loadTallies reads the tallies of keys. The result is nil for a tally that is not
// stored.
func loadTallies(c *conn, keys []delivery.CounterKey) (found []*delivery.Counter, err error) {
	found = make([]*delivery.Counter, len(keys))
	for i, key := range keys {
		found[i], err = tallies.one(c.prepare(selectTally).int(int64(key.Environment)).string(key.Name))
		if err != nil {
			return nil, err
		}
		if found[i] != nil {
			found[i].CounterKey = key // includes Of, which is not stored
		}
	}
	return found, nil
}

const (
	sealFactor      = `UPDATE factors SET sealed = ?, label = ?, issuer = NULL, account = NULL, replay = ?, phone = ? WHERE hi = ? AND lo = ?`
	deleteFactor    = `DELETE FROM factors WHERE hi = ? AND lo = ?`
	deleteChallenge = `DELETE FROM challenges WHERE hi = ? AND lo = ?`
	deleteUser      = `DELETE FROM users WHERE environment = ? AND id = ?`
	retireUser      = `INSERT INTO users (environment, id, failures, bucket, expires_at) SELECT environment, ?, failures, ?, ? FROM users WHERE environment = ? AND id = ?` +
		` AND NOT EXISTS (SELECT 1 FROM factors WHERE user_hash = ? AND environment = ? AND user_id = ?)` +
		` ON CONFLICT DO UPDATE SET failures = failures + excluded.failures, expires_at = excluded.expires_at`
	restoreUser = `INSERT INTO users (environment, id, failures) SELECT environment, ?, failures FROM users WHERE environment = ? AND id = ?` +
		` ON CONFLICT DO UPDATE SET failures = failures + excluded.failures`
	deleteTally  = `DELETE FROM tallies WHERE environment = ? AND name = ?`
	forgetReplay = `UPDATE replays SET sealed = x'' WHERE bucket = ? AND key = ? AND about_hi = ? AND about_lo = ?`
	deleteBypass = `DELETE FROM bypasses WHERE bucket = ? AND key = ?`
	deleteReplay = `DELETE FROM replays WHERE bucket = ? AND key = ?`
)

const (
	scheduleErasure = `INSERT INTO erasures (bucket, person, due_at) SELECT ?, ?, ?` +
		` WHERE NOT EXISTS (SELECT 1 FROM factors WHERE user_hash = ? AND environment = ? AND user_id = ?)` +
		` ON CONFLICT DO UPDATE SET due_at = min(due_at, excluded.due_at)`
	cancelErasure     = `DELETE FROM erasures WHERE bucket = ? AND person = ?`
	eraseContexts     = `DELETE FROM event_contexts WHERE person = ?`
	eraseFactors      = `DELETE FROM deleted_factors WHERE person = ?`
	eraseErasure      = `DELETE FROM erasures WHERE person = ?`
	sealContext       = `UPDATE event_contexts SET sealed = ? WHERE hi = ? AND lo = ?`
	sealDeletedFactor = `UPDATE deleted_factors SET sealed = ? WHERE hi = ? AND lo = ?`
)

// apply carries out one write.
func apply(c *conn, w mfa.Write) (err error) {
	switch w := w.(type) {
	case mfa.InsertFactor:
		return factors.bind(c.prepare(factors.insert), w.Factor).one()
	case mfa.UpdateFactor:
		return factorStates.bind(c.prepare(factorStates.update), &w).one()
	case mfa.SealFactor:
		return c.prepare(sealFactor).blob(w.Sealed).blob(w.Label).replay(w.Replay).blob(storedrows.EncodePhone(w.Phone)).id(w.ID).one()
	case mfa.DeleteFactor:
		return c.prepare(deleteFactor).id(w.ID).one()
	case mfa.InsertChallenge:
		return challenges.bind(c.prepare(challenges.insert), w.Challenge).one()
	case mfa.UpdateChallenge:
		return challengeStates.bind(c.prepare(challengeStates.update), &w).one()
	case mfa.DeleteChallenge:
		_, err = c.prepare(deleteChallenge).id(w.ID).exec()
	case mfa.PutUser:
		return users.bind(c.prepare(users.put), w.User).one()
	case mfa.DeleteUser:
		_, err = c.prepare(deleteUser).int(int64(w.Key.Environment)).text(w.Key.ID).exec()
	case mfa.RetireUser:
		env := int64(w.Key.Environment)
		var n int
		if n, err = c.prepare(retireUser).string(w.Former).int(int64(w.Key.Bucket())).time(w.ExpiresAt).int(env).text(w.Key.ID).
			int(userHash(env, w.Key.ID)).int(env).text(w.Key.ID).exec(); n > 0 {
			_, err = c.prepare(deleteUser).int(env).text(w.Key.ID).exec()
		}
	case mfa.RestoreUser:
		env := int64(w.Key.Environment)
		var n int
		if n, err = c.prepare(restoreUser).text(w.Key.ID).int(env).string(w.Former).exec(); n > 0 {
			_, err = c.prepare(deleteUser).int(env).string(w.Former).exec()
		}
	case mfa.PutPhone:
		return phones.bind(c.prepare(phones.put), w.PhoneLimit).one()
	case mfa.PutCounter:
		return tallies.bind(c.prepare(tallies.put), w.Counter).one()
	case mfa.DeleteCounter:
		_, err = c.prepare(deleteTally).int(int64(w.Key.Environment)).string(w.Key.Name).exec()
	case mfa.PutMessage:
		return messages.bind(c.prepare(messages.put), w.MessageRef).one()
	case mfa.PutBypass:
		return bypasses.bind(c.prepare(bypasses.put), w.Bypass).one()
	case mfa.DeleteBypass:
		_, err = c.prepare(deleteBypass).int(int64(w.Bucket)).blob(w.Key[:]).exec()
	case mfa.PutReplay:
		return replays.bind(c.prepare(replays.put), w.Replay).one()
	case mfa.DeleteReplay:
		_, err = c.prepare(deleteReplay).int(int64(w.Bucket)).blob(w.Key[:]).exec()
	case mfa.ForgetReplay:
		_, err = c.prepare(forgetReplay).int(int64(w.Bucket)).blob(w.Key[:]).id(w.Factor).exec()
	case mfa.InsertDeletedFactor:
		return deletedFactors.bind(c.prepare(deletedFactors.insert), w.DeletedFactor).one()
	case mfa.ScheduleErasure:
		env := int64(w.User.Environment)
		_, err = erasures.bind(c.prepare(scheduleErasure), w.Erasure).int(userHash(env, w.User.ID)).int(env).string(w.User.ID).exec()
	case mfa.CancelErasure:
		_, err = c.prepare(cancelErasure).int(int64(w.Bucket)).blob(w.Person[:]).exec()
	case mfa.ErasePerson:
		for _, sql := range []string{eraseContexts, eraseFactors, eraseErasure} {
			if _, err := c.prepare(sql).blob(w.Person[:]).exec(); err != nil {
				return err
			}
		}
	case mfa.SealContext:
		_, err = c.prepare(sealContext).blob(w.Sealed).id(w.Event).exec()
	case mfa.SealDeletedFactor:
		_, err = c.prepare(sealDeletedFactor).blob(w.Sealed).id(w.ID).exec()
	default:
		return fmt.Errorf("unknown write %T", w)
	}
	return err
}

// userHash returns 32 bits that find the factors of a user. The index stores them
// instead of a user id, which may have any length. Few users share the same hash.
func userHash(environment int64, user string) int64 {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(environment)), user...))
	return int64(int32(binary.BigEndian.Uint32(sum[:])))
}
