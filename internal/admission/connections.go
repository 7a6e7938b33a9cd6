package admission

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign-mfa/countersign/internal/wallclock"
)

const (
	// idleFor is how long a connection must have been idle before it is closed to make
	// room. On a connection that was just used, the next request may be on its way.
	idleFor = 5 * time.Second
	// silentFor is the same for a connection that has not had a request yet.
	silentFor = time.Second
	// Spare is the number of connections beyond the limit. They serve to refuse excess
	// clients, and to answer probes.
	Spare = 64
	// pause is the time between two connections that get a spare place. A refusal is not
	// much cheaper than an answer: faster refusals would leave too little time for the
	// other requests. docs/adr/0014-admission.md has the measurements.
	pause = 2 * time.Millisecond
)

// Connections are the connections that a server keeps: at most a limit and Spare. To
// make room for another connection, they close one that has not had a request yet, or
// the one that has been idle for the longest time. If no connection can be closed,
// further connections wait in the queue of the operating system, whose length is bounded,
// and get the spare places at a limited rate. While there are more connections than the
// limit, every answer ends its connection. Otherwise the clients on the spare places could
// keep them, and no other client would get an answer. A server needs all of Listener,
// Track and Handler.
type Connections struct {
	limit int
	opts  Options
	freed chan struct{} // has one element if a connection has closed since the last receive

	n    atomic.Int64 // the number of open connections
	mu   sync.Mutex
	open map[net.Conn]*connection
	// The rings of the connections without a request in progress, the longest idle first.
	idle, silent connection
}

// A connection is in a ring while no request is in progress on it: in the ring silent
// until its first request, and then in the ring idle.
type connection struct {
	net        net.Conn
	since      time.Time // when it entered its ring
	prev, next *connection
}

// Options change how Connections behave; zero fields take their defaults.
type Options struct {
	Crowded func()           // called for each event of a crowd, so it may be called often; default: no call
	Now     func() time.Time // default time.Now
}

// NewConnections returns Connections with a limit, which must be positive.
func NewConnections(limit int, opts Options) *Connections {
	if opts.Crowded == nil {
		opts.Crowded = func() {}
	}
	opts.Now = wallclock.Or(opts.Now)
	c := &Connections{limit: limit, opts: opts, freed: make(chan struct{}, 1), open: map[net.Conn]*connection{}}
	c.idle.prev, c.idle.next = &c.idle, &c.idle
	c.silent.prev, c.silent.next = &c.silent, &c.silent
	return c
}

// Open returns the number of open connections.
func (c *Connections) Open() int { return int(c.n.Load()) }

// AwaitRequests returns when each open connection has sent a request, or when ctx ends.
func (c *Connections) AwaitRequests(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for c.isSilent() && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// isSilent reports whether there is a connection without a request.
func (c *Connections) isSilent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.silent.next != &c.silent
}

// isCrowded reports whether there are more connections than the limit.
func (c *Connections) isCrowded() bool { return c.Open() > c.limit }

// Track follows the states of the connections. It is the value for http.Server.ConnState.
func (c *Connections) Track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		k := &connection{net: conn}
		c.open[conn] = k
		c.n.Add(1)
		c.rest(k, &c.silent)
	case http.StateActive:
		if k := c.open[conn]; k != nil {
			k.leave()
		}
	case http.StateIdle:
		if k := c.open[conn]; k != nil {
			c.rest(k, &c.idle)
		}
	case http.StateHijacked, http.StateClosed:
		if k := c.open[conn]; k != nil {
			c.forget(k)
		}
	}
}

// rest puts a connection at the end of a ring.
func (c *Connections) rest(k, ring *connection) {
	k.leave()
	k.since = c.opts.Now()
	k.prev, k.next = ring.prev, ring
	k.prev.next, k.next.prev = k, k
}

// leave takes a connection out of its ring, if it is in one.
func (k *connection) leave() {
	if k.next != nil {
		k.prev.next, k.next.prev = k.next, k.prev
		k.prev, k.next = nil, nil
	}
}

func (c *Connections) forget(k *connection) {
	k.leave()
	delete(c.open, k.net)
	c.n.Add(-1)
	select {
	case c.freed <- struct{}{}:
	default:
	}
}

// room reports whether there is room for one more connection, with the given number of
// spare places. If all places are taken, it tries to close a connection.
func (c *Connections) room(spare int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open) < c.limit+spare || c.close(&c.silent, silentFor) || c.close(&c.idle, idleFor)
}

// close closes the first connection of a ring if it has been there for at least that
// long, and reports whether it did.
func (c *Connections) close(ring *connection, atLeast time.Duration) bool {
	k := ring.next
	if k == ring || c.opts.Now().Sub(k.since) < atLeast {
		return false
	}
	c.forget(k)
	go k.net.Close() // over TLS, Close may wait for the client
	return true
}

// bodyWithin is the time limit for the body of a request while the server is crowded.
const bodyWithin = time.Second

// Handler wraps next. While there are more connections than the limit, it makes each
// answer end its connection, and limits the time for a body.
func (c *Connections) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.isCrowded() {
			c.opts.Crowded()
			w.Header().Set("Connection", "close")
			if r.ContentLength != 0 { // without a body, net/http would cancel the request at the deadline
				// SetReadDeadline fails only for writers without deadlines. Those of a server have
				// them, and they use the system clock.
				_ = http.NewResponseController(w).SetReadDeadline(wallclock.Deadline(bodyWithin))
			}
		}
		next.ServeHTTP(w, r)
	})
}

// Listener wraps ln. Its Accept waits while there is no room.
func (c *Connections) Listener(ln net.Listener) net.Listener {
	return &listener{Listener: ln, connections: c, closed: make(chan struct{})}
}

type listener struct {
	net.Listener
	connections *Connections
	close       sync.Once
	closed      chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.connections.room(0) {
		return conn, nil
	}
	l.connections.opts.Crowded()
	wait := time.NewTicker(pause)
	defer wait.Stop()
	for spare := 0; !l.connections.room(spare); {
		select {
		case <-l.connections.freed:
		case <-wait.C:
			spare = Spare
		case <-l.closed:
			return conn, nil // the last one
		}
	}
	return conn, nil
}

func (l *listener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
