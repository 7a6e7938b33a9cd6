package admission_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/admission"
)

// A fixture is a server with a low limit of connections. Each of its answers waits for a
// value in the channel answer.
type fixture struct {
	t           *testing.T
	connections *admission.Connections
	clock       *clock
	addr        string
	arrived     chan bool // one value for each request that has arrived
	answer      chan bool // one value for each request that may be answered
	ended       chan error
	server      *http.Server
}

func open(t *testing.T, limit int) *fixture {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &fixture{
		t: t, clock: newClock(), addr: ln.Addr().String(),
		arrived: make(chan bool, 1024), answer: make(chan bool, 1024), ended: make(chan error, 1),
	}
	h.connections = admission.NewConnections(limit, admission.Options{Now: h.clock.now})
	h.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.arrived <- true
			<-h.answer
			io.WriteString(w, "done")
		}),
		ConnState: h.connections.Track,
	}
	go func() { h.ended <- h.server.Serve(h.connections.Listener(ln)) }()
	t.Cleanup(func() {
		close(h.answer)
		h.server.Close()
	})
	return h
}

// A clock shows the same time until advance moves it.
type clock struct {
	start  time.Time
	passed atomic.Int64
}

func newClock() *clock                   { return &clock{start: time.Now()} }
func (c *clock) now() time.Time          { return c.start.Add(time.Duration(c.passed.Load())) }
func (c *clock) advance(d time.Duration) { c.passed.Add(int64(d)) }

// ask sends a request on a new connection.
func (h *fixture) ask() *caller {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	c := &caller{h.t, conn, bufio.NewReader(conn)}
	c.send()
	return c
}

type caller struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (c *caller) send() {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		c.t.Error(err)
	}
}

// answered reads an answer.
func (c *caller) answered() error {
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err == nil && string(body) != "done" {
		err = fmt.Errorf("answered %q", body)
	}
	return err
}

// atWork waits until n more requests have arrived.
func (h *fixture) atWork(n int) {
	h.t.Helper()
	for range n {
		select {
		case <-h.arrived:
		case <-time.After(10 * time.Second):
			h.t.Fatalf("a request did not arrive; %d connections are open", h.connections.Open())
		}
	}
}

// opens waits until n connections are open.
func (h *fixture) opens(n int) {
	h.t.Helper()
	for end := time.Now().Add(10 * time.Second); h.connections.Open() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("%d connections are open; want %d", h.connections.Open(), n)
		}
	}
}

// rest waits until the given numbers of connections are idle and silent. A server changes
// the state after it has sent the answer.
func (h *fixture) rest(idle, silent int) {
	h.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		i, s := h.connections.Resting()
		if i == idle && s == silent {
			return
		}
		if time.Now().After(end) {
			h.t.Fatalf("%d connections are idle and %d silent; want %d and %d", i, s, idle, silent)
		}
	}
}

// TestNoMoreThanTheLimitAndSpare has a request in progress on every connection.
func TestNoMoreThanTheLimitAndSpare(t *testing.T) {
	const limit, beyond = 3, 40
	h := open(t, limit)
	var callers []*caller
	for range limit + admission.Spare + beyond {
		callers = append(callers, h.ask())
	}
	h.atWork(limit + admission.Spare)
	select {
	case <-h.arrived:
		t.Errorf("more than %d requests are in progress", limit+admission.Spare)
	case <-time.After(50 * admission.Pause):
	}
	h.opens(limit + admission.Spare)

	// When requests end, the waiting connections get their places.
	for range callers {
		h.answer <- true
	}
	left := make(chan bool)
	for _, c := range callers {
		go func() {
			if err := c.answered(); err != nil {
				t.Error(err)
			}
			c.conn.Close()
			left <- true
		}()
	}
	for range callers {
		<-left
	}
	h.opens(0)
}

// TestTheLongestIdleMakesRoom has two idle connections, one of them idle for longer.
func TestTheLongestIdleMakesRoom(t *testing.T) {
	h := open(t, 3)
	var idle []*caller
	for range 2 {
		h.answer <- true
		c := h.ask()
		if err := c.answered(); err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
		h.rest(len(idle), 0)
		h.clock.advance(time.Second)
	}
	atWork := h.ask()
	h.atWork(3)
	h.clock.advance(admission.IdleFor - 3*time.Second)
	spare := h.ask() // no connection is idle for long enough
	h.atWork(1)
	h.opens(4)
	h.clock.advance(time.Second)
	another := h.ask()
	h.atWork(1)
	h.opens(4)
	if err := idle[0].answered(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("on the longest idle connection: %v; want its end", err)
	}
	idle[1].send() // this connection is still open
	h.atWork(1)
	for range 4 {
		h.answer <- true
	}
	for _, c := range []*caller{idle[1], atWork, spare, another} {
		if err := c.answered(); err != nil {
			t.Error(err)
		}
	}
}

// TestSilentConnectionsMakeRoom has clients that connect and send no request.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	h := open(t, 2)
	for range 2 {
		conn, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	h.rest(0, 2)
	h.clock.advance(admission.SilentFor)
	h.answer <- true
	if err := h.ask().answered(); err != nil {
		t.Error(err)
	}
	h.opens(2)
}

// TestHandlerEndsConnectionsInACrowd has more connections than the limit: answers end
// their connections, a body must arrive in a short time, and a request without a body may
// take longer.
func TestHandlerEndsConnectionsInACrowd(t *testing.T) {
	var told atomic.Int64
	// With a clock that does not move, no connection is idle for long enough to be closed.
	c := admission.NewConnections(1, admission.Options{Crowded: func() { told.Add(1) }, Now: newClock().now})
	results := make(chan error, 16)
	server := httptest.NewUnstartedServer(c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, err := io.ReadAll(r.Body)
			results <- err
			return
		}
		select {
		case <-r.Context().Done():
		case <-time.After(admission.BodyWithin + 500*time.Millisecond):
		}
		results <- r.Context().Err()
	})))
	server.Config.ConnState = c.Track
	server.Listener = c.Listener(server.Listener)
	server.Start()
	t.Cleanup(server.Close)
	idle, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	for _, tc := range []struct {
		request string
		want    error
	}{
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", nil},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", nil},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{", os.ErrDeadlineExceeded},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", os.ErrDeadlineExceeded},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, tc.request); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-results; !errors.Is(err, tc.want) || !r.Close || told.Swap(0) == 0 {
			t.Errorf("%q: %v, the connection ends: %t; want %v and its end", tc.request, err, r.Close, tc.want)
		}
		conn.Close()
	}
}

func TestNotice(t *testing.T) {
	var n admission.Notice
	start := time.Now()
	for _, tc := range []struct {
		after time.Duration
		due   bool
	}{{0, true}, {time.Second, false}, {9 * time.Second, false}, {10 * time.Second, true}, {19 * time.Second, false}, {-time.Hour, true}, {-time.Hour + time.Second, false}} {
		if got := n.Due(start.Add(tc.after)); got != tc.due {
			t.Errorf("due after %v: %t; want %t", tc.after, got, tc.due)
		}
	}
}

// TestCloseWhileAConnectionWaits closes the server while its listener has no room.
func TestCloseWhileAConnectionWaits(t *testing.T) {
	h := open(t, 1)
	for range 1 + admission.Spare + 1 {
		h.ask()
	}
	h.atWork(1 + admission.Spare)
	h.server.Close()
	select {
	case err := <-h.ended:
		if !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve = %v; want %v", err, http.ErrServerClosed)
		}
	case <-time.After(10 * time.Second):
		t.Error("Serve does not return")
	}
}

// TestCrowd has many clients that connect, send requests and disconnect at the same time.
func TestCrowd(t *testing.T) {
	h := open(t, 4)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 8 {
				conn, err := net.Dial("tcp", h.addr)
				if err != nil {
					t.Error(err)
					return
				}
				c := &caller{t, conn, bufio.NewReader(conn)}
				for range 3 {
					c.send()
					h.answer <- true
					if err := c.answered(); err != nil {
						t.Error(err)
					}
					<-h.arrived
				}
				conn.Close()
			}
		})
	}
	all.Wait()
	h.opens(0)
}

func TestAShutdownWaitsForFirstRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := admission.NewConnections(10, admission.Options{})
		quick, silent := &net.TCPConn{}, &net.UnixConn{}
		c.Track(quick, http.StateNew)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.AfterFunc(100*time.Millisecond, func() { c.Track(quick, http.StateActive) })
		began := time.Now()
		c.AwaitRequests(ctx)
		if took := time.Since(began); ctx.Err() != nil || took < 100*time.Millisecond {
			t.Errorf("it waited %v for a request that arrived after 100 ms", took)
		}
		c.Track(silent, http.StateNew)
		c.AwaitRequests(ctx)
		if ctx.Err() == nil {
			t.Error("it did not wait for a connection without a request")
		}
	})
}
