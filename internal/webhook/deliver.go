package webhook

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
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
	if r.e, err = d.queue.ClaimEndpoint(ctx, id, Lease{By: r.lease, Now: start, Until: start.Add(leaseFor)}); err != nil {
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
