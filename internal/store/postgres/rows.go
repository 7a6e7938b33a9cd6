package postgres

import (
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	factorColumns    = `f.id, f.environment, f.type, coalesce(f.user_id, ''), coalesce(f.issuer, ''), coalesce(f.account, ''), f.sealed, f.replay, f.last_step, f.failures, f.locked_until, f.created_at, f.updated_at, f.label`
	challengeColumns = `c.id, c.factor, c.code_mac, c.sealed_code, c.messages, c.attempts, c.created_at, c.updated_at, c.expires_at, c.verified_at`

	selectChallenge = `SELECT ` + challengeColumns + `, ` + factorColumns + ` FROM challenges c` +
		` JOIN factors f ON f.bucket = c.bucket AND f.id = c.factor WHERE c.bucket = $1 AND f.bucket = $1 AND c.id = $2`
	selectFactor = `SELECT ` + factorColumns + ` FROM factors f WHERE f.bucket = $1 AND f.id = $2`

	// The owner of a factor, found by statements of their own: FOR UPDATE cannot
	// lock a row that an outer join may not find.
	selectChallengeUser = `SELECT u.environment, u.id, u.failures FROM users u WHERE u.bucket = $1 AND (u.environment, u.id) =` +
		` (SELECT f.environment, f.user_id FROM challenges c JOIN factors f ON f.bucket = c.bucket AND f.id = c.factor` +
		` WHERE c.bucket = $1 AND f.bucket = $1 AND c.id = $2)`
	selectFactorUser = `SELECT u.environment, u.id, u.failures FROM users u WHERE u.bucket = $1 AND (u.environment, u.id) =` +
		` (SELECT f.environment, f.user_id FROM factors f WHERE f.bucket = $1 AND f.id = $2)`

	selectUser    = `SELECT u.environment, u.id, u.failures FROM users u WHERE u.bucket = $1 AND u.environment = $2 AND u.id = $3`
	selectPhone   = `SELECT p.sends, p.expires_at FROM phones p WHERE p.bucket = $1 AND p.key = $2`
	selectTally   = `SELECT y.name, y.sealed, y.counts, y.paused_until, y.expires_at FROM tallies y WHERE y.bucket = $1 AND y.environment = $2 AND y.name = $3`
	selectMessage = `SELECT m.challenge, m.number, coalesce(m.state, ''), coalesce(m.reason, ''), m.expires_at FROM messages m WHERE m.bucket = $1 AND m.key = $2`
	selectReplay  = `SELECT r.fingerprint, r.factor, r.sealed, r.expires_at, r.pending FROM replays r WHERE r.bucket = $1 AND r.key = $2`

	// isRunning finds the process of a transaction whose COMMIT was not answered.
	isRunning = `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1::bigint)`
	// The lock makes this a transaction with a commit of its own, on the machine that
	// has the row. Where commits wait for a standby, it is answered when the standby
	// has that commit, and so the one that stored the event; that a row can be seen
	// does not prove it.
	confirmEvent = `SELECT true FROM events WHERE bucket = $1 AND id = $2 FOR UPDATE`

	insertIntoFactors    = `INSERT INTO factors (bucket, id, environment, type, user_id, issuer, account, sealed, replay, last_step, failures, locked_until, created_at, updated_at, label)`
	insertIntoChallenges = `INSERT INTO challenges (bucket, id, factor, code_mac, sealed_code, messages, attempts, created_at, updated_at, expires_at, verified_at)`
	insertIntoEvents     = `INSERT INTO events (bucket, id, environment, type, factor, challenge, reason)`

	insertFactor    = insertIntoFactors + ` VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`
	updateFactor    = `UPDATE factors SET sealed = $1, last_step = $2, failures = $3, locked_until = $4, updated_at = $5 WHERE bucket = $6 AND id = $7`
	sealFactor      = `UPDATE factors SET sealed = $1, label = $2, issuer = NULL, account = NULL, replay = $3 WHERE bucket = $4 AND id = $5`
	deleteFactor    = `DELETE FROM factors WHERE bucket = $1 AND id = $2`
	insertChallenge = insertIntoChallenges + ` VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`
	updateChallenge = `UPDATE challenges SET sealed_code = $1, messages = $2, attempts = $3, updated_at = $4, verified_at = $5 WHERE bucket = $6 AND id = $7`
	deleteChallenge = `DELETE FROM challenges WHERE bucket = $1 AND id = $2`
	insertUser      = `INSERT INTO users (bucket, environment, id, failures, expires_at) VALUES ($1, $2, $3, $4, $5)`
	updateUser      = `UPDATE users SET failures = $4 WHERE bucket = $1 AND environment = $2 AND id = $3`
	deleteUser      = `DELETE FROM users WHERE bucket = $1 AND environment = $2 AND id = $3`
	retireUser      = `WITH gone AS (DELETE FROM users u WHERE u.bucket = $1 AND u.environment = $2 AND u.id = $3` +
		` AND NOT EXISTS (SELECT FROM factors f WHERE f.bucket = $1 AND f.environment = $2 AND f.user_id = $3) RETURNING u.failures)` +
		` INSERT INTO users (bucket, environment, id, failures, expires_at) SELECT $1, $2, $4, failures, $5 FROM gone` +
		` ON CONFLICT (bucket, environment, id) DO UPDATE SET failures = users.failures + excluded.failures, expires_at = excluded.expires_at`
	restoreUser = `WITH back AS (DELETE FROM users u WHERE u.bucket = $1 AND u.environment = $2 AND u.id = $4 RETURNING u.failures)` +
		` INSERT INTO users (bucket, environment, id, failures) SELECT $1, $2, $3, failures FROM back` +
		` ON CONFLICT (bucket, environment, id) DO UPDATE SET failures = users.failures + excluded.failures`
	insertPhone   = `INSERT INTO phones (bucket, key, sends, expires_at) VALUES ($1, $2, $3, $4)`
	updatePhone   = `UPDATE phones SET sends = $3, expires_at = $4 WHERE bucket = $1 AND key = $2`
	insertTally   = `INSERT INTO tallies (bucket, environment, name, sealed, counts, paused_until, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	updateTally   = `UPDATE tallies SET sealed = $4, counts = $5, paused_until = $6, expires_at = $7 WHERE bucket = $1 AND environment = $2 AND name = $3`
	deleteTally   = `DELETE FROM tallies WHERE bucket = $1 AND environment = $2 AND name = $3`
	insertMessage = `INSERT INTO messages (bucket, key, challenge, number, state, reason, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	updateMessage = `UPDATE messages SET challenge = $3, number = $4, state = $5, reason = $6, expires_at = $7 WHERE bucket = $1 AND key = $2`
	insertReplay  = `INSERT INTO replays (bucket, key, fingerprint, factor, sealed, expires_at, pending) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	updateReplay  = `UPDATE replays SET fingerprint = $3, factor = $4, sealed = $5, expires_at = $6, pending = $7 WHERE bucket = $1 AND key = $2`
	forgetReplay  = `UPDATE replays SET sealed = '' WHERE bucket = $1 AND key = $2 AND factor = $3`
	deleteReplay  = `DELETE FROM replays WHERE bucket = $1 AND key = $2`
	insertEvent   = insertIntoEvents + ` VALUES ($1, $2, $3, $4, $5, $6, $7)`
)

// A lock ends the SELECTs of a read.
type lock string

const (
	noLock    lock = ""
	forUpdate lock = "update"
)

func (l lock) on(tables string) string {
	if l == noLock {
		return ""
	}
	return " FOR UPDATE OF " + tables
}

// read adds the SELECTs of r to batch; their rows go into h.
func (h *held) read(batch *pgx.Batch, r mfa.Read, l lock) {
	b, none := int16(r.Bucket), mfa.Read{}
	if r.Challenge != none.Challenge {
		batch.Queue(selectChallenge+l.on("c, f"), b, r.Challenge).Query(each(h.scanChallenge))
		batch.Queue(selectChallengeUser+l.on("u"), b, r.Challenge).Query(each(h.scanUser))
	}
	if r.Factor != none.Factor {
		batch.Queue(selectFactor+l.on("f"), b, r.Factor).Query(each(h.scanFactor))
		batch.Queue(selectFactorUser+l.on("u"), b, r.Factor).Query(each(h.scanUser))
	}
	if r.User != none.User {
		batch.Queue(selectUser+l.on("u"), b, r.User.Environment, r.User.ID).Query(each(h.scanUser))
	}
	if r.Phone != none.Phone {
		batch.Queue(selectPhone+l.on("p"), b, r.Phone[:]).Query(each(func(rows pgx.Rows) error {
			p := &mfa.PhoneLimit{Bucket: r.Bucket, Key: r.Phone}
			var sends []byte
			err := rows.Scan(&sends, (*moment)(&p.ExpiresAt))
			if err == nil {
				p.Sends, err = mfa.DecodeSends(sends)
			}
			h.phones[r.Phone] = p
			return err
		}))
	}
	for _, key := range r.Tallies {
		batch.Queue(selectTally+l.on("y"), b, key.Environment, key.Name).Query(each(func(rows pgx.Rows) error {
			t := new(mfa.Tally)
			err := rows.Scan(tallyFields(t)...)
			t.TallyKey = key
			h.tallies[key] = t
			return err
		}))
	}
	if r.Message != none.Message {
		batch.Queue(selectMessage+l.on("m"), b, r.Message[:]).Query(each(func(rows pgx.Rows) error {
			m := &mfa.MessageRef{Bucket: r.Bucket, Key: r.Message}
			err := rows.Scan(messageFields(m)...)
			h.messages[r.Message] = m
			return err
		}))
	}
	if r.Replay != none.Replay {
		batch.Queue(selectReplay+l.on("r"), b, r.Replay[:]).Query(each(func(rows pgx.Rows) error {
			p := &mfa.Replay{Bucket: r.Bucket, Record: idempotency.Record{Key: r.Replay}}
			var fingerprint []byte
			var about *[16]byte
			err := rows.Scan(&fingerprint, &about, &p.Sealed, (*moment)(&p.ExpiresAt), (*moment)(&p.PendingUntil))
			copy(p.Fingerprint[:], fingerprint)
			if about != nil {
				p.About = *about
			}
			h.replays[replayRow{r.Bucket, r.Replay}] = p
			return err
		}))
	}
}

func each(scan func(pgx.Rows) error) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			if err := scan(rows); err != nil {
				return &rowError{err}
			}
		}
		return rows.Err()
	}
}

func (h *held) scanChallenge(rows pgx.Rows) error {
	row := cellsOf(rows)
	c, err := row.challenge()
	f := row.factor()
	h.challenges[c.ID], h.factors[f.ID] = c, f
	return errors.Join(err, row.err)
}

// scanLoneChallenge scans a challenge without its factor.
func (h *held) scanLoneChallenge(rows pgx.Rows) error {
	row := cellsOf(rows)
	c, err := row.challenge()
	h.challenges[c.ID] = c
	return errors.Join(err, row.err)
}

func (h *held) scanFactor(rows pgx.Rows) error {
	row := cellsOf(rows)
	f := row.factor()
	h.factors[f.ID] = f
	return row.err
}

func (h *held) scanUser(rows pgx.Rows) error {
	row := cellsOf(rows)
	u := &mfa.User{UserKey: mfa.UserKey{Environment: mfa.EnvironmentID(row.bigint()), ID: row.text()}, Failures: row.integer()}
	h.users[u.UserKey] = u
	return row.err
}

// factor reads factorColumns.
func (c *cells) factor() *mfa.Factor {
	f := &mfa.Factor{
		ID: c.uuid(), Environment: mfa.EnvironmentID(c.bigint()), Type: mfa.FactorType(c.text()), User: c.text(),
		Old: mfa.Unsealed{Issuer: c.text(), Account: c.text()},
	}
	f.Sealed = c.bytea()
	f.Replay, f.Old.Replay = mfa.ReadReplayKey(c.bytea())
	f.LastStep, f.Failures = c.bigint(), c.integer()
	f.LockedUntil, f.CreatedAt, f.UpdatedAt, f.Label = c.time(), c.time(), c.time(), c.bytea()
	return f
}

// challenge reads challengeColumns.
func (c *cells) challenge() (_ *mfa.Challenge, err error) {
	ch := &mfa.Challenge{ID: c.uuid(), Factor: c.uuid(), CodeMAC: c.bytea()}
	ch.SealedCode = c.bytea()
	ch.Messages, err = mfa.DecodeDeliveries(c.next())
	ch.SetCounts(c.integer())
	ch.CreatedAt, ch.UpdatedAt, ch.ExpiresAt, ch.VerifiedAt = c.time(), c.time(), c.time(), c.time()
	return ch, err
}

func tallyFields(t *mfa.Tally) []any {
	return []any{&t.Name, &t.Sealed, (*counts)(&t.Counts), (*moment)(&t.PausedUntil), (*moment)(&t.ExpiresAt)}
}

func messageFields(m *mfa.MessageRef) []any {
	return []any{(*reference)(&m.Challenge), &m.Number, &m.State, &m.Reason, (*moment)(&m.ExpiresAt)}
}

// bucket returns the column value of an id's bucket.
func bucket(id interface{ Bucket() mfa.Bucket }) int16 { return int16(id.Bucket()) }

// text stores an empty string as NULL.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// instant stores the zero time as NULL.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// optional stores the zero id as NULL.
func optional[ID ~[16]byte](id ID) *[16]byte {
	if id == (ID{}) {
		return nil
	}
	raw := [16]byte(id)
	return &raw
}

// replayOf returns what is stored of a factor's replay key, nil for NULL.
func replayOf(f *mfa.Factor) []byte {
	if f.Old.Replay != nil {
		return f.Old.Replay
	}
	return replayBytes(f.Replay)
}

// replayBytes stores the zero key as NULL.
func replayBytes(k mfa.ReplayKey) []byte {
	if k == (mfa.ReplayKey{}) {
		return nil
	}
	return k[:]
}
