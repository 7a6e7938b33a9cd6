package postgres

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	storedrows "github.com/countersign-mfa/countersign/internal/store/rows"
)

var (
	factorColumns    = factors.list("f")
	challengeColumns = challenges.list("c")

	selectChallenge = `SELECT ` + challengeColumns + `, ` + factorColumns + ` FROM challenges c` +
		` JOIN factors f ON f.bucket = c.bucket AND f.id = c.factor WHERE c.bucket = $1 AND f.bucket = $1 AND c.id = $2`
	selectFactor = `SELECT ` + factorColumns + ` FROM factors f WHERE f.bucket = $1 AND f.id = $2`

	// selectCreated runs after the factor was locked, so it sees each challenge of the factor
	// that was created before.
	selectCreated = `SELECT ` + challengeColumns + ` FROM challenges c WHERE c.bucket = $1 AND c.created_key = $2 AND substr(c.created_by, 1, 16) = $3 ORDER BY c.id DESC LIMIT 1`

	// The owner of a factor has separate statements: FOR UPDATE cannot
	// lock a row that an outer join may not find.
	selectChallengeUser = `SELECT ` + users.list("u") + ` FROM users u WHERE u.bucket = $1 AND (u.environment, u.id) =` +
		` (SELECT f.environment, f.user_id FROM challenges c JOIN factors f ON f.bucket = c.bucket AND f.id = c.factor` +
		` WHERE c.bucket = $1 AND f.bucket = $1 AND c.id = $2)`
	selectFactorUser = `SELECT ` + users.list("u") + ` FROM users u WHERE u.bucket = $1 AND (u.environment, u.id) =` +
		` (SELECT f.environment, f.user_id FROM factors f WHERE f.bucket = $1 AND f.id = $2)`

	selectLoneChallenge = `SELECT ` + challengeColumns + ` FROM challenges c WHERE c.bucket = $1 AND c.id = $2`

	// selectOthers selects several factors and the factor of a challenge, in the order in which
	// groups lock factors.
	selectOthers = `SELECT ` + factorColumns + ` FROM factors f WHERE f.bucket = $1 AND f.id IN` +
		` (SELECT unnest($2::uuid[]) UNION ALL SELECT c.factor FROM challenges c WHERE c.bucket = $1 AND c.id = $3) ORDER BY f.id`
	selectRecovery = `SELECT ` + factorColumns + ` FROM factors f WHERE f.bucket = $1 AND f.environment = $2 AND f.user_id = $3 AND f.type = '` + string(mfa.RecoveryCodes) + `'`

	selectOwned = `SELECT ` + factorColumns + ` FROM factors f WHERE f.bucket = $1 AND f.environment = $2 AND f.user_id = $3 ORDER BY f.id`

	selectUser    = `SELECT ` + users.list("u") + ` FROM users u WHERE u.bucket = $1 AND u.environment = $2 AND u.id = $3`
	selectPhone   = `SELECT ` + phones.list("p") + ` FROM phones p WHERE p.bucket = $1 AND p.key = $2`
	selectTally   = `SELECT ` + tallies.list("y") + ` FROM tallies y WHERE y.bucket = $1 AND y.environment = $2 AND y.name = $3`
	selectMessage = `SELECT ` + messages.list("m") + ` FROM messages m WHERE m.bucket = $1 AND m.key = $2`
	selectBypass  = `SELECT ` + bypasses.list("w") + ` FROM bypasses w WHERE w.bucket = $1 AND w.key = $2`
	selectReplay  = `SELECT ` + replays.list("r") + ` FROM replays r WHERE r.bucket = $1 AND r.key = $2`
)

// lockOwner serializes the Updates that count or read the factors of a user: the user may have no row to
// lock. The bucket leads the statement to the machine of the rows. countOwned and selectOwned are other
// statements, so they see the factors that were stored before the lock was given.
const (
	lockOwner  = `SELECT pg_advisory_xact_lock($2), count(*) FROM (SELECT FROM factors f WHERE f.bucket = $1 LIMIT 1) f`
	countOwned = `SELECT count(*) FROM (SELECT FROM factors f WHERE f.bucket = $1 AND f.environment = $2 AND f.user_id = $3 LIMIT $4) f`
)

// ownerLock returns the number of the lock of a user. Two users can have the same one.
func ownerLock(k mfa.UserKey) int64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "countersign owner %d %s", k.Environment, k.ID))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

const (
	// isRunning reports whether the server process of an unanswered COMMIT still exists.
	isRunning = `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1::bigint)`
	// The lock makes this a transaction with its own commit, on the machine that has
	// the row. If commits wait for a standby, the answer comes when the standby has
	// that commit, and therefore also the commit that stored the event. A visible row
	// does not prove that.
	confirmEvent = `SELECT true FROM events WHERE environment = $1 AND id = $2 AND bucket = $3 FOR UPDATE`

	sealFactor      = `UPDATE factors SET sealed = $1, label = $2, issuer = NULL, account = NULL, replay = $3, phone = $4 WHERE bucket = $5 AND id = $6`
	deleteFactor    = `DELETE FROM factors WHERE bucket = $1 AND id = $2`
	deleteChallenge = `DELETE FROM challenges WHERE bucket = $1 AND id = $2`
	deleteUser      = `DELETE FROM users WHERE bucket = $1 AND environment = $2 AND id = $3`
	retireUser      = `WITH gone AS (DELETE FROM users u WHERE u.bucket = $1 AND u.environment = $2 AND u.id = $3` +
		` AND NOT EXISTS (SELECT FROM factors f WHERE f.bucket = $1 AND f.environment = $2 AND f.user_id = $3) RETURNING u.failures)` +
		` INSERT INTO users (bucket, environment, id, failures, expires_at) SELECT $1, $2, $4, failures, $5 FROM gone` +
		` ON CONFLICT (bucket, environment, id) DO UPDATE SET failures = users.failures + excluded.failures, expires_at = excluded.expires_at`
	restoreUser = `WITH back AS (DELETE FROM users u WHERE u.bucket = $1 AND u.environment = $2 AND u.id = $4 RETURNING u.failures)` +
		` INSERT INTO users (bucket, environment, id, failures) SELECT $1, $2, $3, failures FROM back` +
		` ON CONFLICT (bucket, environment, id) DO UPDATE SET failures = users.failures + excluded.failures`
	deleteTally  = `DELETE FROM tallies WHERE bucket = $1 AND environment = $2 AND name = $3`
	forgetReplay = `UPDATE replays SET sealed = '' WHERE bucket = $1 AND key = $2 AND factor = $3`
	deleteBypass = `DELETE FROM bypasses WHERE bucket = $1 AND key = $2`
	deleteReplay = `DELETE FROM replays WHERE bucket = $1 AND key = $2`
)

const (
	scheduleErasure = `INSERT INTO erasures (bucket, person, due_at) VALUES ($1, $2, $3)` +
		` ON CONFLICT (bucket, person) DO UPDATE SET due_at = least(erasures.due_at, excluded.due_at)`
	unscheduleErasure = `DELETE FROM erasures e WHERE e.bucket = $1 AND e.person = $2` +
		` AND EXISTS (SELECT FROM factors f WHERE f.bucket = $1 AND f.environment = $3 AND f.user_id = $4)`
	cancelErasure     = `DELETE FROM erasures WHERE bucket = $1 AND person = $2`
	eraseContexts     = `DELETE FROM event_contexts WHERE bucket = $1 AND person = $2`
	eraseFactors      = `DELETE FROM deleted_factors WHERE bucket = $1 AND person = $2`
	sealContext       = `UPDATE event_contexts SET sealed = $1 WHERE bucket = $2 AND id = $3`
	sealDeletedFactor = `UPDATE deleted_factors SET sealed = $1 WHERE bucket = $2 AND id = $3`
)

// A lock is the locking clause at the end of each SELECT of a read.
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

// read adds the SELECTs of r to batch; h receives their rows.
func (h *txRows) read(batch *pgx.Batch, r mfa.Read, l lock) {
	b, none := int16(r.Bucket), mfa.Read{}
	if len(r.Others) > 0 { // all factors first, and then the user
		if r.Challenge != none.Challenge {
			batch.Queue(selectLoneChallenge+l.on("c"), b, r.Challenge).Query(each(h.scanLoneChallenge))
		}
		batch.Queue(selectOthers+l.on("f"), b, r.Others, r.Challenge).Query(each(h.scanFactor))
		if r.Challenge != none.Challenge {
			batch.Queue(selectChallengeUser+l.on("u"), b, r.Challenge).Query(each(h.scanUser))
		}
		r.Challenge = none.Challenge
	}
	if r.Challenge != none.Challenge {
		batch.Queue(selectChallenge+l.on("c, f"), b, r.Challenge).Query(each(h.scanChallenge))
		batch.Queue(selectChallengeUser+l.on("u"), b, r.Challenge).Query(each(h.scanUser))
	}
	if r.Factor != none.Factor {
		batch.Queue(selectFactor+l.on("f"), b, r.Factor).Query(each(h.scanFactor))
		batch.Queue(selectFactorUser+l.on("u"), b, r.Factor).Query(each(h.scanUser))
	}
	if r.Created != none.Created {
		batch.Queue(selectCreated, b, storedrows.KeyNumber(r.Created), r.Created[:]).Query(each(h.scanCreated))
	}
	if r.User != none.User {
		batch.Queue(selectUser+l.on("u"), b, r.User.Environment, r.User.ID).Query(each(h.scanUser))
	}
	if r.Recovery != none.Recovery {
		batch.Queue(selectRecovery, b, r.Recovery.Environment, r.Recovery.ID).Query(each(h.scanUnlocked))
	}
	if r.Phone != none.Phone {
		batch.Queue(selectPhone+l.on("p"), b, r.Phone[:]).Query(each(phones.scanner(func(p *delivery.PhoneLimit) { h.phones[p.Key] = p })))
	}
	for _, key := range r.Counters {
		batch.Queue(selectTally+l.on("y"), b, key.Environment, key.Name).Query(each(tallies.scanner(func(t *delivery.Counter) {
			t.CounterKey = key // includes Of, which is not stored
			h.tallies[key] = t
		})))
	}
	if r.Message != none.Message {
		batch.Queue(selectMessage+l.on("m"), b, r.Message[:]).Query(each(messages.scanner(func(m *delivery.MessageRef) { h.messages[m.Key] = m })))
	}
	if r.Bypass != none.Bypass {
		batch.Queue(selectBypass+l.on("w"), b, r.Bypass[:]).Query(each(bypasses.scanner(func(w *mfa.Bypass) { h.bypasses[bypassRow{w.Bucket, w.Key}] = w })))
	}
	if r.Proof != none.Proof {
		batch.Queue(selectChallenge+l.on("c, f"), b, r.Proof).Query(each(h.scanChallenge))
	}
	if o := r.Owned; o != none.Owned {
		batch.Queue(lockOwner, b, ownerLock(o.User))
		if o.Most > 0 {
			batch.Queue(countOwned, b, o.User.Environment, o.User.ID, o.Most).Query(each(func(row *rowReader) error {
				h.owned[o.User] = max(h.owned[o.User], int(row.bigint()))
				return row.err
			}))
		}
		if o.All {
			batch.Queue(selectOwned, b, o.User.Environment, o.User.ID).Query(each(h.scanUnlocked))
		}
	}
	if r.Replay != none.Replay {
		batch.Queue(selectReplay+l.on("r"), b, r.Replay[:]).Query(each(h.scanReplay))
	}
}

// each returns a function that passes each row of a result to scan.
func each(scan func(*rowReader) error) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			if err := scan(readRow(rows)); err != nil {
				return &rowError{err}
			}
		}
		return rows.Err()
	}
}

func (h *txRows) scanChallenge(row *rowReader) error {
	c, f := challenges.scan(row), factors.scan(row)
	h.challenges[c.ID], h.factors[f.ID] = c, f
	return row.err
}

// scanLoneChallenge scans a challenge without its factor.
func (h *txRows) scanLoneChallenge(row *rowReader) error {
	c := challenges.scan(row)
	h.challenges[c.ID] = c
	return row.err
}

func (h *txRows) scanCreated(row *rowReader) error {
	c := challenges.scan(row)
	h.created[c.CreatedBy.Key] = c
	return row.err
}

func (h *txRows) scanFactor(row *rowReader) error {
	f := factors.scan(row)
	h.factors[f.ID] = f
	return row.err
}

// scanUnlocked scans a factor that is not locked here. It keeps a locked row.
func (h *txRows) scanUnlocked(row *rowReader) error {
	f := factors.scan(row)
	if h.factors[f.ID] == nil {
		h.factors[f.ID] = f
	}
	return row.err
}

func (h *txRows) scanUser(row *rowReader) error {
	u := users.scan(row)
	h.users[u.UserKey] = u
	return row.err
}

func (h *txRows) scanReplay(row *rowReader) error {
	p := replays.scan(row)
	h.replays[replayRow{p.Bucket, p.Key}] = p
	return row.err
}
