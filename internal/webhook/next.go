package webhook

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// next returns the items of the next chunk and the position after them: first the deliveries
// whose time has come, then in turn the events after the cursor and the events of a replay.
func (r *run) next(ctx context.Context, turn bool) (items []*item, from source, at mfa.EventID, err error) {
	now := r.d.now()
	due, err := r.d.queue.DueDeliveries(ctx, r.e.ID, now, chunk)
	if err != nil {
		return nil, fromNothing, at, err
	}
	if len(due) > 0 {
		for i := range due {
			it, err := r.load(ctx, &due[i])
			if err != nil {
				return nil, fromNothing, at, err
			}
			items = append(items, it)
		}
		return items, fromDeliveries, at, nil
	}
	limit, most := chunk, maxWaiting
	if r.isDown() {
		limit, most = 1, maxWaitingDown
	}
	if now.Before(r.e.HoldUntil) {
		return nil, fromNothing, at, nil
	}
	if waiting, err := r.d.queue.WaitingDeliveries(ctx, r.e.ID, most); err != nil || waiting >= most {
		r.full = true
		return nil, fromNothing, at, err
	}
	sources := []source{fromCursor, fromReplay}
	if turn {
		sources = []source{fromReplay, fromCursor}
	}
	for _, from := range sources {
		page, ok, err := r.page(ctx, from, limit)
		if err != nil {
			return nil, fromNothing, at, err
		}
		if !ok {
			continue
		}
		for _, e := range page.Events {
			items = append(items, &item{event: e})
		}
		return items, from, page.Last, nil
	}
	return nil, fromNothing, at, nil
}

// page reads the next events of a source. It returns false if there is nothing to send and
// nothing to store.
func (r *run) page(ctx context.Context, from source, limit int) (page events.Page, ok bool, err error) {
	q := events.Query{Environment: r.e.Environment, After: r.e.Cursor, Types: r.e.Events, Limit: limit}
	if from == fromReplay {
		if r.e.Replay.IsZero() {
			return page, false, nil
		}
		q.After, q.Since, q.Until = r.e.Replay.After, r.e.Replay.Since, r.e.Replay.Until
	}
	if page, err = r.d.log.List(ctx, q); err != nil {
		return page, false, err
	}
	if from == fromCursor {
		if len(page.Events) == 0 {
			r.e.Cursor = later(r.e.Cursor, page.Last) // release stores it
			return page, page.More, nil
		}
		return page, true, nil
	}
	for i, e := range page.Events {
		if isAfter(e.ID, r.e.Replay.End) { // the cursor has sent it, or will
			page.Events, page.Last, page.More = page.Events[:i], r.e.Replay.End, false
			break
		}
	}
	if !page.More {
		page.Last = later(page.Last, r.e.Replay.End) // the replay is complete
	}
	return page, true, nil
}

func later(a, b mfa.EventID) mfa.EventID {
	if isAfter(b, a) {
		return b
	}
	return a
}

// load reads the event of a delivery.
func (r *run) load(ctx context.Context, dl *Delivery) (*item, error) {
	it := &item{stored: true, attempts: dl.Attempts, nextAt: dl.NextAt}
	it.event.ID, it.event.At = dl.Event, dl.EventAt
	page, err := r.d.log.List(ctx, events.Query{Environment: r.e.Environment, After: before(dl.Event), Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(page.Events) == 0 || page.Events[0].ID != dl.Event {
		it.missing = true
		return it, nil
	}
	it.event = page.Events[0]
	return it, nil
}

// before returns the greatest id that is smaller than id.
func before(id mfa.EventID) mfa.EventID {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]--
		if id[i] != 0xff {
			break
		}
	}
	return id
}
