package e2e_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// headerTime is the time that the server waits for the headers of a request.
const headerTime = 10 * time.Second

// A slowClient sends the beginning of a request, and then almost nothing.
type slowClient struct {
	name   string
	on     *program
	says   string // at first
	drips  string // every now and then
	closed bool   // by the server, within headerTime; otherwise later

	conns []net.Conn
}

// TestSlowClientsDelayNoOthers serves one client while many clients send almost
// nothing.
func TestSlowClientsDelayNoOthers(t *testing.T) {
	t.Parallel()
	const each, span = 30, 3 * time.Second
	plain, tls := dev(t, t.TempDir(), unlocking...), dev(t, t.TempDir(), "--tls")
	const head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
	slow := []*slowClient{
		{name: "nothing", on: plain, closed: true},
		{name: "half a request line", on: plain, says: "GET /hea", closed: true},
		{name: "half of the headers", on: plain, says: head, closed: true},
		{name: "headers that never end", on: plain, says: head, drips: "x", closed: true},
		{name: "no TLS handshake", on: tls, closed: true},
		{name: "half a TLS handshake", on: tls, says: "\x16\x03\x01\x02\x00\x01", closed: true},
		{name: "a body that never ends", on: plain, says: enrollHead(plain, 60000, ""), drips: " "},
		{name: "the body of a stranger", on: plain, drips: " ",
			says: "POST /auth/factors/enroll HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n"},
	}
	for _, c := range slow {
		for range each {
			conn := dial(t, c.on)
			say(t, conn, c.says)
			c.conns = append(c.conns, conn)
		}
	}
	began := time.Now()
	for _, p := range []*program{plain, tls} {
		longest := longestWait(t, p, span, func() {
			for _, c := range slow {
				for _, conn := range c.conns {
					io.WriteString(conn, c.drips) // an error means that it is closed already
				}
			}
		})
		t.Logf("beside %d slow clients, another one waited %v at most", each*len(slow), longest)
		if longest > 2*time.Second {
			t.Errorf("another client waited %v", longest)
		}
	}
	for _, c := range slow {
		for _, conn := range c.conns {
			if c.closed && !ends(conn, began.Add(headerTime+2*time.Second)) {
				t.Errorf("%s: the connection is open after %v", c.name, time.Since(began))
				break
			}
		}
	}
}

// longestWait makes requests for some time, one after the other, and returns the
// duration of the slowest. It calls between after each request.
func longestWait(t *testing.T, p *program, span time.Duration, between func()) (longest time.Duration) {
	t.Helper()
	api := p.api()
	for end := time.Now().Add(span); time.Now().Before(end); between() {
		asked := time.Now()
		api.challenge(api.enroll(`{"type":"generic_otp"}`).ID)
		longest = max(longest, time.Since(asked))
	}
	return longest
}

// ends reports whether the other side closes a connection before a time.
func ends(conn net.Conn, before time.Time) bool {
	conn.SetReadDeadline(before)
	_, err := io.Copy(io.Discard, conn)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}
