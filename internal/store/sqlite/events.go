package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	nextEnvironment = `SELECT environment FROM events WHERE environment > ? ORDER BY environment LIMIT 1`
	lastEventOf     = `SELECT hi, lo FROM events WHERE environment = ? ORDER BY hi DESC, lo DESC LIMIT 1`
	ownerOfEvent    = `SELECT user_id FROM factors WHERE hi = ? AND lo = ?`
	sweepEventsOf   = `DELETE FROM events WHERE (environment, hi, lo) IN` +
		` (SELECT environment, hi, lo FROM events WHERE environment = ? AND (hi, lo) < (?, ?) ORDER BY hi, lo LIMIT ?)`

	// mostScanned is how many events ReadEvents looks at.
	mostScanned = 5000
)

var (
	deletedOwner        = `SELECT ` + deletedFactors.columns + ` FROM deleted_factors WHERE hi = ? AND lo = ?`
	contextOfEvent      = `SELECT ` + contexts.columns + ` FROM event_contexts WHERE hi = ? AND lo = ?`
	selectContexts      = `SELECT ` + contexts.columns + ` FROM event_contexts WHERE (hi, lo) > (?, ?) ORDER BY hi, lo LIMIT ?`
	selectDeletedFactor = `SELECT ` + deletedFactors.columns + ` FROM deleted_factors WHERE (hi, lo) > (?, ?) ORDER BY hi, lo LIMIT ?`
	exportErasures      = `SELECT ` + erasures.columns + ` FROM erasures WHERE (bucket, person) > (?, ?) ORDER BY bucket, person LIMIT ?`
)

var (
	selectEvents       = `SELECT ` + eventRows.columns + ` FROM events WHERE environment = ? AND (hi, lo) > (?, ?) AND (hi, lo) < (?, ?) ORDER BY hi, lo LIMIT ?`
	selectNewestEvents = `SELECT ` + eventRows.columns + ` FROM events WHERE environment = ? AND (hi, lo) > (?, ?) AND (hi, lo) < (?, ?) ORDER BY hi DESC, lo DESC LIMIT ?`
)

// nextEvent returns the id for an event that happened at a time: greater than the ids of all
// events in the file. There is one writer, so the order of the ids is that of the commits.
func (m *memory) nextEvent(c *conn, at time.Time, b mfa.Bucket) (mfa.EventID, error) {
	if !m.placed {
		last, err := lastEvent(c)
		if err != nil {
			return last, err
		}
		m.last, m.placed = last, true
	}
	p := mfa.PositionOf(m.last)
	switch now := at.UnixMilli(); {
	case now > p.Epoch:
		p = mfa.Position{Epoch: now}
	case p.Counter < mfa.MaxCounter:
		p.Counter, p.Ordinal = p.Counter+1, 0
	default:
		p = mfa.Position{Epoch: p.Epoch + 1}
	}
	m.last = p.ID(b)
	return m.last, nil
}

// appendEvent stores an event, and its context if it has one, under the next id.
func appendEvent(c *conn, e mfa.Event, context *mfa.EventContext) (err error) {
	if e.ID, err = c.recent.nextEvent(c, e.At, e.ID.Bucket()); err != nil {
		return domainError(err)
	}
	if err := eventRows.bind(c.prepare(eventRows.insert), &e).one(); err != nil || context == nil {
		return domainError(err)
	}
	row := *context
	row.Event = e.ID
	return domainError(contexts.bind(c.prepare(contexts.insert), &row).one())
}

// lastEvent returns the greatest id of all events, zero without events.
func lastEvent(c *conn) (last mfa.EventID, err error) {
	err = eachEnvironment(c, func(env int64) error {
		return c.prepare(lastEventOf).int(env).each(func(row *rowReader) error {
			if id := mfa.EventID(row.id()); id.Compare(last) > 0 {
				last = id
			}
			return nil
		})
	})
	return last, err
}

// eachEnvironment calls fn for each environment that has events.
func eachEnvironment(c *conn, fn func(env int64) error) error {
	return eachOf(c, nextEnvironment, fn)
}

// eachOf calls fn for each environment that next finds after the one before.
func eachOf(c *conn, next string, fn func(env int64) error) error {
	for env, more := int64(-1), true; more; {
		more = false
		err := c.prepare(next).int(env).each(func(row *rowReader) error {
			env, more = row.int(), true
			return nil
		})
		if err == nil && more {
			err = fn(env)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errFull ends a query whose page is full.
var errFull = errors.New("the page is full")

// ReadEvents lists events of an environment; see events.Log. The writer commits events in
// the order of their ids, so every event that is visible may be read.
func (s *Store) ReadEvents(ctx context.Context, q events.Query) (page events.RawPage, err error) {
	from, to := q.Range()
	page.Last = q.After
	sql := selectEvents
	if q.Newest {
		sql = selectNewestEvents
	}
	err = s.scan(ctx, func(c *conn) error {
		scanned := 0
		err := c.prepare(sql).int(int64(q.Environment)).id(from).id(to).int(mostScanned).each(func(row *rowReader) error {
			if len(page.Events) == q.Limit {
				page.More = true
				return errFull
			}
			e, err := eventRows.scan(row)
			if err != nil {
				return err
			}
			scanned++
			if page.Last = e.ID; q.Matches(e) {
				page.Events = append(page.Events, events.RawEvent{Event: *e})
			}
			return nil
		})
		if err != nil && !errors.Is(err, errFull) {
			return err
		}
		page.More = page.More || scanned == mostScanned
		if q.WithoutPersons {
			return nil
		}
		for i := range page.Events {
			if err := readPerson(c, &page.Events[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return page, err
}

// readPerson reads the personal data of an event.
func readPerson(c *conn, e *events.RawEvent) (err error) {
	if e.Factor != (mfa.FactorID{}) {
		found := false
		err = c.prepare(ownerOfEvent).id(e.Factor).each(func(row *rowReader) error {
			e.User, found = row.text(), true
			return nil
		})
		if err == nil && !found {
			e.Deleted, err = deletedFactors.one(c.prepare(deletedOwner).id(e.Factor))
		}
	}
	if err == nil {
		e.Context, err = contexts.one(c.prepare(contextOfEvent).id(e.ID))
	}
	return err
}

// Contexts lists contexts of events; see mfa.Store.
func (s *Store) Contexts(ctx context.Context, after mfa.EventID, limit int) (found []mfa.EventContext, err error) {
	err = s.scan(ctx, func(c *conn) error {
		return contexts.list(c.prepare(selectContexts).id(after).int(int64(limit)), &found)
	})
	return found, err
}

// DeletedFactors lists deleted factors; see mfa.Store.
func (s *Store) DeletedFactors(ctx context.Context, after mfa.FactorID, limit int) (found []mfa.DeletedFactor, err error) {
	err = s.scan(ctx, func(c *conn) error {
		return deletedFactors.list(c.prepare(selectDeletedFactor).id(after).int(int64(limit)), &found)
	})
	return found, err
}

// sweepEvents deletes up to limit events before an id and returns their number.
func sweepEvents(c *conn, before mfa.EventID, limit int) (total int, err error) {
	err = eachEnvironment(c, func(env int64) error {
		n, err := c.prepare(sweepEventsOf).int(env).id(before).int(int64(limit - total)).exec()
		total += n
		return err
	})
	return total, err
}
