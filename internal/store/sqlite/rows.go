package sqlite

import (
	"context"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// Update runs fn on the writer; see mfa.Store.
func (s *Store) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	return s.write(ctx, func(c *conn) error {
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
		}
		return nil
	})
}

// View reads on a connection of its own; see mfa.Store.
func (s *Store) View(ctx context.Context, r mfa.Read) (rows mfa.Rows, err error) {
	err = s.read(ctx, func(c *conn) (err error) {
		if isOneStatement(r) {
			rows, err = load(c, r) // it sees one moment by itself; BEGIN and COMMIT would cost a third of it
			return err
		}
		return c.transaction("BEGIN", func() (err error) {
			rows, err = load(c, r)
			return err
		})
	})
	return rows, err
}

// isOneStatement reports whether load runs no more than one statement.
func isOneStatement(r mfa.Read) bool {
	none, n := mfa.Read{}, len(r.Tallies)
	for _, named := range []bool{
		r.Challenge != none.Challenge, r.Factor != none.Factor, r.User != none.User, r.Phone != none.Phone,
		r.Message != none.Message, r.Replay != none.Replay,
	} {
		if named {
			n++
		}
	}
	return n <= 1
}

const (
	factorColumns    = `f.id, f.environment, f.type, f.user_id, f.issuer, f.account, f.sealed, f.replay, f.last_step, f.failures, f.locked_until, f.created_at, f.updated_at`
	challengeColumns = `c.id, c.factor, c.code_mac, c.sealed_code, c.messages, c.attempts, c.created_at, c.updated_at, c.expires_at, c.verified_at`
	joinUser         = ` LEFT JOIN users u ON u.environment = f.environment AND u.id = f.user_id`

	selectChallenge = `SELECT ` + challengeColumns + `, ` + factorColumns + `, u.failures FROM challenges c` +
		` JOIN factors f ON f.id = c.factor` + joinUser + ` WHERE c.id = ?`
	selectFactor  = `SELECT ` + factorColumns + `, u.failures FROM factors f` + joinUser + ` WHERE f.id = ?`
	selectUser    = `SELECT failures FROM users WHERE environment = ? AND id = ?`
	selectPhone   = `SELECT sends, expires_at FROM phones WHERE key = ?`
	selectTally   = `SELECT counts, paused_until, expires_at FROM tallies WHERE environment = ? AND name = ?`
	selectMessage = `SELECT challenge, number, state, reason, expires_at FROM messages WHERE key = ?`
	selectReplay  = `SELECT fingerprint, factor, sealed, expires_at, pending FROM replays WHERE bucket = ? AND key = ?`
)

// load reads the rows that r names.
func load(c *conn, r mfa.Read) (rows mfa.Rows, err error) {
	none := mfa.Read{}
	if r.Challenge != none.Challenge {
		err = c.prepare(selectChallenge).id(r.Challenge).each(func(row *columns) (err error) {
			rows.Challenge, err = scanChallenge(row)
			rows.Factor = scanFactor(row)
			rows.User = scanFailures(row, rows.Factor.Environment, rows.Factor.User)
			return err
		})
	}
	if err == nil && r.Factor != none.Factor {
		err = c.prepare(selectFactor).id(r.Factor).each(func(row *columns) error {
			rows.Factor = scanFactor(row)
			rows.User = scanFailures(row, rows.Factor.Environment, rows.Factor.User)
			return nil
		})
	}
	if err == nil && r.User != none.User {
		err = c.prepare(selectUser).int(int64(r.User.Environment)).text(r.User.ID).each(func(row *columns) error {
			rows.User = scanFailures(row, r.User.Environment, r.User.ID)
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

// loadTallies reads the tallies of keys, nil for one that is not stored.
func loadTallies(c *conn, keys []mfa.TallyKey) ([]*mfa.Tally, error) {
	tallies := make([]*mfa.Tally, len(keys))
	for i, key := range keys {
		err := c.prepare(selectTally).int(int64(key.Environment)).string(key.Of).each(func(row *columns) error {
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
	return &mfa.Factor{
		ID:          row.id(),
		Environment: mfa.EnvironmentID(row.int()),
		Type:        mfa.FactorType(row.text()),
		User:        row.text(),
		Issuer:      row.text(),
		Account:     row.text(),
		Sealed:      row.blob(),
		Replay:      row.hash(),
		LastStep:    row.int(),
		Failures:    int(row.int()),
		LockedUntil: row.time(),
		CreatedAt:   row.time(),
		UpdatedAt:   row.time(),
	}
}

func scanChallenge(row *columns) (*mfa.Challenge, error) {
	c := &mfa.Challenge{ID: row.id(), Factor: row.id(), CodeMAC: row.blob(), SealedCode: row.blob()}
	messages, err := mfa.DecodeDeliveries(row.blob())
	c.Messages = messages
	c.Attempts = int(row.int())
	c.CreatedAt, c.UpdatedAt, c.ExpiresAt, c.VerifiedAt = row.time(), row.time(), row.time(), row.time()
	return c, err
}

// scanFailures reads a count that is NULL, and so 0, where there is no row. A row
// that is there counts at least one failure.
func scanFailures(row *columns, env mfa.EnvironmentID, user string) *mfa.User {
	n := row.int()
	if n == 0 {
		return nil
	}
	return &mfa.User{UserKey: mfa.UserKey{Environment: env, ID: user}, Failures: int(n)}
}

const (
	insertFactor = `INSERT INTO factors (id, environment, type, user_id, issuer, account, sealed, replay, last_step, failures, locked_until, created_at, updated_at)` +
		` VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateFactor    = `UPDATE factors SET sealed = ?, last_step = ?, failures = ?, locked_until = ?, updated_at = ? WHERE id = ?`
	deleteFactor    = `DELETE FROM factors WHERE id = ?`
	insertChallenge = `INSERT INTO challenges (id, factor, code_mac, sealed_code, messages, attempts, created_at, updated_at, expires_at, verified_at)` +
		` VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateChallenge = `UPDATE challenges SET sealed_code = ?, messages = ?, attempts = ?, updated_at = ?, verified_at = ? WHERE id = ?`
	deleteChallenge = `DELETE FROM challenges WHERE id = ?`
	putUser         = `INSERT INTO users (environment, id, failures) VALUES (?, ?, ?)` +
		` ON CONFLICT DO UPDATE SET failures = excluded.failures`
	deleteUser = `DELETE FROM users WHERE environment = ? AND id = ?`
	putPhone   = `INSERT INTO phones (key, sends, expires_at) VALUES (?, ?, ?)` +
		` ON CONFLICT DO UPDATE SET sends = excluded.sends, expires_at = excluded.expires_at`
	putTally = `INSERT INTO tallies (environment, name, counts, paused_until, expires_at) VALUES (?, ?, ?, ?, ?)` +
		` ON CONFLICT DO UPDATE SET counts = excluded.counts, paused_until = excluded.paused_until, expires_at = excluded.expires_at`
	putMessage = `INSERT INTO messages (key, challenge, number, state, reason, expires_at) VALUES (?, ?, ?, ?, ?, ?)` +
		` ON CONFLICT DO UPDATE SET challenge = excluded.challenge, number = excluded.number, state = excluded.state, reason = excluded.reason, expires_at = excluded.expires_at`
	putReplay = `INSERT INTO replays (bucket, key, fingerprint, factor, sealed, expires_at, pending) VALUES (?, ?, ?, ?, ?, ?, ?)` +
		` ON CONFLICT DO UPDATE SET fingerprint = excluded.fingerprint, factor = excluded.factor, sealed = excluded.sealed, expires_at = excluded.expires_at, pending = excluded.pending`
	forgetReplay = `UPDATE replays SET sealed = x'' WHERE bucket = ? AND key = ? AND factor = ?`
	deleteReplay = `DELETE FROM replays WHERE bucket = ? AND key = ?`
	insertEvent  = `INSERT INTO events (id, environment, type, factor, challenge, reason) VALUES (?, ?, ?, ?, ?, ?)`
)

// apply makes one write.
func apply(c *conn, w mfa.Write) (err error) {
	switch w := w.(type) {
	case mfa.InsertFactor:
		return bindFactor(c.prepare(insertFactor), w.Factor).one()
	case mfa.UpdateFactor:
		return c.prepare(updateFactor).blob(w.Sealed).int(w.LastStep).int(int64(w.Failures)).
			time(w.LockedUntil).time(w.UpdatedAt).id(w.ID).one()
	case mfa.DeleteFactor:
		return c.prepare(deleteFactor).id(w.ID).one()
	case mfa.InsertChallenge:
		return bindChallenge(c.prepare(insertChallenge), w.Challenge).one()
	case mfa.UpdateChallenge:
		return c.prepare(updateChallenge).blob(w.SealedCode).blob(mfa.EncodeDeliveries(w.Messages)).int(int64(w.Attempts)).
			time(w.UpdatedAt).time(w.VerifiedAt).id(w.ID).one()
	case mfa.DeleteChallenge:
		_, err = c.prepare(deleteChallenge).id(w.ID).exec()
	case mfa.PutUser:
		return c.prepare(putUser).int(int64(w.Environment)).text(w.ID).int(int64(w.Failures)).one()
	case mfa.DeleteUser:
		_, err = c.prepare(deleteUser).int(int64(w.Key.Environment)).text(w.Key.ID).exec()
	case mfa.PutPhone:
		return c.prepare(putPhone).blob(w.Key[:]).blob(mfa.EncodeSends(w.Sends)).time(w.ExpiresAt).one()
	case mfa.PutTally:
		return c.prepare(putTally).int(int64(w.Environment)).string(w.Of).blob(mfa.EncodeCounts(w.Counts)).
			time(w.PausedUntil).time(w.ExpiresAt).one()
	case mfa.PutMessage:
		return c.prepare(putMessage).blob(w.Key[:]).id(w.Challenge).int(int64(w.Number)).text(string(w.State)).text(w.Reason).
			time(w.ExpiresAt).one()
	case mfa.PutReplay:
		return c.prepare(putReplay).int(int64(w.Bucket)).blob(w.Key[:]).blob(w.Fingerprint[:]).id(w.About).blob(w.Sealed).time(w.ExpiresAt).time(w.PendingUntil).one()
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
	return s.id(f.ID).int(int64(f.Environment)).text(string(f.Type)).text(f.User).text(f.Issuer).text(f.Account).
		blob(f.Sealed).hash(f.Replay).int(f.LastStep).int(int64(f.Failures)).time(f.LockedUntil).time(f.CreatedAt).time(f.UpdatedAt)
}

func bindChallenge(s *statement, c *mfa.Challenge) *statement {
	return s.id(c.ID).id(c.Factor).blob(c.CodeMAC).blob(c.SealedCode).blob(mfa.EncodeDeliveries(c.Messages)).int(int64(c.Attempts)).
		time(c.CreatedAt).time(c.UpdatedAt).time(c.ExpiresAt).time(c.VerifiedAt)
}

func bindEvent(s *statement, e mfa.Event) *statement {
	return s.id(e.ID).int(int64(e.Environment)).text(string(e.Type)).id(e.Factor).id(e.Challenge).text(e.Reason)
}
