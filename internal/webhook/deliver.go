package webhook

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

const (
	// leaseFor is how long a lease lasts unless its run renews it. After a node was killed,
	// other nodes wait for the end of its leases.
	leaseFor = 15 * time.Second
	// renewEvery is how often a run renews its lease while it waits for answers.
	renewEvery = 5 * time.Second
	// chunk is how many events a run reads and sends between two writes. A node that is killed
	// leaves at most so many deliveries unrecorded, which are then sent again.
	chunk = 32
	// chunkFor is how long a run begins to send the events of a chunk, so the outcome of a
	// slow receiver is stored soon.
	chunkFor = 10 * time.Second
	// lanes is how many events of an endpoint are sent at a time. Events of one user are in one
	// lane and are sent one after another.
	lanes = 8
	// runFor is how long a run keeps its place while others may wait for one.
	runFor = 10 * time.Second

	keepDelivered = 24 * time.Hour      // attempts that succeeded
	keepFailed    = 7 * 24 * time.Hour  // attempts that failed
	keepDelivery  = 30 * 24 * time.Hour // deliveries without success, from their last attempt on
	settleTimeout = 10 * time.Second    // of the write after a chunk, also when the process ends
)

// A result is how a run ended.
type result struct {
	more     bool      // there is more to do now
	failures int       // of the endpoint, in a row
	hold     time.Time // when to go on; zero if only a new event or a due delivery matters
}

// A run delivers to one endpoint that is leased to it.
type run struct {
	d     *Dispatcher
	e     *Endpoint // as stored by the last write, with the progress since
	lease [16]byte
	full  bool // too many deliveries wait

	mu      sync.Mutex // guards the fields below and e.Progress while lanes send
	disable string     // why the endpoint has to be disabled; or ""
	stopped bool       // no more attempts in this chunk
	revived bool       // the endpoint was down, and an attempt succeeded
	holdAll time.Time  // until when deliveries that were not tried wait
}

// An item is an event to send.
type item struct {
	event    events.Event
	missing  bool // retention has removed the event
	stored   bool // it has a Delivery
	attempts int
	tried    bool // in this run
	attempt  Attempt
	nextAt   time.Time // of the next attempt; zero: none
}

// source is where the items of a chunk come from.
type source int

const (
	fromNothing source = iota
	fromDeliveries
	fromCursor
	fromReplay
)

// deliver sends the due deliveries and new events of an endpoint, unless another node does.
func (d *Dispatcher) deliver(ctx context.Context, id EndpointID) (result, error) {
	r := &run{d: d}
	if _, err := io.ReadFull(d.opts.Rand, r.lease[:]); err != nil {
		return result{}, fmt.Errorf("draw the name of a lease: %w", err)
	}
	start := d.now()
	var err error
	if r.e, err = d.store.ClaimEndpoint(ctx, id, Lease{By: r.lease, Now: start, Until: start.Add(leaseFor)}); err != nil {
		return result{}, err
	}
	if r.e == nil {
		return d.leased(ctx, id)
	}
	defer r.keepLease(ctx)()
	for began, turn := wallclock.Start(), false; ; turn = !turn {
		items, from, at, err := r.next(ctx, turn)
		if err != nil {
			r.release(ctx)
			return result{}, err
		}
		if from == fromNothing {
			hold, now := r.e.HoldUntil, d.now()
			if r.full {
				hold = now.Add(checkEvery)
			} else if hold.Before(now) {
				hold = time.Time{}
			}
			return result{failures: r.e.Failures, hold: hold}, r.release(ctx)
		}
		if !r.send(ctx, items) { // a fault of this node, which was logged, or the process ends
			return result{failures: r.e.Failures}, r.release(ctx)
		}
		over := ctx.Err() != nil || began.Elapsed() > runFor
		held, err := r.settle(ctx, items, from, at, over)
		if err != nil || !held {
			return result{failures: r.e.Failures}, err
		}
		if over {
			return result{more: ctx.Err() == nil, failures: r.e.Failures}, nil
		}
	}
}

// leased is the result for an endpoint that is leased to another run: try again when the
// lease ends.
func (d *Dispatcher) leased(ctx context.Context, id EndpointID) (result, error) {
	e, err := d.store.Endpoint(ctx, id)
	if err != nil || e == nil || e.Status != Enabled {
		return result{}, err
	}
	return result{failures: e.Failures, hold: e.LeasedUntil}, nil
}

// keepLease renews the lease until the returned function is called.
func (r *run) keepLease(ctx context.Context) (stop func()) {
	id, lease := r.e.ID, r.lease
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var renewing sync.WaitGroup
	renewing.Go(func() {
		ticker := time.NewTicker(renewEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			err := r.d.store.UpdateEndpoint(ctx, id, func(tx *Tx) error {
				if tx.Endpoint != nil && tx.Endpoint.LeasedBy == lease {
					tx.Endpoint.LeasedUntil = r.d.now().Add(leaseFor)
				}
				return nil
			})
			if err != nil && ctx.Err() == nil {
				r.d.opts.Logger.Warn("renew the lease of a webhook endpoint", "endpoint", id.String(), "error", err)
			}
		}
	})
	return func() {
		cancel()
		renewing.Wait()
	}
}

// next returns the items of the next chunk and the position after them: first the deliveries
// whose time has come, then in turn the events after the cursor and the events of a replay.
func (r *run) next(ctx context.Context, turn bool) (items []*item, from source, at mfa.EventID, err error) {
	now := r.d.now()
	due, err := r.d.store.DueDeliveries(ctx, r.e.ID, now, chunk)
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
	if waiting, err := r.d.store.WaitingDeliveries(ctx, r.e.ID, most); err != nil || waiting >= most {
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

// isDown reports whether so many attempts failed in a row that the endpoint itself seems to
// be down.
func (r *run) isDown() bool { return r.e.Failures >= downAfter }

// send tries items, and reports whether there is an outcome to store. Each lane sends its
// items one after another; after a failed attempt there is only one lane.
func (r *run) send(ctx context.Context, items []*item) bool {
	// Attempts in progress may end when the process ends, but not take long.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()

	n := lanes
	if r.e.Failures > 0 {
		n = 1
	}
	byLane := make([][]*item, n)
	for _, it := range items {
		if !it.missing {
			lane := int(it.event.ID.Bucket()) % n
			byLane[lane] = append(byLane[lane], it)
		}
	}
	r.stopped, r.revived, r.holdAll = false, false, time.Time{}
	start := wallclock.Start()
	var all sync.WaitGroup
	for _, lane := range byLane {
		if len(lane) == 0 {
			continue
		}
		all.Go(func() {
			for _, it := range lane {
				if ctx.Err() != nil || r.isStopped() || start.Elapsed() > chunkFor {
					return
				}
				if goOn := r.try(sending, it); !goOn {
					return
				}
			}
		})
	}
	all.Wait()
	return len(items) == 0 || slices.ContainsFunc(items, func(it *item) bool { return it.tried || it.missing })
}

func (r *run) isStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// try makes one attempt and reports whether the lane goes on.
func (r *run) try(ctx context.Context, it *item) bool {
	secrets, err := r.e.secrets(r.d.service.keys.Load(), r.d.now())
	if err != nil {
		return r.giveUp(err)
	}
	at, began := r.d.now(), wallclock.Start()
	id := it.event.ID.String()
	body := r.d.opts.Append(nil, it.event)
	headers, err := secrets.Headers(id, at, body)
	if err != nil {
		return r.giveUp(err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.d.opts.Timeout)
	answer := r.d.sender.Send(ctx, Request{URL: r.e.URL, Headers: headers, Body: body})
	stopped := ctx.Err() == context.Canceled
	cancel()
	if stopped && answer.Fault != "" {
		return false // the process ends: the attempt does not count
	}
	a := &it.attempt
	*a = Attempt{
		Endpoint: r.e.ID, Event: it.event.ID, Type: it.event.Type, Number: it.attempts + 1,
		At: at, Took: began.Elapsed().Truncate(time.Millisecond), Status: answer.Status, Outcome: answer.outcome(),
	}
	if a.ID, err = r.d.ids.Next(at, r.e.ID.Bucket()); err == nil && len(answer.Body) > 0 {
		a.Answer, err = r.d.service.keys.Load().Seal(answer.Body[:min(len(answer.Body), MaxAnswer)], a.associated())
	}
	jitter, drawErr := fraction(r.d.opts.Rand)
	if err != nil || drawErr != nil {
		return r.giveUp(fmt.Errorf("record an attempt: %w, %w", err, drawErr))
	}
	r.d.opts.Observe(a.Outcome)
	return r.judge(it, answer.RetryAfter, jitter)
}

// giveUp ends the chunk because of a fault of this node.
func (r *run) giveUp(err error) bool {
	r.d.opts.Logger.Error("deliver to a webhook endpoint", "endpoint", r.e.ID.String(), "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	return false
}

// judge decides the next step after an attempt, and reports whether the lane continues.
func (r *run) judge(it *item, retryAfter time.Duration, jitter float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.d.now()
	it.tried, it.attempts, it.nextAt = true, it.attempts+1, time.Time{}
	if it.attempt.Outcome == Delivered {
		r.revived = r.revived || r.isDown()
		r.e.Failures, r.e.FailingSince, r.e.HoldUntil, r.e.LastSuccess = 0, time.Time{}, time.Time{}, now
		it.attempt.ExpiresAt = now.Add(keepDelivered)
		return true
	}
	r.e.Failures++
	if r.e.FailingSince.IsZero() {
		r.e.FailingSince = it.attempt.At
	}
	it.attempt.ExpiresAt = now.Add(keepFailed)
	pause, again := wait(r.e.Sandbox, it.attempts, jitter)
	if again {
		pause = max(pause, min(retryAfter, maxRetryAfter))
		it.nextAt = now.Add(pause)
		it.attempt.NextAt = it.nextAt
	}
	if it.attempt.Outcome == EndpointIsGone {
		r.disable = Gone
	} else if now.Sub(r.e.FailingSince) >= disableAfter {
		r.disable = Failing
	}
	var hold time.Duration
	switch {
	case r.disable != "":
		r.stopped = true
	case retryAfter > 0:
		hold, r.stopped = min(retryAfter, maxHold), true
	case r.isDown():
		hold, r.stopped = min(cmp.Or(pause, probeEvery), probeEvery), true
	case it.attempts == 1:
		hold = pause // a restart of the receiver takes seconds: keep the order
	}
	if until := now.Add(hold); hold > 0 && until.After(r.e.HoldUntil) {
		r.e.HoldUntil, r.holdAll = until, until
	}
	return hold == 0 && !r.stopped
}

// settle stores the outcome of a chunk. It returns false if the lease was lost, the endpoint
// disabled or deleted, or the lease given up because the run is over.
func (r *run) settle(ctx context.Context, items []*item, from source, at mfa.EventID, over bool) (held bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	now := r.d.now()
	writes, at := r.writes(items, from, at, now)
	progress, replay := r.e.Progress, r.e.Replay
	switch from {
	case fromCursor:
		progress.Cursor = later(progress.Cursor, at)
	case fromReplay:
		if replay.After = at; !isAfter(replay.End, at) {
			replay = Replay{}
		}
	}
	var stored Endpoint
	err = r.d.store.UpdateEndpoint(ctx, r.e.ID, func(tx *Tx) error {
		held = false
		e := tx.Endpoint
		if e == nil || e.LeasedBy != r.lease {
			return nil // another run continues where the last write left off
		}
		tx.Put, tx.Ended, tx.Attempts = writes.Put, writes.Ended, writes.Attempts
		unchanged := e.UpdatedAt.Equal(r.e.UpdatedAt)
		if unchanged {
			e.Progress = progress
		} else { // the attempts say nothing about the endpoint as it is now
			e.Cursor = later(e.Cursor, progress.Cursor)
		}
		if from == fromReplay && e.Replay == r.e.Replay {
			e.Replay = replay
		}
		if e.Status == Enabled && r.disable != "" && unchanged {
			e.disable(r.disable)
			tx.record(mfa.Caller{Environment: mfa.Environment{ID: e.Environment}}, now, e.ID, mfa.EndpointDisabled, r.disable)
			tx.Reschedule = &Reschedule{From: Waiting, To: Paused, NextAt: now}
		} else if r.revived {
			tx.Reschedule = &Reschedule{From: Waiting, To: Waiting, NextAt: now}
		}
		if e.Status == Disabled {
			for i := range tx.Put {
				if tx.Put[i].State == Waiting {
					tx.Put[i].State = Paused
				}
			}
		}
		held = e.Status == Enabled && !over
		e.LeasedUntil = now.Add(leaseFor)
		if !held {
			e.LeasedBy, e.LeasedUntil = [16]byte{}, time.Time{}
		}
		stored = *e
		return nil
	})
	if err == nil && stored.ID != (EndpointID{}) {
		r.e = &stored
	}
	return held, err
}

// writes returns the rows for a chunk, and the position that the cursor may move to. Items
// after the last one that was tried are not skipped: they stay behind the position.
func (r *run) writes(items []*item, from source, at mfa.EventID, now time.Time) (tx Tx, _ mfa.EventID) {
	last := -1
	for i, it := range items {
		if it.tried || it.missing {
			last = i
		}
	}
	if from != fromDeliveries && last < len(items)-1 {
		if at = before(items[last+1].event.ID); last >= 0 {
			at = items[last].event.ID
		}
		items = items[:last+1]
	}
	for _, it := range items {
		if it.tried {
			tx.Attempts = append(tx.Attempts, it.attempt)
		}
		dl := Delivery{
			Endpoint: r.e.ID, Event: it.event.ID, EventAt: it.event.At, State: Waiting, Attempts: it.attempts,
			NextAt: it.nextAt, ExpiresAt: now.Add(keepDelivery),
		}
		switch {
		case it.missing, it.tried && it.attempt.Outcome == Delivered:
			if it.stored || from == fromReplay {
				tx.Ended = append(tx.Ended, it.event.ID)
			}
			continue
		case it.tried && it.nextAt.IsZero():
			dl.State, dl.NextAt = Failed, now
		case !it.tried && !it.stored:
			dl.NextAt = now
			fallthrough
		case !it.tried:
			if r.holdAll.After(dl.NextAt) {
				dl.NextAt = r.holdAll
			}
		}
		tx.Put = append(tx.Put, dl)
	}
	return tx, at
}

// release gives up the lease and stores the cursor.
func (r *run) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return r.d.store.UpdateEndpoint(ctx, r.e.ID, func(tx *Tx) error {
		e := tx.Endpoint
		if e == nil || e.LeasedBy != r.lease {
			return nil
		}
		e.Cursor = later(e.Cursor, r.e.Cursor)
		e.LeasedBy, e.LeasedUntil = [16]byte{}, time.Time{}
		return nil
	})
}
