package postgres_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

// A proxy passes messages between a store and its server. It understands enough of the
// protocol to inject a fault at a chosen point of a transaction.
type proxy struct {
	server   string
	listener net.Listener
	links    sync.WaitGroup
	close    func()

	mu      sync.Mutex
	open    map[net.Conn]bool
	faults  map[point][]fault
	flights [][]string
	stalled chan struct{} // closed at the end, to end stalled links too
}

// A point is a moment in the course of a transaction.
type point string

const (
	readsArrived   point = "BEGIN before it reaches the server"
	readsAnswered  point = "after the reads were answered"
	commitArrived  point = "COMMIT before it reaches the server"
	commitAnswered point = "COMMIT carried out and not answered"
)

// A fault is an event that happens once at a point.
type fault string

const (
	cut    fault = "cut"    // both connections end
	stall  fault = "stall"  // no more bytes pass, and both connections stay open
	half   fault = "half"   // half of the message passes, then cut
	noEnd  fault = "no end" // an answer passes without its last message, then cut
	fatal  fault = "fatal"  // the answer is the FATAL error of a pooler that has lost the server
	closed       = 'X'      // the type of Terminate
)

// proxied returns the URL of the same database through a new proxy.
func proxied(t testing.TB, direct string) (string, *proxy) {
	t.Helper()
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{
		server: u.Host, listener: ln, open: make(map[net.Conn]bool), faults: make(map[point][]fault),
		stalled: make(chan struct{}),
	}
	p.links.Go(p.accept)
	p.close = sync.OnceFunc(func() {
		ln.Close()
		close(p.stalled)
		p.cutAll()
		p.links.Wait()
	})
	t.Cleanup(p.close)
	u.Host = ln.Addr().String()
	return u.String(), p
}

// openProxied returns a store that connects through a proxy.
func openProxied(t testing.TB, direct string, opts postgres.Options) (*postgres.Store, *proxy) {
	t.Helper()
	through, p := proxied(t, direct)
	s := openAt(t, through, opts)
	t.Cleanup(p.close) // runs first, because a store waits for stalled connections
	return s, p
}

// at arms the proxy: each time a transaction reaches the point, the next fault
// happens, until none is left.
func (p *proxy) at(when point, faults ...fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[when] = append(p.faults[when], faults...)
}

// armed reports whether some faults have not happened yet.
func (p *proxy) armed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, left := range p.faults {
		if len(left) > 0 {
			return true
		}
	}
	return false
}

func (p *proxy) fault(when point) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.faults[when]
	if len(left) == 0 {
		return ""
	}
	p.faults[when] = left[1:]
	return left[0]
}

// take returns the texts of the statements that were sent to the server since the last
// call. The statements before each wait for an answer form one flight.
func (p *proxy) take() [][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	flights := p.flights
	p.flights = nil
	return flights
}

func (p *proxy) record(flight []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The pool pings a connection that has been idle for a second.
	if !slices.Equal(flight, []string{"-- ping"}) {
		p.flights = append(p.flights, flight)
	}
}

// cutAll ends all connections.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.open[client], p.open[server] = true, true
		p.mu.Unlock()
		l := &link{
			proxy: p, client: client, server: server, fromClient: bufio.NewReader(client), fromServer: bufio.NewReader(server),
			texts: make(map[string]string), sent: make(chan []string, 64),
		}
		p.links.Go(l.up)
		p.links.Go(l.down)
	}
}

// A link is one connection of a store with its connection to the server.
type link struct {
	*proxy
	client, server         net.Conn
	fromClient, fromServer *bufio.Reader
	texts                  map[string]string // the prepared statements, by name
	sent                   chan []string     // the flights that are not answered yet
}

func (l *link) end() {
	l.client.Close()
	l.server.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, l.client)
	delete(l.open, l.server)
}

// up passes the messages of the store to the server, one flight at a time.
func (l *link) up() {
	defer l.end()
	defer close(l.sent)
	startup, err := readBody(l.fromClient, nil)
	if err != nil {
		return
	}
	l.sent <- nil // is answered like a flight
	if _, err := l.server.Write(startup); err != nil {
		return
	}
	for {
		raw, flight, err := l.readFlight()
		if err != nil {
			return
		}
		if flight != nil {
			l.record(flight)
		}
		switch l.fault(arrival(flight)) {
		case cut:
			return
		case half:
			l.server.Write(raw[:len(raw)/2])
			return
		case stall:
			<-l.stalled
			return
		}
		l.sent <- flight
		if _, err := l.server.Write(raw); err != nil {
			return
		}
	}
}

// begins reports whether a flight begins a transaction, at any isolation level.
func begins(flight []string) bool {
	return slices.ContainsFunc(flight, func(sql string) bool { return strings.HasPrefix(sql, "BEGIN") })
}

func arrival(flight []string) point {
	switch {
	case begins(flight):
		return readsArrived
	case slices.Contains(flight, "COMMIT"):
		return commitArrived
	}
	return ""
}

// readFlight reads messages up to one that the server answers with ReadyForQuery. It
// returns the messages and the texts of the statements that they run.
func (l *link) readFlight() (raw []byte, flight []string, err error) {
	for {
		kind, message, err := readMessage(l.fromClient)
		if err != nil {
			return nil, nil, err
		}
		raw = append(raw, message...)
		body := message[5:]
		switch kind {
		case 'P': // Parse: name, text
			name, rest := cString(body)
			l.texts[name], _ = cString(rest)
		case 'B': // Bind: portal, name
			_, rest := cString(body)
			name, _ := cString(rest)
			flight = append(flight, l.texts[name])
		case 'Q': // Query: text
			text, _ := cString(body)
			return raw, []string{text}, nil
		case 'S', closed:
			return raw, flight, nil
		}
	}
}

// down passes the messages of the server to the store: an answer as a whole, and an
// unsolicited message immediately.
func (l *link) down() {
	defer l.end()
	var answer []byte
	for {
		kind, message, err := readMessage(l.fromServer)
		answer = append(answer, message...)
		if err != nil {
			l.client.Write(answer) // the last message of the server
			return
		}
		if kind != 'Z' && len(l.sent) > 0 {
			continue
		}
		if kind == 'Z' {
			flight := <-l.sent
			switch l.fault(departure(flight)) {
			case cut:
				return
			case stall:
				<-l.stalled
				return
			case half:
				// The answers to the writes pass, and the answer to COMMIT does not.
				l.client.Write(answer[:len(answer)/2])
				return
			case noEnd:
				l.client.Write(answer[:len(answer)-len(message)])
				return
			case fatal:
				l.client.Write(serverCrashed)
				return
			}
			if l.fault(afterwards(flight)) == cut {
				l.server.Close() // closes first: the next message of the store must not reach the server
				l.client.Write(answer)
				return
			}
		}
		if _, err := l.client.Write(answer); err != nil {
			return
		}
		answer = answer[:0]
	}
}

func departure(flight []string) point {
	if len(flight) > 0 && flight[len(flight)-1] == "COMMIT" && !begins(flight) {
		return commitAnswered
	}
	return ""
}

func afterwards(flight []string) point {
	if begins(flight) {
		return readsAnswered
	}
	return ""
}

// serverCrashed returns PgBouncer's answer after it has lost the server.
var serverCrashed = func() []byte {
	body := "SFATAL\x00C08P01\x00Mserver conn crashed?\x00\x00"
	return append(binary.BigEndian.AppendUint32([]byte{'E'}, uint32(4+len(body))), body...)
}()

// readMessage reads one message: a type and a body that begins with its length.
func readMessage(r io.Reader) (kind byte, message []byte, err error) {
	head := make([]byte, 1, 512)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	message, err = readBody(r, head)
	return head[0], message, err
}

func readBody(r io.Reader, head []byte) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > 1<<24 {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	body := make([]byte, n-4)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	return slices.Concat(head, size[:], body), nil
}

func cString(b []byte) (string, []byte) {
	s, rest, _ := strings.Cut(string(b), "\x00")
	return s, []byte(rest)
}
