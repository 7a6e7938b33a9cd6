package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// Listener returns ln with connections on which each error is a Problem in JSON. net/http
// itself answers a request that it cannot read, such as one with a bare % in its path:
// as plain text, without a request id and without a line in the log. It offers no hook
// for this, so these connections recognize its fixed answers and send others in their
// place. Client libraries fail on a body that is not JSON.
//
// The connections of a TLS listener then are not a *tls.Conn, and net/http treats them as
// plain ones. For HTTP/2 the server needs Protocols with UnencryptedHTTP2, and for
// Request.TLS it needs ConnContext of this package.
func (m *Mux) Listener(ln net.Listener) net.Listener { return &listener{ln, m} }

type listener struct {
	net.Listener
	mux *Mux
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, mux: l.mux}, nil
}

type conn struct {
	net.Conn
	mux    *Mux
	failed sync.Once // the TLS handshake
}

type tlsKey struct{}

// ConnContext is the value for http.Server.ConnContext with connections of Listener.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		if t, ok := c.Conn.(*tls.Conn); ok {
			return context.WithValue(ctx, tlsKey{}, t)
		}
	}
	return ctx
}

// withTLS sets r.TLS, which net/http does not set on connections of Listener.
func withTLS(r *http.Request) {
	if t, ok := r.Context().Value(tlsKey{}).(*tls.Conn); ok && r.TLS == nil {
		state := t.ConnectionState()
		r.TLS = &state
	}
}

// Read begins with the TLS handshake. If that fails, there is no request to answer or to
// log: to net/http the connection has ended. Only clients that speak plain HTTP to a TLS
// listener get an answer.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil {
		return n, nil
	}
	if t, ok := c.Conn.(*tls.Conn); ok && !t.ConnectionState().HandshakeComplete {
		c.failed.Do(func() { c.noHandshake(err) })
		return 0, io.EOF
	}
	return n, err
}

// noHandshake answers or logs a TLS handshake that failed.
func (c *conn) noHandshake(err error) {
	bad, ok := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case ok && bad.Conn != nil && looksLikeHTTP(bad.RecordHeader[:]):
		// A failed write ends the connection as well.
		_, _ = bad.Conn.Write(c.mux.unreadable(c.RemoteAddr(), http.StatusBadRequest, "This port serves HTTPS."))
	case !errors.Is(err, io.EOF): // a probe only connects
		c.mux.opts.Logger.Debug("the TLS handshake failed", "remote_addr", c.mux.opts.Remote.ofPeer(c.RemoteAddr()), "error", err)
	}
}

func looksLikeHTTP(record []byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH"} {
		if string(record) == method {
			return true
		}
	}
	return false
}

// CloseWrite ends the writing side. net/http calls it to answer before the client has sent
// the whole request.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Write replaces the answers that net/http itself gives. Each of them is one Write.
func (c *conn) Write(b []byte) (int, error) {
	status := ownAnswer(b)
	if status == 0 {
		return c.Conn.Write(b)
	}
	if _, err := c.Conn.Write(c.mux.unreadable(c.RemoteAddr(), status, unreadableMessages[status])); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ownAnswer returns the status of b if net/http itself gave this answer, otherwise 0. No
// handler answers 417, or sends these headers in this position. A part of a body can begin
// like a status line, but has no line break: JSON escapes it.
func ownAnswer(b []byte) (status int) {
	const version = "HTTP/1.1 "
	if !bytes.HasPrefix(b, []byte(version)) {
		return 0
	}
	line, headers, _ := bytes.Cut(b, []byte("\r\n"))
	text := string(line[len(version):])
	if text == expectationFailed {
		return http.StatusExpectationFailed
	}
	status, err := strconv.Atoi(text[:min(3, len(text))])
	if err == nil && status >= http.StatusBadRequest && bytes.HasPrefix(headers, []byte("Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")) {
		return status
	}
	return 0
}

var expectationFailed = fmt.Sprint(http.StatusExpectationFailed, " ", http.StatusText(http.StatusExpectationFailed))

// malformed is the code of requests that net/http cannot read.
const malformed = "malformed_request"

var unreadableMessages = map[int]string{
	http.StatusBadRequest:                  "The request is not well-formed HTTP. Look for a bare % in its path.",
	http.StatusExpectationFailed:           "The only expectation that is supported is 100-continue.",
	http.StatusRequestHeaderFieldsTooLarge: "The request's headers are too large.",
	http.StatusNotImplemented:              "The request has a transfer coding other than chunked.",
	http.StatusHTTPVersionNotSupported:     "The request has another version of HTTP.",
}

// unreadable returns the answer to a request of peer that could not be read. It logs and
// observes the request.
func (m *Mux) unreadable(peer net.Addr, status int, message string) []byte {
	now, id := m.opts.Now(), newRequestID()
	if message == "" {
		message = http.StatusText(status)
	}
	body, err := Encode(Problem{Message: message, Code: malformed})
	if err != nil {
		m.opts.Logger.Error("encode a problem", "request", id, "error", err)
	}
	if m.opts.Observe != nil {
		m.opts.Observe("", otherMethod, status, 0)
	}
	m.log(context.Background(), slog.LevelInfo, line{
		request: id, method: otherMethod, status: status, subject: Subject{Code: malformed}, remote: m.opts.Remote.ofPeer(peer),
	})
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nDate: %s\r\nx-request-id: %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), now.UTC().Format(http.TimeFormat), id, jsonType, len(body), body)
}
