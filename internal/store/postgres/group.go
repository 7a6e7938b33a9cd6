package postgres

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/countersign-mfa/countersign/internal/mfa"
	storedrows "github.com/countersign-mfa/countersign/internal/store/rows"
)

// A group sends its most frequent reads and writes as one statement for all rows of a
// kind, with an array for each column. A hash-distributed PostgreSQL can route only a
// statement whose bucket is a plain parameter, so a single Update is sent row by row.

const (
	restoreUsers = `WITH k AS (SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::text[], $4::text[]) AS k (bucket, environment, id, former)),` +
		` back AS (DELETE FROM users u USING k WHERE u.bucket = k.bucket AND u.environment = k.environment AND u.id = k.former` +
		` RETURNING k.bucket, k.environment, k.id, u.failures)` +
		` INSERT INTO users (bucket, environment, id, failures) SELECT DISTINCT bucket, environment, id, failures FROM back` +
		` ON CONFLICT (bucket, environment, id) DO UPDATE SET failures = users.failures + excluded.failures`
	cancelErasures = `DELETE FROM erasures e USING unnest($1::smallint[], $2::bytea[]) AS k (bucket, person) WHERE e.bucket = k.bucket AND e.person = k.person`
)

var (
	// These statements lock rows one by one in the order of the keys in the arrays:
	// PostgreSQL runs the locking subquery for each row of the preceding table.
	lockChallenges = `SELECT c.* FROM unnest($1::smallint[], $2::uuid[]) AS k (bucket, id)` +
		` CROSS JOIN LATERAL (SELECT ` + challengeColumns + ` FROM challenges c WHERE c.bucket = k.bucket AND c.id = k.id FOR UPDATE) c`
	lockFactorsOf = `SELECT f.* FROM %s AS k (bucket, id)` +
		` CROSS JOIN LATERAL (SELECT ` + factorColumns + ` FROM factors f WHERE f.bucket = k.bucket AND f.id = k.id FOR UPDATE) f`
	// lockUsersOf locks the users of these factors and some others. Few of them have a
	// row, and those rows are found first, so there is little to sort. The statement runs
	// after the one that locks factors, so its rows are not older than those locks.
	lockUsersOf = `SELECT u.* FROM (SELECT DISTINCT k.bucket, u.environment, u.id FROM` +
		` (SELECT k.bucket, f.environment, f.user_id FROM %s AS k (bucket, id)` +
		` CROSS JOIN LATERAL (SELECT f.environment, f.user_id FROM factors f WHERE f.bucket = k.bucket AND f.id = k.id LIMIT 1) f` +
		` UNION ALL SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::text[])) AS k (bucket, environment, id)` +
		` CROSS JOIN LATERAL (SELECT u.environment, u.id FROM users u WHERE u.bucket = k.bucket AND u.environment = k.environment AND u.id = k.id LIMIT 1) u` +
		` ORDER BY 1, 2, 3) AS k (bucket, environment, id)` +
		` CROSS JOIN LATERAL (SELECT ` + users.list("u") + ` FROM users u WHERE u.bucket = k.bucket AND u.environment = k.environment AND u.id = k.id FOR UPDATE) u`
)

// findCreated finds the challenges of selectCreated. It locks nothing: the factors of the
// challenges are locked.
var findCreated = `SELECT c.* FROM unnest($1::smallint[], $2::bigint[], $3::bytea[]) AS k (bucket, number, key)` +
	` CROSS JOIN LATERAL (SELECT ` + challengeColumns + ` FROM challenges c WHERE c.bucket = k.bucket AND c.created_key = k.number AND substr(c.created_by, 1, 16) = k.key` +
	` ORDER BY c.id DESC LIMIT 1) c`

var lockReplays = `SELECT r.* FROM unnest($1::smallint[], $2::bytea[]) AS k (bucket, key)` +
	` CROSS JOIN LATERAL (SELECT ` + replays.list("r") + ` FROM replays r WHERE r.bucket = k.bucket AND r.key = k.key FOR UPDATE) r`

// The same statements, for factors with known keys, and for those plus the factors of
// other challenges. The factor of a challenge never changes, so it is looked up without a
// lock.
var (
	lockFactors        = fmt.Sprintf(lockFactorsOf, `unnest($1::smallint[], $2::uuid[])`)
	lockFactorsAndFind = fmt.Sprintf(lockFactorsOf, factorsAndFound(1))
	lockUsers          = fmt.Sprintf(lockUsersOf, `unnest($4::smallint[], $5::uuid[])`)
	lockUsersAndFind   = fmt.Sprintf(lockUsersOf, factorsAndFound(4))
)

// factorsAndFound selects factor keys: the keys in parameters n and n+1, and the keys
// of the factors of the challenges in the next two parameters.
func factorsAndFound(n int) string {
	return fmt.Sprintf(`(SELECT k.bucket, c.factor FROM unnest($%d::smallint[], $%d::uuid[]) AS k (bucket, id)`+
		` CROSS JOIN LATERAL (SELECT c.factor FROM challenges c WHERE c.bucket = k.bucket AND c.id = k.id LIMIT 1) c`+
		` UNION SELECT * FROM unnest($%d::smallint[], $%d::uuid[]) ORDER BY 1, 2)`, n+2, n+3, n, n+1)
}

// A rowKey is the key of a factor or a challenge.
type rowKey struct {
	bucket mfa.Bucket
	id     [16]byte
}

// compareKeys orders keys as PostgreSQL does.
func compareKeys(a, b rowKey) int {
	return cmp.Or(cmp.Compare(a.bucket, b.bucket), bytes.Compare(a.id[:], b.id[:]))
}

// arrays returns keys as two parameters.
func arrays(keys []rowKey) []any {
	c := arrayWriter{arrays: []array{{element: pgtype.Int2OID}, {element: pgtype.UUIDOID}}} // keys may be empty
	for _, k := range keys {
		c.row().smallint(int16(k.bucket)).uuid(k.id)
	}
	return c.parameters()
}

// readGroup adds the SELECTs of rows to batch. They lock all challenges, then all
// factors, users, replays and the rest, in the order of a read of one row; see rowsOf. factorOf
// returns the factor of a challenge, if it is known.
func (h *txRows) readGroup(batch *pgx.Batch, rows []mfa.Read, factorOf func(mfa.ChallengeID) (mfa.FactorID, bool)) {
	var challenges, factors, strangers []rowKey
	users := arrayWriter{arrays: []array{{element: pgtype.Int2OID}, {element: pgtype.Int8OID}, {element: pgtype.TextOID}}} // the reads may name no user
	var created, replays arrayWriter
	named := false
	none := mfa.Read{}
	rest := &pgx.Batch{}
	for _, r := range rows {
		if r.Challenge != none.Challenge {
			key := rowKey{r.Bucket, r.Challenge}
			challenges = append(challenges, key)
			if f, ok := factorOf(r.Challenge); ok {
				factors = append(factors, rowKey{r.Bucket, f})
			} else {
				strangers = append(strangers, key)
			}
		}
		if r.Factor != none.Factor {
			factors = append(factors, rowKey{r.Bucket, r.Factor})
		}
		for _, id := range r.Others {
			factors = append(factors, rowKey{r.Bucket, id})
		}
		if r.User != none.User {
			users.row().smallint(int16(r.Bucket)).bigint(int64(r.User.Environment)).text(r.User.ID)
			named = true
		}
		if r.Created != none.Created {
			created.row().smallint(int16(r.Bucket)).bigint(storedrows.KeyNumber(r.Created)).bytea(r.Created[:])
		}
		if r.Replay != none.Replay {
			replays.row().smallint(int16(r.Bucket)).bytea(r.Replay[:])
		}
		r.Challenge, r.Factor, r.User, r.Others, r.Created, r.Replay = none.Challenge, none.Factor, none.User, nil, none.Created, none.Replay
		h.read(rest, r, forUpdate)
	}
	if len(challenges) > 0 {
		batch.Queue(lockChallenges, arrays(challenges)...).Query(each(h.scanLoneChallenge))
	}
	slices.SortFunc(factors, compareKeys)
	keys, factorsSQL, usersSQL := arrays(slices.Compact(factors)), lockFactors, lockUsers
	if len(strangers) > 0 {
		keys, factorsSQL, usersSQL = append(keys, arrays(strangers)...), lockFactorsAndFind, lockUsersAndFind
	}
	if len(factors)+len(strangers) > 0 {
		batch.Queue(factorsSQL, keys...).Query(each(h.scanFactor))
	}
	if len(factors)+len(strangers) > 0 || named {
		batch.Queue(usersSQL, append(users.parameters(), keys...)...).Query(each(h.scanUser))
	}
	if len(created.arrays) > 0 {
		batch.Queue(findCreated, created.parameters()...).Query(each(h.scanCreated))
	}
	if len(replays.arrays) > 0 {
		batch.Queue(lockReplays, replays.parameters()...).Query(each(h.scanReplay))
	}
	batch.QueuedQueries = append(batch.QueuedQueries, rest.QueuedQueries...)
}

// writes collects the writes of a transaction. Inserts and updates of factors, challenges
// and events come first. All other writes stay in order: a deleted row was inserted or
// changed earlier, and no other write changes it. If a group deletes a row and inserts it
// again, the insert fails because the old row still exists.
type writes struct {
	shared bool // several jobs share the transaction; the writes of a single job all stay in order
	spread bool // the tables are distributed

	newFactors    []*mfa.Factor
	newChallenges []*mfa.Challenge
	factors       []*mfa.UpdateFactor
	challenges    []*mfa.UpdateChallenge
	events        []*mfa.Event
	restored      []mfa.RestoreUser
	cancelled     []mfa.CancelErasure
	others        pgx.Batch
}

func (w *writes) insertFactor(f *mfa.Factor) {
	if !w.shared {
		w.others.Queue(factors.insert, factors.values(f)...)
		return
	}
	w.newFactors = append(w.newFactors, f)
}

// updateFactor adds a change of a factor and replaces an earlier change of it.
func (w *writes) updateFactor(f *mfa.UpdateFactor) {
	if !w.shared {
		w.others.Queue(factorStates.update, factorStates.values(f)...)
		return
	}
	if i := slices.IndexFunc(w.factors, func(old *mfa.UpdateFactor) bool { return old.ID == f.ID }); i >= 0 {
		w.factors[i] = f
		return
	}
	w.factors = append(w.factors, f)
}

func (w *writes) insertChallenge(c *mfa.Challenge) {
	if !w.shared {
		w.others.Queue(challenges.insert, challenges.values(c)...)
		return
	}
	w.newChallenges = append(w.newChallenges, c)
}

// updateChallenge adds a change of a challenge and replaces an earlier change of it.
func (w *writes) updateChallenge(c *mfa.UpdateChallenge) {
	if !w.shared {
		w.others.Queue(challengeStates.update, challengeStates.values(c)...)
		return
	}
	if i := slices.IndexFunc(w.challenges, func(old *mfa.UpdateChallenge) bool { return old.ID == c.ID }); i >= 0 {
		w.challenges[i] = c
		return
	}
	w.challenges = append(w.challenges, c)
}

func (w *writes) restoreUser(r mfa.RestoreUser) {
	if !w.shared {
		w.others.Queue(restoreUser, int16(r.Key.Bucket()), r.Key.Environment, r.Key.ID, r.Former)
		return
	}
	w.restored = append(w.restored, r)
}

func (w *writes) cancelErasure(c mfa.CancelErasure) {
	if !w.shared {
		w.others.Queue(cancelErasure, int16(c.Bucket), c.Person[:])
		return
	}
	w.cancelled = append(w.cancelled, c)
}

func (w *writes) insertEvent(e *mfa.Event) {
	if !w.shared {
		w.others.Queue(eventRows.insert+w.hold(), eventRows.values(e)...)
		return
	}
	w.events = append(w.events, e)
}

// hold returns the end of an insert of events.
func (w *writes) hold() string {
	if w.spread {
		return holdEvent
	}
	return ""
}

// batch returns the statements of all writes. Updates follow inserts because the same
// group may insert a row and change it.
func (w *writes) batch() *pgx.Batch {
	b := &pgx.Batch{}
	factors.queueMany(b, factors.insertMany, w.newFactors)
	challenges.queueMany(b, challenges.insertMany, w.newChallenges)
	eventRows.queueMany(b, eventRows.insertMany+w.hold(), w.events)
	factorStates.queueMany(b, factorStates.updateMany, w.factors)
	challengeStates.queueMany(b, challengeStates.updateMany, w.challenges)
	if len(w.restored) > 0 {
		var all arrayWriter
		for _, r := range w.restored {
			all.row().smallint(int16(r.Key.Bucket())).bigint(int64(r.Key.Environment)).text(r.Key.ID).text(r.Former)
		}
		b.Queue(restoreUsers, all.parameters()...)
	}
	if len(w.cancelled) > 0 {
		var all arrayWriter
		for _, c := range w.cancelled {
			all.row().smallint(int16(c.Bucket)).bytea(c.Person[:])
		}
		b.Queue(cancelErasures, all.parameters()...)
	}
	b.QueuedQueries = append(b.QueuedQueries, w.others.QueuedQueries...)
	return b
}
