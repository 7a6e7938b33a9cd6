package sqlite

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/mfa"
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
			if err := apply(c, w); err != nil {
				return domainError(fmt.Errorf("%T: %w", w, err))
			}
			c.recent.wrote(w)
		}
		return nil
	})
}

// View reads as of one moment; see mfa.Store.
func (s *Store) View(ctx context.Context, r mfa.Read) (rows mfa.Rows, err error) {
	err = s.read(ctx, func(c *conn) (err error) {
		rows, err = load(c, r)
		return err
	})
	return rows, err
}

const (
	factorColumns    = `f.hi, f.lo, f.environment, f.type, f.user_id, f.issuer, f.account, f.sealed, f.replay, f.last_step, f.failures, f.locked_until, f.created, f.updated, f.label`
	challengeColumns = `c.hi, c.lo, c.factor_hi, c.factor_lo, c.code_mac, c.sealed_code, c.messages, c.attempts, c.created, c.updated, c.expires, c.verified`
	messageColumns   = `challenge_hi, challenge_lo, number, state, reason, expires_at`
	replayColumns    = `fingerprint, about_hi, about_lo, sealed, expires_at, pending`

	selectChallenge = `SELECT ` + challengeColumns + ` FROM challenges c WHERE c.hi = ? AND c.lo = ?`
	selectFactor    = `SELECT ` + factorColumns + ` FROM factors f WHERE f.hi = ? AND f.lo = ?`
	selectUser      = `SELECT failures FROM users WHERE environment = ? AND id = ?`
	selectPhone     = `SELECT sends, expires_at FROM phones WHERE key = ?`
	selectTally     = `SELECT sealed, counts, paused_until, expires_at FROM tallies WHERE environment = ? AND name = ?`
	selectMessage   = `SELECT ` + messageColumns + ` FROM messages WHERE key = ?`
	selectReplay    = `SELECT ` + replayColumns + ` FROM replays WHERE bucket = ? AND key = ?`
)

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
			rows.Challenge = nil // of a factor that is gone
		case rows.Factor.User != "":
			user = mfa.UserKey{Environment: rows.Factor.Environment, ID: rows.Factor.User}
		}
	}
	if err == nil && user != none.User {
		err = c.prepare(selectUser).int(int64(user.Environment)).text(user.ID).each(func(row *columns) error {
			rows.User = &mfa.User{UserKey: user, Failures: int(row.int())}
			return nil
		})
	}
	if err == nil && r.Phone != none.Phone {
		err = c.prepare(selectPhone).blob(r.Phone[:]).each(func(row *columns) (err error) {
			rows.Phone = &mfa.PhoneLimit{Bucket: r.Bucket, Key: r.Phone}
			rows.Phone.Sends, err = mfa.DecodeSends(row.blob())
			rows.Phone.ExpiresAt = row.time()
			return err
		})
	}
	if err == nil && len(r.Tallies) > 0 {
		rows.Tallies, err = loadTallies(c, r.Tallies)
	}
	if err == nil && r.Message != none.Message {
		err = c.prepare(selectMessage).blob(r.Message[:]).each(func(row *columns) error {
			rows.Message = &mfa.MessageRef{Bucket: r.Bucket, Key: r.Message}
			scanMessage(row, rows.Message)
			return nil
		})
	}
	if err == nil && r.Replay != none.Replay {
		err = c.prepare(selectReplay).int(int64(r.Bucket)).blob(r.Replay[:]).each(func(row *columns) error {
			rows.Replay = &mfa.Replay{
				Bucket: r.Bucket, Key: r.Replay, Fingerprint: row.hash(), About: row.id(), Sealed: row.blob(),
				ExpiresAt: row.time(), PendingUntil: row.time(),
			}
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
	err = c.prepare(selectChallenge).id(id).each(func(row *columns) (err error) {
		found, err = scanChallenge(row)
		return err
	})
	return found, err
}

func loadFactor(c *conn, id mfa.FactorID) (found *mfa.Factor, err error) {
	if c.recent != nil {
		if kept, ok := c.recent.factors.Get(id); ok {
			return copyFactor(kept), nil
		}
	}
	err = c.prepare(selectFactor).id(id).each(func(row *columns) error {
		found = scanFactor(row)
		return nil
	})
	if c.recent != nil && found != nil {
		c.recent.factors.Put(id, copyFactor(found))
	}
	return found, err
}

// loadTallies reads the tallies of keys, nil for one that is not stored.
func loadTallies(c *conn, keys []mfa.TallyKey) ([]*mfa.Tally, error) {
	tallies := make([]*mfa.Tally, len(keys))
	for i, key := range keys {
		err := c.prepare(selectTally).int(int64(key.Environment)).string(key.Name).each(func(row *columns) error {
			tallies[i] = &mfa.Tally{TallyKey: key}
			return scanTally(row, tallies[i])
		})
		if err != nil {
			return nil, err
		}
	}
	return tallies, nil
}

// scanTally reads what is behind the key of a tally.
func scanTally(row *columns, t *mfa.Tally) (err error) {
	t.Sealed = row.blob()
	t.Counts, err = mfa.DecodeCounts(row.blob())
	t.PausedUntil, t.ExpiresAt = row.time(), row.time()
	return err
}

// scanMessage reads what is behind the key of a message reference.
func scanMessage(row *columns, m *mfa.MessageRef) {
	m.Challenge, m.Number = row.id(), int(row.int())
	m.State, m.Reason, m.ExpiresAt = mfa.DeliveryState(row.text()), row.text(), row.time()
}

func scanFactor(row *columns) *mfa.Factor {
	f := &mfa.Factor{
		ID:          row.id(),
		Environment: mfa.EnvironmentID(row.int()),
		Type:        mfa.FactorType(row.word()),
		User:        row.text(),
		Old:         mfa.Unsealed{Issuer: row.text(), Account: row.text()},
	}
	f.Sealed = row.blob()
	f.Replay, f.Old.Replay = mfa.ReadReplayKey(row.blob())
	f.LastStep, f.Failures = row.int(), int(row.int())
	f.LockedUntil, f.CreatedAt, f.UpdatedAt = row.since(f.ID), row.since(f.ID), row.since(f.ID)
	f.Label = row.blob()
	return f
}

func scanChallenge(row *columns) (*mfa.Challenge, error) {
	c := &mfa.Challenge{ID: row.id(), Factor: row.id(), CodeMAC: row.blob()}
	c.SealedCode = row.blob()
	messages, err := mfa.DecodeDeliveries(row.blob())
	c.Messages = messages
	c.SetCounts(int(row.int()))
	c.CreatedAt, c.UpdatedAt, c.ExpiresAt, c.VerifiedAt = row.since(c.ID), row.since(c.ID), row.since(c.ID), row.since(c.ID)
	return c, err
}

const (
	insertFactor = `INSERT INTO factors (hi, lo, environment, type, user_hash, user_id, issuer, account, sealed, replay, last_step, failures, locked_until, created, updated, label)` +
		` VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateFactor    = `UPDATE factors SET sealed = ?, last_step = ?, failures = ?, locked_until = ?, updated = ? WHERE hi = ? AND lo = ?`
	sealFactor      = `UPDATE factors SET sealed = ?, label = ?, issuer = NULL, account = NULL, replay = ? WHERE hi = ? AND lo = ?`
	deleteFactor    = `DELETE FROM factors WHERE hi = ? AND lo = ?`
	insertChallenge = `INSERT INTO challenges (hi, lo, factor_hi, factor_lo, code_mac, sealed_code, messages, attempts, created, updated, expires, verified)` +
		` VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateChallenge = `UPDATE challenges SET sealed_code = ?, messages = ?, attempts = ?, updated = ?, verified = ? WHERE hi = ? AND lo = ?`
	deleteChallenge = `DELETE FROM challenges WHERE hi = ? AND lo = ?`
	putUser         = `INSERT INTO users (environment, id, failures) VALUES (?, ?, ?)` +
		` ON CONFLICT DO UPDATE SET failures = excluded.failures`
	deleteUser = `DELETE FROM users WHERE environment = ? AND id = ?`
	retireUser = `INSERT INTO users (environment, id, failures, bucket, expires_at) SELECT environment, ?, failures, ?, ? FROM users WHERE environment = ? AND id = ?` +
		` AND NOT EXISTS (SELECT 1 FROM factors WHERE user_hash = ? AND environment = ? AND user_id = ?)` +
		` ON CONFLICT DO UPDATE SET failures = failures + excluded.failures, expires_at = excluded.expires_at`
	restoreUser = `INSERT INTO users (environment, id, failures) SELECT environment, ?, failures FROM users WHERE environment = ? AND id = ?` +
		` ON CONFLICT DO UPDATE SET failures = failures + excluded.failures`
	putPhone = `INSERT INTO phones (key, sends, expires_at) VALUES (?, ?, ?)` +
		` ON CONFLICT DO UPDATE SET sends = excluded.sends, expires_at = excluded.expires_at`
	putTally = `INSERT INTO tallies (environment, name, sealed, counts, paused_until, expires_at) VALUES (?, ?, ?, ?, ?, ?)` +
		` ON CONFLICT DO UPDATE SET sealed = excluded.sealed, counts = excluded.counts, paused_until = excluded.paused_until, expires_at = excluded.expires_at`
	deleteTally = `DELETE FROM tallies WHERE environment = ? AND name = ?`
	putMessage  = `INSERT INTO messages (key, ` + messageColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?)` +
		` ON CONFLICT DO UPDATE SET challenge_hi = excluded.challenge_hi, challenge_lo = excluded.challenge_lo, number = excluded.number, state = excluded.state, reason = excluded.reason, expires_at = excluded.expires_at`
	putReplay = `INSERT INTO replays (bucket, key, ` + replayColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?)` +
		` ON CONFLICT DO UPDATE SET fingerprint = excluded.fingerprint, about_hi = excluded.about_hi, about_lo = excluded.about_lo, sealed = excluded.sealed, expires_at = excluded.expires_at, pending = excluded.pending`
	forgetReplay = `UPDATE replays SET sealed = x'' WHERE bucket = ? AND key = ? AND about_hi = ? AND about_lo = ?`
	deleteReplay = `DELETE FROM replays WHERE bucket = ? AND key = ?`
	insertEvent  = `INSERT INTO events (` + eventColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

// apply makes one write.
func apply(c *conn, w mfa.Write) (err error) {
	switch w := w.(type) {
	case mfa.InsertFactor:
		return bindFactor(c.prepare(insertFactor), w.Factor).one()
	case mfa.UpdateFactor:
		return c.prepare(updateFactor).blob(w.Sealed).int(w.LastStep).int(int64(w.Failures)).
			since(w.ID, w.LockedUntil).since(w.ID, w.UpdatedAt).id(w.ID).one()
	case mfa.SealFactor:
		return c.prepare(sealFactor).blob(w.Sealed).blob(w.Label).replay(w.Replay).id(w.ID).one()
	case mfa.DeleteFactor:
		return c.prepare(deleteFactor).id(w.ID).one()
	case mfa.InsertChallenge:
		return bindChallenge(c.prepare(insertChallenge), w.Challenge).one()
	case mfa.UpdateChallenge:
		return c.prepare(updateChallenge).blob(w.SealedCode).blob(mfa.EncodeDeliveries(w.Messages)).int(int64(w.Counts())).
			since(w.ID, w.UpdatedAt).since(w.ID, w.VerifiedAt).id(w.ID).one()
	case mfa.DeleteChallenge:
		_, err = c.prepare(deleteChallenge).id(w.ID).exec()
	case mfa.PutUser:
		return c.prepare(putUser).int(int64(w.Environment)).text(w.ID).int(int64(w.Failures)).one()
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
		return c.prepare(putPhone).blob(w.Key[:]).blob(mfa.EncodeSends(w.Sends)).time(w.ExpiresAt).one()
	case mfa.PutTally:
		return c.prepare(putTally).int(int64(w.Environment)).string(w.Name).blob(w.Sealed).blob(mfa.EncodeCounts(w.Counts)).
			time(w.PausedUntil).time(w.ExpiresAt).one()
	case mfa.DeleteTally:
		_, err = c.prepare(deleteTally).int(int64(w.Key.Environment)).string(w.Key.Name).exec()
	case mfa.PutMessage:
		return c.prepare(putMessage).blob(w.Key[:]).idOrNull(w.Challenge).int(int64(w.Number)).text(string(w.State)).text(w.Reason).
			time(w.ExpiresAt).one()
	case mfa.PutReplay:
		return c.prepare(putReplay).int(int64(w.Bucket)).blob(w.Key[:]).blob(w.Fingerprint[:]).idOrNull(w.About).blob(w.Sealed).time(w.ExpiresAt).time(w.PendingUntil).one()
	case mfa.DeleteReplay:
		_, err = c.prepare(deleteReplay).int(int64(w.Bucket)).blob(w.Key[:]).exec()
	case mfa.ForgetReplay:
		_, err = c.prepare(forgetReplay).int(int64(w.Bucket)).blob(w.Key[:]).id(w.Factor).exec()
	case mfa.AppendEvent:
		return bindEvent(c.prepare(insertEvent), w.Event).one()
	default:
		return fmt.Errorf("unknown write %T", w)
	}
	return err
}

func bindFactor(s *statement, f *mfa.Factor) *statement {
	s.id(f.ID).int(int64(f.Environment)).word(string(f.Type))
	if f.User == "" {
		s.null().null()
	} else {
		s.int(userHash(int64(f.Environment), f.User)).string(f.User)
	}
	s.text(f.Old.Issuer).text(f.Old.Account).blob(f.Sealed)
	if f.Old.Replay != nil {
		s.blob(f.Old.Replay)
	} else {
		s.replay(f.Replay)
	}
	return s.int(f.LastStep).int(int64(f.Failures)).
		since(f.ID, f.LockedUntil).since(f.ID, f.CreatedAt).since(f.ID, f.UpdatedAt).blob(f.Label)
}

// userHash is what the factors of a user are found by: 32 bits, which few users
// share, in place of an id of any length.
func userHash(environment int64, user string) int64 {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(environment)), user...))
	return int64(int32(binary.BigEndian.Uint32(sum[:])))
}

func bindChallenge(s *statement, c *mfa.Challenge) *statement {
	return s.id(c.ID).id(c.Factor).blob(c.CodeMAC).blob(c.SealedCode).blob(mfa.EncodeDeliveries(c.Messages)).int(int64(c.Counts())).
		since(c.ID, c.CreatedAt).since(c.ID, c.UpdatedAt).since(c.ID, c.ExpiresAt).since(c.ID, c.VerifiedAt)
}

func bindEvent(s *statement, e mfa.Event) *statement {
	return s.id(e.ID).int(int64(e.Environment)).word(string(e.Type)).idOrNull(e.Factor).idOrNull(e.Challenge).word(e.Reason)
}
