package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

// docs/adr/0031-events-by-subject.md has the reasons for the indexes of these statements.
const (
	ofChallenge = ` FROM events e WHERE e.bucket = $1 AND e.challenge = $2 AND e.id > $3 AND e.id < $4 ORDER BY e.id `
	ofFactor    = ` FROM events e WHERE e.bucket = $1 AND e.factor = $2 AND e.id > $3 AND e.id < $4 ORDER BY e.id `
	// An event without a factor names its user in its context. The planner expects few rows
	// from a range of ids, and would read that instead of the person.
	contextsOfPerson = `WITH c AS MATERIALIZED (SELECT c.id FROM event_contexts c WHERE c.bucket = $1 AND c.person = $2) `
	ofPerson         = ` FROM c CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.environment = $6 AND e.id = c.id AND e.bucket = $1` +
		` AND e.factor IS NULL AND e.id > $3 AND e.id < $4 LIMIT 1) e ORDER BY e.id `

	factorsOfUser   = `SELECT f.id FROM factors f WHERE f.bucket = $1 AND f.environment = $2 AND f.user_id = $3`
	factorsOfPerson = `SELECT d.id FROM deleted_factors d WHERE d.bucket = $1 AND d.person = $2`
)

var (
	selectOfChallenge = `SELECT ` + eventRows.list("e") + ofChallenge + `LIMIT $5`
	newestOfChallenge = `SELECT ` + eventRows.list("e") + ofChallenge + `DESC LIMIT $5`
	selectOfFactor    = `SELECT ` + eventRows.list("e") + ofFactor + `LIMIT $5`
	newestOfFactor    = `SELECT ` + eventRows.list("e") + ofFactor + `DESC LIMIT $5`
	selectOfPerson    = contextsOfPerson + `SELECT ` + eventRows.list("e") + ofPerson + `LIMIT $5`
	newestOfPerson    = contextsOfPerson + `SELECT ` + eventRows.list("e") + ofPerson + `DESC LIMIT $5`

	// The newest event before a position.
	selectNewestBefore = `SELECT e.id FROM events e WHERE e.environment = $1 AND e.id < $2 ORDER BY e.id DESC LIMIT 1`
)

// ReadSubject reads events of a subject by key; see events.Log. It reads only events before
// the watermark, as ReadEvents does.
func (s *Store) ReadSubject(ctx context.Context, q events.SubjectQuery) (page events.RawPage, err error) {
	if s.stalled.Load() {
		return page, errStalled
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	challenge, factor, person := selectOfChallenge, selectOfFactor, selectOfPerson
	if q.Newest {
		challenge, factor, person = newestOfChallenge, newestOfFactor, newestOfPerson
	}
	err = s.on(ctx, func(conn *pgx.Conn) error {
		var epoch int64
		if err := conn.QueryRow(ctx, selectWatermark).Scan(&epoch); err != nil {
			return err
		}
		if final := (mfa.Position{Epoch: epoch}).ID(0); final.Compare(q.To) < 0 {
			q.To = final
		}
		var found []mfa.Event
		var end mfa.EventID
		batch := &pgx.Batch{}
		batch.Queue("SELECT " + searchOnly)
		list := func(sql string, key any, more ...any) {
			args := append([]any{int16(q.Bucket), key, q.From, q.To, q.Limit + 1}, more...)
			batch.Queue(sql, args...).Query(each(eventRows.scanner(func(e *mfa.Event) { found = append(found, *e) })))
		}
		if !q.Newest {
			batch.Queue(selectNewestBefore, q.Environment, q.To).Query(each(func(row *rowReader) error {
				end = row.uuid()
				return row.err
			}))
		}
		if (q.Challenge != mfa.ChallengeID{}) {
			list(challenge, q.Challenge)
		} else {
			for _, id := range q.Factors {
				list(factor, id)
			}
			if (q.Person != mfa.PersonKey{}) {
				list(person, q.Person[:], q.Environment)
			}
		}
		batch.Queue(barrier)
		if err := conn.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		page = rows.SubjectPage(found, &q, end)
		return readPersons(ctx, conn, page.Events)
	})
	return page, domainError(err)
}

// FactorsOf returns the factors of a user; see events.Log.
func (s *Store) FactorsOf(ctx context.Context, user mfa.UserKey, person mfa.PersonKey) ([]mfa.FactorID, error) {
	id := func(row *rowReader) (mfa.FactorID, error) { return row.uuid(), row.err }
	b := int16(user.Bucket())
	found, err := collect(ctx, s, id, factorsOfUser, b, user.Environment, user.ID)
	if err != nil || person == (mfa.PersonKey{}) {
		return found, err
	}
	deleted, err := collect(ctx, s, id, factorsOfPerson, b, person[:])
	return append(found, deleted...), err
}
