package load_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/tools/bench/load"
)

const answer = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"id\":\"a\"}\n"

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		status     int
		body       string
		retry      bool
	}{
		{"an answer", answer, 201, "{\"id\":\"a\"}\n", false},
		{"names in lower case", strings.ToLower(strings.Replace(answer, "HTTP", "http", 1)), 0, "", false},
		{"a length in lower case", strings.Replace(answer, "Content-Length", "content-length", 1), 201, "{\"id\":\"a\"}\n", false},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", false},
		{"no body", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", false},
		{"a refusal", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}", 503, "{}", true},
		{"Retry-After as a value", "HTTP/1.1 503 Service Unavailable\r\nX: Retry-After: 1\r\nContent-Length: 2\r\n\r\n{}", 503, "{}", false},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 0, "", false},
		{"chunked with a length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", 0, "", false},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n{}", 0, "", false},
		{"neither length nor body", "HTTP/1.1 200 OK\r\n\r\n", 0, "", false},
		{"a length that is no number", "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\n{}", 0, "", false},
		{"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n", 0, "", false},
		{"a length beyond all", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", 0, "", false},
		{"more than its length", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}", 0, "", false},
		{"the end of the connection", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 0, "", false},
		{"a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n{}", 0, "", false},
		{"a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}", 0, "", false},
		{"100 Continue", "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n", 0, "", false},
		{"a line without a colon", "HTTP/1.1 200 OK\r\nContent-Length 2\r\n\r\n{}", 0, "", false},
		{"TLS", "\x15\x03\x01\x00\x02\x02\x16", 0, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, whole, err := load.Parse([]byte(tc.text))
			if tc.status == 0 {
				if !errors.Is(err, load.ErrMalformed) {
					t.Errorf("Parse = %+v, %v, %v; want %v", a, whole, err, load.ErrMalformed)
				}
				return
			}
			if err != nil || !whole || a.Status != tc.status || string(a.Body) != tc.body || a.RetryAfter != tc.retry {
				t.Errorf("Parse = %+v, %v, %v; want status %d, body %q, retry %v", a, whole, err, tc.status, tc.body, tc.retry)
			}
		})
	}
}

func TestEveryBeginningOfAnAnswerIsIncomplete(t *testing.T) {
	for n := range len(answer) {
		if a, whole, err := load.Parse([]byte(answer[:n])); whole || err != nil {
			t.Errorf("Parse of %d bytes = %+v, %v, %v; want that more is missing", n, a, whole, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(answer))
	f.Add([]byte("HTTP/1.1 204 \r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, whole, err := load.Parse(b)
		if whole && (err != nil || a.Status < 200 || a.Status > 999 || len(a.Body) > len(b)) {
			t.Errorf("Parse = %+v, %v", a, err)
		}
	})
}

// answering starts a server that writes the given pieces in answer to any request.
func answering(t *testing.T, pieces ...string) *load.Conn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		one := make([]byte, 1)
		for _, piece := range pieces {
			if _, err := io.ReadFull(c, one); err != nil { // a byte of the request for each
				return
			}
			io.WriteString(c, piece)
		}
	}()
	conn, err := load.Dial(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestExchangeReadsAnswersInPieces(t *testing.T) {
	var pieces []string
	for _, c := range answer {
		pieces = append(pieces, string(c))
	}
	c := answering(t, pieces...)
	a, err := c.Exchange(make([]byte, len(pieces)))
	if err != nil || a.Status != 201 || string(a.Body) != "{\"id\":\"a\"}\n" {
		t.Errorf("Exchange = %+v, %v", a, err)
	}
}

func TestExchangeReadsMoreThanItsBuffer(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	c := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+long, answer)
	if a, err := c.Exchange([]byte("1")); err != nil || string(a.Body) != long {
		t.Errorf("Exchange = %d bytes, %v; want 100000", len(a.Body), err)
	}
	if a, err := c.Exchange([]byte("2")); err != nil || a.Status != 201 {
		t.Errorf("the next exchange = %+v, %v", a, err)
	}
}

// TestARefusalMayEndTheConnection has a server that refuses once and goes on on
// another connection.
func TestARefusalMayEndTheConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for _, text := range []string{"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", answer} {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.ReadFull(c, make([]byte, 1))
			io.WriteString(c, text)
			c.Close()
		}
	}()
	c, err := load.Dial(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Exchange([]byte("1")); err != nil || a.Status != 503 || !a.Last {
		t.Errorf("Exchange = %+v, %v; want a refusal, the last", a, err)
	}
	if a, err := c.Exchange([]byte("2")); err != nil || a.Status != 201 || a.Last {
		t.Errorf("the next exchange = %+v, %v", a, err)
	}
}

func TestShortAnswerIsAnError(t *testing.T) {
	c := answering(t, answer[:len(answer)-1])
	if a, err := c.Exchange([]byte("1")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Exchange = %+v, %v; want %v", a, err, io.ErrUnexpectedEOF)
	}
}
