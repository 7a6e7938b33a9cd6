package postgres

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// What a group reads and writes most is sent as one statement for all rows of a
// kind, their columns as arrays. Only a bucket that is a plain parameter tells a
// hash-distributed PostgreSQL where to go: a single Update is sent row by row.

const (
	insertFactors = insertIntoFactors + ` SELECT * FROM unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],` +
		` $8::bytea[], $9::bytea[], $10::bigint[], $11::integer[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[])`
	updateFactors = `UPDATE factors f SET sealed = v.sealed, last_step = v.last_step, failures = v.failures, locked_until = v.locked_until, updated_at = v.updated_at` +
		` FROM unnest($1::bytea[], $2::bigint[], $3::integer[], $4::timestamptz[], $5::timestamptz[], $6::smallint[], $7::uuid[])` +
		` AS v (sealed, last_step, failures, locked_until, updated_at, bucket, id) WHERE f.bucket = v.bucket AND f.id = v.id`
	insertChallenges = insertIntoChallenges + ` SELECT * FROM unnest($1::smallint[], $2::uuid[], $3::uuid[], $4::bytea[], $5::bytea[], $6::bytea[], $7::integer[],` +
		` $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[])`
	updateChallenges = `UPDATE challenges c SET sealed_code = v.sealed_code, messages = v.messages, attempts = v.attempts, updated_at = v.updated_at, verified_at = v.verified_at` +
		` FROM unnest($1::bytea[], $2::bytea[], $3::integer[], $4::timestamptz[], $5::timestamptz[], $6::smallint[], $7::uuid[])` +
		` AS v (sealed_code, messages, attempts, updated_at, verified_at, bucket, id) WHERE c.bucket = v.bucket AND c.id = v.id`
	insertEvents = insertIntoEvents + ` SELECT * FROM unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::text[], $5::uuid[], $6::uuid[], $7::text[])`

	// These lock rows one by one in the order of their keys: a subquery that locks is
	// run for each row that stands before it. Which factor a challenge is for, and
	// whose a factor is, never changes, and can be looked up without a lock.
	lockChallenges = `SELECT c.* FROM (SELECT DISTINCT * FROM unnest($1::smallint[], $2::uuid[]) ORDER BY 1, 2) AS k (bucket, id)` +
		` CROSS JOIN LATERAL (SELECT ` + challengeColumns + ` FROM challenges c WHERE c.bucket = k.bucket AND c.id = k.id FOR UPDATE) c`
	factorsOf = `SELECT k.bucket, c.factor FROM unnest($1::smallint[], $2::uuid[]) AS k (bucket, id)` +
		` CROSS JOIN LATERAL (SELECT c.factor FROM challenges c WHERE c.bucket = k.bucket AND c.id = k.id LIMIT 1) c` +
		` UNION SELECT * FROM unnest($3::smallint[], $4::uuid[])`
	lockFactors = `SELECT f.* FROM (` + factorsOf + ` ORDER BY 1, 2) AS k (bucket, id)` +
		` CROSS JOIN LATERAL (SELECT ` + factorColumns + ` FROM factors f WHERE f.bucket = k.bucket AND f.id = k.id FOR UPDATE) f`
	lockUsers = `SELECT u.* FROM (SELECT k.bucket, f.environment, f.user_id FROM (` + factorsOf + `) AS k (bucket, id)` +
		` CROSS JOIN LATERAL (SELECT f.environment, f.user_id FROM factors f WHERE f.bucket = k.bucket AND f.id = k.id LIMIT 1) f` +
		` UNION SELECT * FROM unnest($5::smallint[], $6::bigint[], $7::text[]) ORDER BY 1, 2, 3) AS k (bucket, environment, id)` +
		` CROSS JOIN LATERAL (SELECT u.environment, u.id, u.failures FROM users u WHERE u.bucket = k.bucket AND u.environment = k.environment AND u.id = k.id FOR UPDATE) u`

	// searchOnly has these UPDATEs look for each row in the index. A plan may be kept
	// for long, and where it was made with few rows it would read all of them.
	searchOnly = `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`
)

// readGroup adds the SELECTs of rows to batch, which lock all challenges, then all
// factors, all users and the rest, as a read of one row does; see rowsOf.
func (h *held) readGroup(batch *pgx.Batch, rows []mfa.Read) {
	var challenges, factors struct {
		buckets []int16
		ids     pgtype.FlatArray[[16]byte]
	}
	var users struct {
		buckets      []int16
		environments []int64
		ids          []string
	}
	none := mfa.Read{}
	rest := &pgx.Batch{}
	for _, r := range rows {
		b := int16(r.Bucket)
		if r.Challenge != none.Challenge {
			challenges.buckets, challenges.ids = append(challenges.buckets, b), append(challenges.ids, r.Challenge)
		}
		if r.Factor != none.Factor {
			factors.buckets, factors.ids = append(factors.buckets, b), append(factors.ids, r.Factor)
		}
		if r.User != none.User {
			users.buckets = append(users.buckets, b)
			users.environments = append(users.environments, int64(r.User.Environment))
			users.ids = append(users.ids, r.User.ID)
		}
		r.Challenge, r.Factor, r.User = none.Challenge, none.Factor, none.User
		h.read(rest, r, forUpdate)
	}
	args := []any{challenges.buckets, challenges.ids, factors.buckets, factors.ids, users.buckets, users.environments, users.ids}
	if len(challenges.ids) > 0 {
		batch.Queue(lockChallenges, args[:2]...).Query(each(h.scanLoneChallenge))
	}
	if len(challenges.ids)+len(factors.ids) > 0 {
		batch.Queue(lockFactors, args[:4]...).Query(each(h.scanFactor))
	}
	if len(challenges.ids)+len(factors.ids)+len(users.ids) > 0 {
		batch.Queue(lockUsers, args...).Query(each(h.scanUser))
	}
	batch.QueuedQueries = append(batch.QueuedQueries, rest.QueuedQueries...)
}

// A kind of write is a statement for one row and one with the same parameters, as
// arrays, for many.
type kind struct{ one, many string }

var (
	factorInsert    = &kind{insertFactor, insertFactors}
	challengeInsert = &kind{insertChallenge, insertChallenges}
	eventInsert     = &kind{insertEvent, insertEvents}
	factorUpdate    = &kind{updateFactor, updateFactors}
	challengeUpdate = &kind{updateChallenge, updateChallenges}

	// What is changed may have been inserted by the same group.
	kinds = []*kind{factorInsert, challengeInsert, eventInsert, factorUpdate, challengeUpdate}
)

// writes gathers what a transaction writes. Those of the kinds above go before all
// others, which stay in order: what is deleted was inserted or changed before, and
// nothing else touches the same row. If a group deletes a row and inserts it again,
// it is refused because of the one that is still there.
type writes struct {
	shared bool              // by several jobs; those of a single one all stay in order
	rows   map[*kind][][]any // the parameters of each row
	places map[place]int     // where a row that is changed stands
	others pgx.Batch
}

type place struct {
	kind *kind
	id   [16]byte
}

func newWrites(shared bool) *writes {
	return &writes{shared: shared, rows: make(map[*kind][][]any), places: make(map[place]int)}
}

func (w *writes) insert(k *kind, row []any) {
	if !w.shared {
		w.others.Queue(k.one, row...)
		return
	}
	w.rows[k] = append(w.rows[k], row)
}

// update changes a row, in place of what was to be changed of it before.
func (w *writes) update(k *kind, id [16]byte, row []any) {
	at := place{k, id}
	if i, ok := w.places[at]; ok && w.shared {
		w.rows[k][i] = row
		return
	}
	w.places[at] = len(w.rows[k])
	w.insert(k, row)
}

// batch returns the statements of all writes.
func (w *writes) batch() *pgx.Batch {
	b := &pgx.Batch{}
	if len(w.rows[factorUpdate]) > 1 || len(w.rows[challengeUpdate]) > 1 {
		b.Queue(searchOnly)
	}
	for _, k := range kinds {
		switch rows := w.rows[k]; len(rows) {
		case 0:
		case 1:
			b.Queue(k.one, rows[0]...)
		default:
			b.Queue(k.many, columns(rows)...)
		}
	}
	b.QueuedQueries = append(b.QueuedQueries, w.others.QueuedQueries...)
	return b
}

// columns turns rows into an array for each column.
func columns(rows [][]any) []any {
	arrays := make([]any, len(rows[0]))
	for i := range arrays {
		array := make(pgtype.FlatArray[any], len(rows))
		for n, row := range rows {
			array[n] = row[i]
		}
		arrays[i] = array
	}
	return arrays
}
