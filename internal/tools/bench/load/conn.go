// Package load makes load on a server of the HTTP API and checks every answer.
//
// It shares the processors with the measured server and must cost little: it writes
// requests as bytes onto kept connections, and reads only the checked parts of an
// answer.
package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// An Answer is the answer to a request. Its body is valid until the next exchange.
type Answer struct {
	Status     int
	RetryAfter bool // whether it says when to try again
	Last       bool // whether it ends the connection, as while there are too many
	Body       []byte
}

// A Conn is one connection that is kept, and made again when an answer has ended it.
// One goroutine uses it at a time.
type Conn struct {
	addr     string
	net      net.Conn // nil between two
	deadline time.Time
	in       []byte
}

// Dial connects to addr, host:port.
func Dial(addr string) (*Conn, error) {
	c := &Conn{addr: addr, in: make([]byte, 8<<10)}
	return c, c.dial()
}

func (c *Conn) dial() (err error) {
	d := net.Dialer{Timeout: 10 * time.Second, Deadline: c.deadline}
	if c.net, err = d.Dial("tcp", c.addr); err != nil {
		c.net = nil
		return err
	}
	return c.net.SetDeadline(c.deadline)
}

// SetDeadline bounds all exchanges from now on.
func (c *Conn) SetDeadline(t time.Time) error {
	c.deadline = t
	if c.net == nil {
		return nil
	}
	return c.net.SetDeadline(t)
}

// Close closes the connection.
func (c *Conn) Close() error {
	if c.net == nil {
		return nil
	}
	return c.net.Close()
}

// Exchange sends a request unchanged and reads its answer.
func (c *Conn) Exchange(request []byte) (Answer, error) {
	if c.net == nil {
		if err := c.dial(); err != nil {
			return Answer{}, err
		}
	}
	if _, err := c.net.Write(request); err != nil {
		return Answer{}, err
	}
	a, err := c.read()
	if a.Last {
		c.net.Close()
		c.net = nil
	}
	return a, err
}

func (c *Conn) read() (Answer, error) {
	n := 0
	for {
		more, err := c.net.Read(c.in[n:])
		n += more
		if more > 0 {
			a, whole, perr := parse(c.in[:n])
			if perr != nil || whole {
				return a, perr
			}
		}
		if errors.Is(err, io.EOF) {
			return Answer{}, fmt.Errorf("the connection ended after %d bytes of an answer: %w", n, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return Answer{}, err
		}
		if n == len(c.in) {
			c.in = append(c.in, make([]byte, len(c.in))...)
		}
	}
}

var (
	protocol   = []byte("HTTP/1.1 ")
	lineEnd    = []byte("\r\n")
	headEnd    = []byte("\r\n\r\n")
	lengthName = []byte("content-length")
	codingName = []byte("transfer-encoding")
	retryName  = []byte("retry-after")
	closeName  = []byte("connection")
)

// errMalformed is the error of an answer that this package does not read. It has
// no use for chunked bodies: the server always says how long an answer is.
var errMalformed = errors.New("malformed answer")

// parse reads the one answer that b holds; whole is false while some of it is
// missing.
func parse(b []byte) (a Answer, whole bool, err error) {
	head, body, ok := bytes.Cut(b, headEnd)
	if !ok {
		if n := min(len(b), len(protocol)); !bytes.Equal(b[:n], protocol[:n]) {
			return a, false, fmt.Errorf("%w: it begins with %q", errMalformed, b[:n])
		}
		return a, false, nil
	}
	line, fields, _ := bytes.Cut(head, lineEnd)
	if a.Status, ok = status(line); !ok {
		return a, false, fmt.Errorf("%w: its first line is %q", errMalformed, line)
	}
	length := -1
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, lineEnd)
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return a, false, fmt.Errorf("%w: a line of its head has no colon", errMalformed)
		}
		// Most names are told apart by their lengths.
		switch {
		case is(name, lengthName):
			if length, ok = number(bytes.TrimSpace(value)); !ok {
				return a, false, fmt.Errorf("%w: Content-Length is %q", errMalformed, value)
			}
		case is(name, codingName):
			return a, false, fmt.Errorf("%w: Transfer-Encoding is %q", errMalformed, value)
		case is(name, closeName):
			a.Last = bytes.EqualFold(bytes.TrimSpace(value), []byte("close"))
		case is(name, retryName):
			a.RetryAfter = true
		}
	}
	if length < 0 && a.Status != http.StatusNoContent {
		return a, false, fmt.Errorf("%w: no Content-Length", errMalformed)
	}
	length = max(length, 0)
	if len(body) > length {
		return a, false, fmt.Errorf("%w: %d bytes follow it", errMalformed, len(body)-length)
	}
	a.Body = body
	return a, len(body) == length, nil
}

func is(name, lower []byte) bool { return len(name) == len(lower) && bytes.EqualFold(name, lower) }

// status reads the first line of an answer.
func status(line []byte) (int, bool) {
	rest, ok := bytes.CutPrefix(line, protocol)
	if !ok || len(rest) < 3 || len(rest) > 3 && rest[3] != ' ' {
		return 0, false
	}
	n, ok := number(rest[:3])
	return n, ok && n >= 200
}

// number reads a decimal of up to nine digits.
func number(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
