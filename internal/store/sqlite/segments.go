package sqlite

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// segmentSize is the number of events in a segment. A larger one delays other writes longer, and
// leaves more events between the last segment and the end of the log. A smaller one makes
// more segments, in each of which a reader looks for a factor.
const segmentSize = 2048

const (
	lastSegment = `SELECT segment, end_hi, end_lo FROM event_segments WHERE environment = ? ORDER BY segment DESC LIMIT 1`
	nextEnd     = `SELECT hi, lo FROM events WHERE environment = ? AND (hi, lo) > (?, ?) ORDER BY hi, lo LIMIT 1 OFFSET ?`
	// The rows are inserted in the order of the key, at the end of the table of the environment.
	fillSegment = `INSERT INTO event_subjects (environment, segment, factor_hi, hi, lo)` +
		` SELECT environment, ?, factor_hi, hi, lo FROM events WHERE environment = ? AND (hi, lo) > (?, ?) AND (hi, lo) <= (?, ?)` +
		` AND factor_hi IS NOT NULL ORDER BY factor_hi, hi, lo`
	insertSegment    = `INSERT INTO event_segments (environment, segment, end_hi, end_lo) VALUES (?, ?, ?, ?)`
	nextWithSegments = `SELECT environment FROM event_segments WHERE environment > ? ORDER BY environment LIMIT 1`
	firstSegment     = `SELECT segment, end_hi, end_lo FROM event_segments WHERE environment = ? ORDER BY segment LIMIT 1`
	emptySegment     = `DELETE FROM event_subjects WHERE environment = ? AND segment = ?`
	deleteSegment    = `DELETE FROM event_segments WHERE environment = ? AND segment = ?`
	// An imported event can be older than the end of a segment.
	addToSegment = `INSERT INTO event_subjects (environment, segment, factor_hi, hi, lo)` +
		` SELECT environment, segment, ?, ?, ? FROM event_segments WHERE environment = ? AND (end_hi, end_lo) >= (?, ?) ORDER BY segment LIMIT 1` +
		` ON CONFLICT DO NOTHING`
)

// A segment is a part of the events of an environment, up to its end.
type segment struct {
	number int64
	end    mfa.EventID
}

// oneSegment returns the row of a query, or the segment 0, which has no events.
func oneSegment(query *statement) (s segment, err error) {
	err = query.each(func(row *rowReader) error {
		s = segment{row.int(), row.id()}
		return nil
	})
	return s, err
}

// addSegment adds at most one segment, of an environment that has size events after its last
// segment. It reports whether it has added one.
func addSegment(c *conn, size int) (added bool, err error) {
	err = eachEnvironment(c, func(env int64) error {
		if added {
			return nil
		}
		last, err := oneSegment(c.prepare(lastSegment).int(env))
		if err != nil {
			return err
		}
		next := segment{number: last.number + 1}
		err = c.prepare(nextEnd).int(env).id(last.end).int(int64(size) - 1).each(func(row *rowReader) error {
			next.end, added = row.id(), true
			return nil
		})
		if err != nil || !added {
			return err
		}
		if _, err := c.prepare(fillSegment).int(next.number).int(env).id(last.end).id(next.end).exec(); err != nil {
			return err
		}
		return c.prepare(insertSegment).int(env).int(next.number).id(next.end).one()
	})
	return added, err
}

// sweepSegment removes at most one segment whose events are all before a position. It reports
// whether it has removed one.
func sweepSegment(c *conn, before mfa.EventID) (removed bool, err error) {
	err = eachOf(c, nextWithSegments, func(env int64) error {
		first, err := oneSegment(c.prepare(firstSegment).int(env))
		if err != nil || removed || first.end.Compare(before) >= 0 {
			return err
		}
		if _, err := c.prepare(emptySegment).int(env).int(first.number).exec(); err != nil {
			return err
		}
		removed = true
		return c.prepare(deleteSegment).int(env).int(first.number).one()
	})
	return removed, err
}

// segment adds and removes one segment, if one is due. It reports whether it did: then another
// one may be due.
func (s *Store) segment(ctx context.Context, before mfa.EventID) (more bool, err error) {
	err = s.change(ctx, func(c *conn) error {
		added, err := addSegment(c, s.segmentSize)
		if err != nil {
			return domainError(err)
		}
		removed, err := sweepSegment(c, before)
		more = added || removed
		return domainError(err)
	})
	return more, err
}
