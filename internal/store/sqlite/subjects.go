package sqlite

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

// docs/adr/0031-events-by-subject.md has the reasons for the index and the segments that these
// statements read. Both have the upper half of the id of a factor or a challenge, which few of
// them share.
const (
	ofChallenge = ` FROM events WHERE challenge_hi = ? AND challenge_lo = ? AND (hi, lo) > (?, ?) AND (hi, lo) < (?, ?) ORDER BY `
	// Without the plus sign, SQLite searches for the range of segments instead of the factor.
	ofFactor = ` FROM event_segments s CROSS JOIN event_subjects x ON x.environment = s.environment AND x.segment = +s.segment AND x.factor_hi = ?` +
		` CROSS JOIN events e ON e.environment = s.environment AND e.hi = x.hi AND e.lo = x.lo AND e.factor_lo = ?` +
		` WHERE s.environment = ? AND s.segment >= ? AND s.segment <= ? AND (x.hi, x.lo) > (?, ?) AND (x.hi, x.lo) < (?, ?) ORDER BY `
	firstSegmentAfter = `SELECT segment, end_hi, end_lo FROM event_segments WHERE environment = ? AND (end_hi, end_lo) > (?, ?) ORDER BY segment LIMIT 1`
	ofFactorInTail    = ` FROM events WHERE environment = ? AND (hi, lo) > (?, ?) AND (hi, lo) < (?, ?) AND factor_hi = ? AND factor_lo = ? ORDER BY `
	// An event without a factor names its user in its context.
	ofPerson = ` FROM event_contexts c CROSS JOIN events e ON e.environment = ? AND e.hi = c.hi AND e.lo = c.lo` +
		` WHERE c.person = ? AND e.factor_hi IS NULL AND (c.hi, c.lo) > (?, ?) AND (c.hi, c.lo) < (?, ?) ORDER BY `

	factorsOfUser   = `SELECT hi, lo FROM factors WHERE user_hash = ? AND environment = ? AND user_id = ?`
	factorsOfPerson = `SELECT hi, lo FROM deleted_factors WHERE person = ?`
)

var (
	selectOfChallenge = `SELECT ` + eventRows.columns + ofChallenge + `hi, lo LIMIT ?`
	newestOfChallenge = `SELECT ` + eventRows.columns + ofChallenge + `hi DESC, lo DESC LIMIT ?`
	selectOfFactor    = `SELECT ` + eventRows.of("e") + ofFactor + `s.segment, x.hi, x.lo LIMIT ?`
	newestOfFactor    = `SELECT ` + eventRows.of("e") + ofFactor + `s.segment DESC, x.hi DESC, x.lo DESC LIMIT ?`
	selectInTail      = `SELECT ` + eventRows.columns + ofFactorInTail + `hi, lo LIMIT ?`
	newestInTail      = `SELECT ` + eventRows.columns + ofFactorInTail + `hi DESC, lo DESC LIMIT ?`
	selectOfPerson    = `SELECT ` + eventRows.of("e") + ofPerson + `c.hi, c.lo LIMIT ?`
	newestOfPerson    = `SELECT ` + eventRows.of("e") + ofPerson + `c.hi DESC, c.lo DESC LIMIT ?`
)

// ReadSubject reads events of a subject by key; see events.Log.
func (s *Store) ReadSubject(ctx context.Context, q events.SubjectQuery) (page events.RawPage, err error) {
	challenge, person := selectOfChallenge, selectOfPerson
	if q.Newest {
		challenge, person = newestOfChallenge, newestOfPerson
	}
	err = s.scan(ctx, func(c *conn) error {
		// The end is read first: SubjectPage leaves out an event that is committed after it.
		end, err := endOf(c, &q)
		if err != nil {
			return err
		}
		var found []mfa.Event
		list := func(query *statement) error {
			return eventRows.list(query.id(q.From).id(q.To).int(int64(q.Limit)+1), &found)
		}
		switch {
		case q.Challenge != mfa.ChallengeID{}:
			err = list(c.prepare(challenge).id(q.Challenge))
		default:
			if err = listOfFactors(c, &q, &found); err == nil && q.Person != (mfa.PersonKey{}) {
				err = list(c.prepare(person).int(int64(q.Environment)).blob(q.Person[:]))
			}
		}
		if err != nil {
			return err
		}
		page = rows.SubjectPage(found, &q, end)
		for i := range page.Events {
			if err := readPerson(c, &page.Events[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return page, err
}

// listOfFactors appends the first events of each factor of a subject to found. If the environment
// is not known, it looks in all of them.
func listOfFactors(c *conn, q *events.SubjectQuery, found *[]mfa.Event) error {
	if len(q.Factors) == 0 {
		return nil
	}
	environments := []int64{int64(q.Environment)}
	if q.Environment == 0 {
		environments = nil
		if err := eachEnvironment(c, func(env int64) error {
			environments = append(environments, env)
			return nil
		}); err != nil {
			return err
		}
	}
	for _, env := range environments {
		// A segment that is added after this is not read: its events are after the end of last.
		last, err := oneSegment(c.prepare(lastSegment).int(env))
		if err != nil {
			return err
		}
		for _, id := range q.Factors {
			if err := listOfFactor(c, q, env, last, id, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// listOfFactor appends the first events of a factor in an environment to found.
func listOfFactor(c *conn, q *events.SubjectQuery, env int64, last segment, id mfa.FactorID, found *[]mfa.Event) error {
	sql, inTail := selectOfFactor, selectInTail
	if q.Newest {
		sql, inTail = newestOfFactor, newestInTail
	}
	from := q.From
	if enrolled := mfa.FirstEventAt(mfa.TimeOf(id).Add(-events.MaxSkew)); enrolled.Compare(from) > 0 {
		from = enrolled
	}
	limit := int64(q.Limit) + 1
	tail := func() error {
		after := from
		if last.end.Compare(after) > 0 {
			after = last.end
		}
		return eventRows.list(c.prepare(inTail).int(env).id(after).id(q.To).id(id).int(limit), found)
	}
	inSegments := func() error {
		first, err := oneSegment(c.prepare(firstSegmentAfter).int(env).id(from))
		if err != nil || first.number == 0 {
			return err
		}
		return eventRows.list(c.prepare(sql).id(id).int(env).int(first.number).int(last.number).id(from).id(q.To).int(limit), found)
	}
	parts := []func() error{inSegments, tail}
	if q.Newest {
		parts = []func() error{tail, inSegments}
	}
	before := len(*found)
	for _, part := range parts {
		if err := part(); err != nil || len(*found)-before > q.Limit {
			return err
		}
	}
	return nil
}

// endOf returns the position of the newest event of the environment if q reads oldest first.
func endOf(c *conn, q *events.SubjectQuery) (end mfa.EventID, err error) {
	if q.Newest {
		return end, nil
	}
	err = c.prepare(lastEventOf).int(int64(q.Environment)).each(func(row *rowReader) error {
		end = row.id()
		return nil
	})
	return end, err
}

// FactorsOf returns the factors of a user; see events.Log.
func (s *Store) FactorsOf(ctx context.Context, user mfa.UserKey, person mfa.PersonKey) (found []mfa.FactorID, err error) {
	env := int64(user.Environment)
	err = s.read(ctx, func(c *conn) error {
		add := func(row *rowReader) error {
			found = append(found, row.id())
			return nil
		}
		err := c.prepare(factorsOfUser).int(userHash(env, user.ID)).int(env).text(user.ID).each(add)
		if err != nil || person == (mfa.PersonKey{}) {
			return err
		}
		return c.prepare(factorsOfPerson).blob(person[:]).each(add)
	})
	return found, err
}
