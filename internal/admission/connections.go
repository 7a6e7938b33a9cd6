// Package admission bounds how many connections a server keeps, so that no crowd
// takes its memory or keeps it from answering those that it has let in.
package admission

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// idleFor is how long nothing must have been asked on a connection before it is
	// closed to make room: on one that has just been used the next request may be on
	// its way.
	idleFor = 5 * time.Second
	// silentFor is the same for one on which nothing was ever asked.
	silentFor = time.Second
	// Spare is how many connections are let in beyond the limit: on these, those who
	// come too many are told so, and probes answered.
	Spare = 64
	// pause is between two that are let in on the spare ones. To refuse is not much
	// cheaper than to answer: if it went faster, too little would be left for those who
	// were let in. See docs/adr/0014-admission.md for what was measured.
	pause = 2 * time.Millisecond
)

// Connections are those that a server keeps: no more than a limit and Spare. To let
// another one in, one is closed on which nothing was ever asked, or nothing for
// longest. While there is none, who comes waits in the queue of the operating system,
// whose length is bounded, and one after the other gets a spare one. As long as there
// are more than the limit, every answer ends its connection; otherwise those who keep
// the spare ones would keep everybody else out. A server needs all of Listener, Track
// and Handler.
type Connections struct {
	limit   int
	crowded func()
	freed   chan struct{} // holds one: that there may be room
	now     func() time.Time

	n    atomic.Int64 // how many are open
	mu   sync.Mutex
	open map[net.Conn]*connection
	// The rings of those without a request, the longest idle first.
	idle, silent connection
}

// A connection is in a ring while no request is being answered on it: in that of the
// silent until the first has come.
type connection struct {
	net        net.Conn
	since      time.Time // it is idle
	prev, next *connection
}

// NewConnections returns Connections with a limit, which must be positive. It calls
// crowded whenever there are too many: that may be often.
func NewConnections(limit int, crowded func()) *Connections {
	c := &Connections{limit: limit, crowded: crowded, freed: make(chan struct{}, 1), now: time.Now, open: map[net.Conn]*connection{}}
	c.idle.prev, c.idle.next = &c.idle, &c.idle
	c.silent.prev, c.silent.next = &c.silent, &c.silent
	return c
}

// Open returns how many connections are open.
func (c *Connections) Open() int { return int(c.n.Load()) }

// isCrowded reports whether there are more than the limit.
func (c *Connections) isCrowded() bool { return c.Open() > c.limit }

// Track is told what becomes of a connection; see http.Server.ConnState.
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
	k.since = c.now()
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

// room reports whether there is room for one more, with so many spare ones. It makes
// room if it can.
func (c *Connections) room(spare int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open) < c.limit+spare || c.close(&c.silent, silentFor) || c.close(&c.idle, idleFor)
}

// close closes the first of a ring if it has been there for so long.
func (c *Connections) close(ring *connection, atLeast time.Duration) bool {
	k := ring.next
	if k == ring || c.now().Sub(k.since) < atLeast {
		return false
	}
	c.forget(k)
	go k.net.Close() // which may wait for the other side of TLS
	return true
}

// bodyWithin is how long the body of a request may take while there are too many.
const bodyWithin = time.Second

// Handler returns a handler that has next answer. While there are more than the limit
// it has the answer end the connection and does not wait for long for a body.
func (c *Connections) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.isCrowded() {
			c.crowded()
			w.Header().Set("Connection", "close")
			if r.ContentLength != 0 { // without a body, net/http takes a deadline for the end of the caller
				// The error is that of a writer that knows no deadlines, which is none of a server.
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyWithin))
			}
		}
		next.ServeHTTP(w, r)
	})
}

// Listener returns ln, with Accept held back while there is no room.
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
	l.connections.crowded()
	wait := time.NewTicker(pause)
	defer wait.Stop()
	for spare := 0; !l.connections.room(spare); {
		select {
		case <-l.connections.freed:
		case <-wait.C:
			spare = Spare
		case <-l.closed:
			conn.Close()
			return nil, net.ErrClosed
		}
	}
	return conn, nil
}

func (l *listener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
