package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// The functions are in migrations 5 and 11. docs/adr/0027-order-of-events.md explains the order.
const (
	selectPosition  = `SELECT epoch, n FROM event_position()`
	boundPosition   = `SELECT epoch, n FROM set_config('idle_in_transaction_session_timeout', $1, true), event_position()`
	selectWatermark = `SELECT event_watermark()`
	// holdEvent makes an insert of events also lock their epoch on the machine that stores them.
	holdEvent    = ` RETURNING event_hold(id)`
	advanceEpoch = `SELECT event_epoch_advance(true, $1)`
	selectEpoch  = `SELECT last_value FROM event_epochs`

	oldestFirst = ` ORDER BY e.id LIMIT $4`
	newestFirst = ` ORDER BY e.id DESC LIMIT $4`

	nextEnvironment = `SELECT e.environment FROM events e WHERE e.environment > $1 ORDER BY e.environment LIMIT 1`
)

var (
	selectEvents       = selectEventsOf + oldestFirst
	selectNewestEvents = selectEventsOf + newestFirst
	selectEventsOf     = `SELECT ` + eventRows.list("e") + ` FROM events e WHERE e.environment = $1 AND e.id > $2 AND e.id < $3`
	// The same with the personal data: an event has the bucket of its factor.
	selectEventsAndPersons       = selectEventsAndPersonsOf + oldestFirst
	selectNewestEventsAndPersons = selectEventsAndPersonsOf + newestFirst
	selectEventsAndPersonsOf     = `SELECT ` + eventRows.list("e") + `, f.user_id, ` + deletedFactors.list("d") + `, ` + contexts.list("c") + ` FROM events e` +
		` LEFT JOIN factors f ON f.bucket = e.bucket AND f.id = e.factor` +
		` LEFT JOIN deleted_factors d ON d.bucket = e.bucket AND d.id = e.factor` +
		` LEFT JOIN event_contexts c ON c.id = e.id AND c.bucket = e.bucket` +
		` WHERE e.environment = $1 AND e.id > $2 AND e.id < $3`
	selectNext   = `SELECT e.id FROM events e WHERE e.environment = $1 AND e.id > $2 AND e.id < $3 ORDER BY e.id LIMIT 1`
	selectNewest = `SELECT e.id FROM events e WHERE e.environment = $1 ORDER BY e.id DESC LIMIT 1`
	// The owners of factors, stored or deleted, and the contexts of events.
	selectOwners = `SELECT f.id, f.user_id FROM unnest($1::smallint[], $2::uuid[]) AS k (bucket, id)` +
		` JOIN factors f ON f.bucket = k.bucket AND f.id = k.id WHERE f.user_id IS NOT NULL`
	selectDeletedOwners = `SELECT ` + deletedFactors.list("d") + ` FROM unnest($1::smallint[], $2::uuid[]) AS k (bucket, id)` +
		` JOIN deleted_factors d ON d.bucket = k.bucket AND d.id = k.id`
	selectContexts = `SELECT ` + contexts.list("c") + ` FROM unnest($1::smallint[], $2::uuid[]) AS k (bucket, id)` +
		` JOIN event_contexts c ON c.bucket = k.bucket AND c.id = k.id`

	listContexts       = `SELECT ` + contexts.list("c") + ` FROM event_contexts c WHERE c.id > $1 ORDER BY c.id LIMIT $2`
	listDeletedFactors = `SELECT ` + deletedFactors.list("d") + ` FROM deleted_factors d WHERE (d.bucket, d.id) > ($1, $2) ORDER BY d.bucket, d.id LIMIT $3`
	exportErasures     = `SELECT ` + erasures.list("e") + ` FROM erasures e WHERE (e.bucket, e.person) > ($1, $2) ORDER BY e.bucket, e.person LIMIT $3`
)

// mostScanned is how many events ReadEvents looks at for a query that leaves out some.
const mostScanned = 2000

// place gives the events among writes their ids, and returns the first of them, or nil.
func (h *txRows) place(writes []mfa.Write) (first *mfa.Event) {
	for i, w := range writes {
		e, ok := w.(mfa.AppendEvent)
		if !ok {
			continue
		}
		e.ID = h.position.ID(e.ID.Bucket())
		h.position.Ordinal++
		writes[i] = e
		if first == nil {
			first = &e.Event
		}
	}
	return first
}

// appendEvent stores an event as the last statement of a transaction.
func appendEvent(ctx context.Context, tx pgx.Tx, e mfa.Event) error {
	var p mfa.Position
	if err := tx.QueryRow(ctx, boundPosition, milliseconds(idleFor)).Scan(&p.Epoch, &p.Counter); err != nil {
		return err
	}
	at := e.ID.Bucket()
	if elsewhere, ok := tx.(elsewhereTx); ok && e.Factor == (mfa.FactorID{}) {
		at = elsewhere.bucket
	}
	e.ID = p.ID(at)
	_, err := tx.Exec(ctx, eventRows.insert+holdEvent, eventRows.values(&e)...)
	return err
}

// ReadEvents lists events of an environment; see events.Log. It reads only events before the
// watermark, which no transaction can add to any more.
func (s *Store) ReadEvents(ctx context.Context, q events.Query) (page events.RawPage, err error) {
	if s.stalled.Load() {
		return page, errStalled
	}
	page, err = s.readEvents(ctx, q)
	if s.missed(err) {
		page, err = s.readEvents(ctx, q)
	}
	return page, domainError(err)
}

func (s *Store) readEvents(ctx context.Context, q events.Query) (page events.RawPage, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	from, to := q.Range()
	page.Last = q.After
	err = s.on(ctx, func(conn *pgx.Conn) error {
		// Most polls find nothing. The watermark writes to the log of the database, so they do
		// without it.
		var next [16]byte
		switch err := conn.QueryRow(ctx, selectNext, q.Environment, from, to).Scan(&next); {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return err
		}
		// The watermark has a separate transaction: the next statement must begin after it.
		epoch, held, err := s.watermark(ctx, conn)
		if err != nil || held && !q.Newest { // a reader of the newest events keeps no position
			return err
		}
		if final := (mfa.Position{Epoch: epoch}).ID(0); final.Compare(to) < 0 {
			to = final
		}
		limit := q.Limit + 1
		if q.IsFiltered() {
			limit = mostScanned
		}
		batch := &pgx.Batch{}
		scanned := 0
		persons := !q.WithoutPersons
		// Citus joins only the rows of one shard in this way. A search looks at many events and
		// returns few, so it reads the personal data of those afterwards.
		joined := persons && !s.spread.Load() && !q.IsFiltered()
		sql := listEvents(q.Newest, joined)
		batch.Queue("SELECT " + searchOnly)
		batch.Queue(sql, q.Environment, from, to, limit).Query(each(func(row *rowReader) error {
			e := eventRows.scan(row)
			raw := events.RawEvent{Event: *e}
			if joined {
				raw.User = row.text()
				if d := deletedFactors.scan(row); d.Sealed != nil {
					raw.Deleted = d
				}
				if c := contexts.scan(row); c.Sealed != nil {
					raw.Context = c
				}
			}
			scanned++
			switch {
			case page.More:
			case len(page.Events) == q.Limit:
				page.More = true
			default:
				page.Last = e.ID
				if q.Matches(e) {
					page.Events = append(page.Events, raw)
				}
			}
			return row.err
		}))
		batch.Queue(barrier)
		if err := conn.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		page.More = page.More || scanned == limit
		if joined || !persons {
			return nil
		}
		return readPersons(ctx, conn, page.Events)
	})
	return page, err
}

// listEvents returns the statement that lists events, with their personal data or without it.
func listEvents(newest, persons bool) string {
	switch {
	case newest && persons:
		return selectNewestEventsAndPersons
	case newest:
		return selectNewestEvents
	case persons:
		return selectEventsAndPersons
	}
	return selectEvents
}

// watermark returns an epoch: all events of earlier epochs are committed, or never will be,
// unless held. On distributed tables, a machine may still be committing a transaction that has
// ended on the coordinator: the coordinator has failed, or has lost its connection. Then
// the watermark is held, and readers wait until the commit has ended.
func (s *Store) watermark(ctx context.Context, conn *pgx.Conn) (epoch int64, held bool, err error) {
	if err := conn.QueryRow(ctx, selectWatermark).Scan(&epoch); err != nil || !s.spread.Load() {
		return epoch, false, err
	}
	// A transaction locks its epoch on its machine before it commits, and has the lock on the
	// coordinator until then. So this statement comes second.
	held, err = s.isHeld(ctx, conn, epoch)
	return epoch, held, err
}

// readPersons reads the personal data of events that were listed without it.
func readPersons(ctx context.Context, conn *pgx.Conn, page []events.RawEvent) error {
	if len(page) == 0 {
		return nil
	}
	var ids, factors []rowKey
	of := make(map[mfa.EventID]*events.RawEvent)
	ofFactor := make(map[mfa.FactorID][]*events.RawEvent)
	for i := range page {
		e := &page[i]
		ids = append(ids, rowKey{e.ID.Bucket(), e.ID})
		of[e.ID] = e
		if e.Factor != (mfa.FactorID{}) {
			if ofFactor[e.Factor] == nil {
				factors = append(factors, rowKey{e.Factor.Bucket(), e.Factor})
			}
			ofFactor[e.Factor] = append(ofFactor[e.Factor], e)
		}
	}
	batch := &pgx.Batch{}
	batch.Queue("SELECT " + searchOnly)
	batch.Queue(selectOwners, arrays(factors)...).Query(each(func(row *rowReader) error {
		id, user := row.uuid(), row.text()
		for _, e := range ofFactor[id] {
			e.User = user
		}
		return row.err
	}))
	batch.Queue(selectDeletedOwners, arrays(factors)...).Query(each(deletedFactors.scanner(func(d *mfa.DeletedFactor) {
		for _, e := range ofFactor[d.ID] {
			e.Deleted = d
		}
	})))
	batch.Queue(selectContexts, arrays(ids)...).Query(each(contexts.scanner(func(c *mfa.EventContext) { of[c.Event].Context = c })))
	return conn.SendBatch(ctx, batch).Close()
}

// Contexts lists contexts of events; see mfa.Store.
func (s *Store) Contexts(ctx context.Context, after mfa.EventID, limit int) ([]mfa.EventContext, error) {
	return collect(ctx, s, contexts.collected, listContexts, after, limit)
}

// DeletedFactors lists deleted factors bucket by bucket; see mfa.Store.
func (s *Store) DeletedFactors(ctx context.Context, after mfa.FactorID, limit int) ([]mfa.DeletedFactor, error) {
	return collect(ctx, s, deletedFactors.collected, listDeletedFactors, bucket(after), after, limit)
}

// raiseEpoch makes sure that new events come after all stored ones, also in a database that
// was restored or whose clock is behind.
func (s *Store) raiseEpoch(ctx context.Context) error {
	var newest mfa.EventID
	err := s.on(ctx, func(conn *pgx.Conn) error {
		environments, err := eventEnvironments(ctx, conn)
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for _, env := range environments {
			batch.Queue(selectNewest, env).Query(each(func(row *rowReader) error {
				if id := mfa.EventID(row.uuid()); id.Compare(newest) > 0 {
					newest = id
				}
				return row.err
			}))
		}
		return conn.SendBatch(ctx, batch).Close()
	})
	if err != nil || newest == (mfa.EventID{}) {
		return domainError(err)
	}
	return s.raiseEpochAbove(ctx, newest)
}

// raiseEpochAbove moves the epoch past that of an event.
func (s *Store) raiseEpochAbove(ctx context.Context, id mfa.EventID) error {
	return s.on(ctx, func(conn *pgx.Conn) error {
		for { // until it is higher: another transaction may be moving it
			var epoch int64
			if err := conn.QueryRow(ctx, selectEpoch).Scan(&epoch); err != nil || epoch > mfa.PositionOf(id).Epoch {
				return domainError(err)
			}
			if _, err := conn.Exec(ctx, advanceEpoch, mfa.PositionOf(id).Epoch+1); err != nil {
				return domainError(err)
			}
		}
	})
}

// eventEnvironments returns the environments that have events.
func eventEnvironments(ctx context.Context, db querier) (all []mfa.EnvironmentID, err error) {
	for env := mfa.EnvironmentID(-1); ; all = append(all, env) {
		switch err := db.QueryRow(ctx, nextEnvironment, env).Scan(&env); {
		case errors.Is(err, pgx.ErrNoRows):
			return all, nil
		case err != nil:
			return nil, err
		}
	}
}
