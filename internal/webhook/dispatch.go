package webhook

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Log reads events; *events.Service implements it.
type Log interface {
	// List returns a page of events, oldest first.
	List(ctx context.Context, q events.Query) (events.Page, error)
	// Follow calls fn with the events after q.After as they become readable, until ctx ends or
	// fn fails.
	Follow(ctx context.Context, q events.Query, fn func(events.Page) error) error
}

// A Dispatcher delivers the events of all environments to their endpoints. Any number of
// nodes may run one over the same store: an endpoint is leased to one of them at a time.
//
// Each endpoint with something to do has a separate run, so a slow endpoint delays no
// other. The runs of endpoints whose last attempt failed have separate places: no number of
// dead endpoints takes the places of the others.
type Dispatcher struct {
	service *Service
	store   Store
	queue   Queue
	log     Log
	sender  Sender
	ids     *ids.Source
	opts    DispatcherOptions

	mu      sync.Mutex
	tasks   map[EndpointID]*task // of the enabled endpoints
	waiting [2][]EndpointID      // for a place, by class
	busy    [2]int               // places in use, by class
	runs    sync.WaitGroup
	stopped bool // no run may begin any more
	changed chan struct{}
	waits   int           // stored deliveries that wait
	lag     time.Duration // see State
	off     int           // see State
}

// DispatcherOptions change how a Dispatcher behaves; zero fields take their defaults.
type DispatcherOptions struct {
	Append  func(b []byte, e events.Event) []byte // appends the JSON of an event; required
	Observe func(Outcome)                         // called after each attempt; must not wait
	Failed  func()                                // called after a failed round of background work; must not wait
	Logger  *slog.Logger                          // default slog.Default()
	Now     func() time.Time                      // default time.Now
	Rand    io.Reader                             // safe for concurrent use; default crypto/rand.Reader
	Timeout time.Duration                         // of an attempt; default 15 s
}

const (
	// attemptTimeout bounds an attempt, from the resolution of the name to the end of the answer.
	attemptTimeout = 15 * time.Second
	// stopGrace is how long attempts may still take when the process ends.
	stopGrace = 3 * time.Second

	refreshEvery = 5 * time.Second // endpoints that other nodes have changed
	dueEvery     = time.Second     // deliveries whose time has come
	checkEvery   = time.Minute     // events that a node has left behind when it was killed
	sweepEvery   = time.Minute
	sweepBatch   = 500
)

// The classes of endpoints, and how many of each have a run at a time.
const (
	healthy = iota
	failing
)

var places = [2]int{healthy: 512, failing: 256}

// A task is what a Dispatcher knows about an enabled endpoint.
type task struct {
	endpoint Endpoint // as it was last read
	class    int
	queued   bool // it waits for a place
	running  bool
	again    bool // it was woken while it was running

	hold  time.Time   // new events do not wake it before
	timer *time.Timer // wakes it then; nil until it is needed
}

// NewDispatcher returns a Dispatcher for the endpoints of a Service. queue belongs to the
// same store.
func NewDispatcher(service *Service, queue Queue, log Log, sender Sender, opts DispatcherOptions) *Dispatcher {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	opts.Now = wallclock.Or(opts.Now)
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	if opts.Observe == nil {
		opts.Observe = func(Outcome) {}
	}
	if opts.Failed == nil {
		opts.Failed = func() {}
	}
	if opts.Timeout == 0 {
		opts.Timeout = attemptTimeout
	}
	return &Dispatcher{
		service: service, store: service.store, queue: queue, log: log, sender: sender, opts: opts, ids: ids.NewSource(opts.Rand),
		tasks: make(map[EndpointID]*task), changed: make(chan struct{}, 1),
	}
}

func (d *Dispatcher) now() time.Time { return d.opts.Now().UTC().Truncate(time.Millisecond) }

// Changed tells the Dispatcher that an endpoint was created or changed on this node. It does
// not wait.
func (d *Dispatcher) Changed(EndpointID) {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// A State describes the work of a Dispatcher.
type State struct {
	Waiting int           // deliveries that wait for another attempt, of all nodes
	Lag     time.Duration // age of the oldest event that was not yet sent to an enabled endpoint

	Disabled int // endpoints that were disabled because they failed or are gone
}

// State returns the state as of the last check, at most a minute ago.
func (d *Dispatcher) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return State{d.waits, d.lag, d.off}
}

// Run delivers until ctx ends, and then waits a few seconds for attempts in progress.
func (d *Dispatcher) Run(ctx context.Context) {
	defer d.runs.Wait()
	defer d.stop()
	followers := newFollowers(d)
	defer followers.stop()
	every := func(interval time.Duration, what string, fn func(context.Context) error) {
		d.runs.Go(func() {
			ticker := time.NewTicker(interval)
			defer ticker.Stop()
			for {
				if err := fn(ctx); err != nil && ctx.Err() == nil {
					d.failed(what, err)
				}
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
			}
		})
	}
	refresh := func(ctx context.Context) error {
		if err := d.refresh(ctx); err != nil {
			return err
		}
		followers.update(ctx, d.positions())
		return nil
	}
	if err := refresh(ctx); err != nil && ctx.Err() == nil {
		d.failed("list of endpoints", err)
	}
	every(dueEvery, "due deliveries", d.wakeDue)
	every(checkEvery, "check", d.check)
	every(sweepEvery, "sweep", d.sweep)
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.changed:
		case <-ticker.C:
		}
		if err := refresh(ctx); err != nil && ctx.Err() == nil {
			d.failed("list of endpoints", err)
		}
	}
}

// failed reports a failed round of background work.
func (d *Dispatcher) failed(what string, err error) {
	d.opts.Logger.Error("webhooks", "of", what, "error", err)
	d.opts.Failed()
}

// stop keeps further runs from beginning.
func (d *Dispatcher) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	for _, t := range d.tasks {
		if t.timer != nil {
			t.timer.Stop()
		}
	}
}

// refresh reads all endpoints. New and changed ones are woken.
func (d *Dispatcher) refresh(ctx context.Context) error {
	all, err := d.store.AllEndpoints(ctx)
	if err != nil {
		return err
	}
	var woken []EndpointID
	off := 0
	d.mu.Lock()
	enabled := make(map[EndpointID]bool, len(all))
	for _, e := range all {
		if e.Status != Enabled {
			if e.DisabledFor != Requested {
				off++
			}
			continue
		}
		enabled[e.ID] = true
		t := d.tasks[e.ID]
		if t == nil {
			t = new(task)
			d.tasks[e.ID] = t
		}
		if !t.endpoint.UpdatedAt.Equal(e.UpdatedAt) {
			woken = append(woken, e.ID)
		}
		t.endpoint = e
	}
	d.off = off
	for id, t := range d.tasks {
		if !enabled[id] && !t.running && !t.queued {
			if t.timer != nil {
				t.timer.Stop()
			}
			delete(d.tasks, id)
		}
	}
	d.mu.Unlock()
	for _, id := range woken {
		d.wake(ctx, id)
	}
	return nil
}

// wakeDue wakes the endpoints with deliveries whose time has come.
func (d *Dispatcher) wakeDue(ctx context.Context) error {
	ids, err := d.queue.DueEndpoints(ctx, d.now(), 1000)
	for _, id := range ids {
		d.wake(ctx, id)
	}
	return err
}

// check wakes the endpoints that have events after their cursors. It finds what a node has
// left behind when it was killed, and it measures how late deliveries are.
func (d *Dispatcher) check(ctx context.Context) error {
	var lag time.Duration
	waits := 0
	for _, e := range d.enabled() {
		n, err := d.queue.WaitingDeliveries(ctx, e.ID, maxWaiting)
		if err != nil {
			return err
		}
		waits += n
		page, err := d.log.List(ctx, events.Query{Environment: e.Environment, After: e.Cursor, Types: e.Events, Limit: 1})
		if err != nil {
			return err
		}
		if len(page.Events) > 0 {
			lag = max(lag, d.now().Sub(page.Events[0].At))
		}
		if len(page.Events) > 0 || page.More || !e.Replay.IsZero() {
			d.wake(ctx, e.ID)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waits, d.lag = waits, lag
	return nil
}

func (d *Dispatcher) sweep(ctx context.Context) error {
	for {
		more, err := d.queue.SweepWebhooks(ctx, d.now(), sweepBatch)
		if err != nil || !more {
			return err
		}
	}
}

// enabled returns the endpoints as they were last read.
func (d *Dispatcher) enabled() []Endpoint {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Endpoint, 0, len(d.tasks))
	for _, t := range d.tasks {
		all = append(all, t.endpoint)
	}
	return all
}

// positions returns, for each environment with endpoints, the furthest of their cursors.
func (d *Dispatcher) positions() map[mfa.EnvironmentID]mfa.EventID {
	at := make(map[mfa.EnvironmentID]mfa.EventID)
	for _, e := range d.enabled() {
		if furthest, ok := at[e.Environment]; !ok || isAfter(e.Cursor, furthest) {
			at[e.Environment] = e.Cursor
		}
	}
	return at
}

func isAfter(a, b mfa.EventID) bool { return string(a[:]) > string(b[:]) }

// arrived wakes the endpoints that receive some of the events of a page.
func (d *Dispatcher) arrived(ctx context.Context, env mfa.EnvironmentID, page events.Page) {
	now := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, t := range d.tasks {
		if t.endpoint.Environment != env || now.Before(t.hold) {
			continue
		}
		if slices.ContainsFunc(page.Events, func(e events.Event) bool { return t.endpoint.Receives(e.Type) }) {
			d.wakeLocked(ctx, id)
		}
	}
}

// wake lets an endpoint run as soon as there is a place.
func (d *Dispatcher) wake(ctx context.Context, id EndpointID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wakeLocked(ctx, id)
}

// wakeLocked is wake for a caller that holds d.mu.
func (d *Dispatcher) wakeLocked(ctx context.Context, id EndpointID) {
	t := d.tasks[id]
	switch {
	case t == nil: // disabled, or new: refresh wakes it
	case t.running:
		t.again = true
	case !t.queued:
		t.queued = true
		d.waiting[t.class] = append(d.waiting[t.class], id)
		d.start(ctx)
	}
}

// start gives free places to waiting endpoints, oldest first. d.mu is held.
func (d *Dispatcher) start(ctx context.Context) {
	for class := range d.waiting {
		for len(d.waiting[class]) > 0 && d.busy[class] < places[class] && !d.stopped {
			id := d.waiting[class][0]
			d.waiting[class] = d.waiting[class][1:]
			t := d.tasks[id]
			t.queued, t.running, t.again = false, true, false
			d.busy[class]++
			d.runs.Go(func() { d.run(ctx, id, class) })
		}
	}
}

// run delivers to an endpoint and gives its place to the next one.
func (d *Dispatcher) run(ctx context.Context, id EndpointID, class int) {
	result, err := d.deliver(ctx, id)
	if err != nil && ctx.Err() == nil {
		d.opts.Logger.Error("deliver to a webhook endpoint", "endpoint", id.String(), "error", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy[class]--
	t := d.tasks[id]
	t.running, t.class = false, healthy
	if result.failures > 0 {
		t.class = failing
	}
	if (t.again || result.more) && err == nil {
		t.queued = true
		d.waiting[t.class] = append(d.waiting[t.class], id)
	}
	if t.hold = result.hold; !t.hold.IsZero() {
		if t.timer == nil {
			t.timer = time.AfterFunc(time.Hour, func() { d.wake(ctx, id) })
		}
		t.timer.Reset(max(0, t.hold.Sub(d.opts.Now())))
	}
	d.start(ctx)
}
