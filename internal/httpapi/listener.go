package httpapi

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
	"time"
)

// Listener returns ln with connections on which every error has the shape of this API.
// net/http answers a request that it cannot read, such as one with a bare % in its
// path, by itself: as plain text, without a request id and without a line in the log.
// It offers no hook there, so these connections recognize its fixed answers and send
// others in their place. Client libraries fail on a body that is not JSON.
//
// A connection of a TLS listener is not a *tls.Conn any more, and net/http takes it for
// a plain one. For HTTP/2 the server needs Protocols with UnencryptedHTTP2, and for
// Request.TLS ConnContext of this package.
func (a *API) Listener(ln net.Listener) net.Listener { return &listener{ln, a} }

type listener struct {
	net.Listener
	api *API
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{c, l.api}, nil
}

type conn struct {
	net.Conn
	api *API
}

type tlsKey struct{}

// ConnContext is for http.Server.ConnContext.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		if t, ok := c.Conn.(*tls.Conn); ok {
			return context.WithValue(ctx, tlsKey{}, t)
		}
	}
	return ctx
}

// withTLS sets r.TLS, which net/http leaves out on connections of Listener.
func withTLS(r *http.Request) {
	if t, ok := r.Context().Value(tlsKey{}).(*tls.Conn); ok && r.TLS == nil {
		state := t.ConnectionState()
		r.TLS = &state
	}
}

// Read answers clients that speak plain HTTP to a TLS listener.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if bad, ok := errors.AsType[tls.RecordHeaderError](err); ok && bad.Conn != nil && looksLikeHTTP(bad.RecordHeader[:]) {
		// What cannot be written is the end of the connection all the same.
		_, _ = bad.Conn.Write(c.api.unreadable(http.StatusBadRequest, "This port serves HTTPS."))
		return n, io.EOF
	}
	return n, err
}

func looksLikeHTTP(record []byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH"} {
		if string(record) == method {
			return true
		}
	}
	return false
}

// CloseWrite lets net/http end its side before the client has sent everything.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Write replaces an answer of net/http's own. It writes each of them at once.
func (c *conn) Write(b []byte) (int, error) {
	status := ownAnswer(b)
	if status == 0 {
		return c.Conn.Write(b)
	}
	if _, err := c.Conn.Write(c.api.unreadable(status, unreadableMessages[status])); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ownAnswer returns the status of an answer of net/http's own, or 0. No answer of this
// API has 417, or these headers in this place.
func ownAnswer(b []byte) (status int) {
	const version = "HTTP/1.1 "
	if len(b) < len(version)+3 || string(b[:len(version)]) != version {
		return 0
	}
	status, err := strconv.Atoi(string(b[len(version) : len(version)+3]))
	if err != nil || status < http.StatusBadRequest {
		return 0
	}
	_, headers, _ := bytes.Cut(b, []byte("\r\n"))
	if status == http.StatusExpectationFailed || bytes.HasPrefix(headers, []byte("Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")) {
		return status
	}
	return 0
}

// malformed is the code of what net/http cannot read.
const malformed = "malformed_request"

var unreadableMessages = map[int]string{
	http.StatusBadRequest:                  "The request is not well-formed HTTP. Look for a bare % in its path.",
	http.StatusExpectationFailed:           "The only expectation that is supported is 100-continue.",
	http.StatusRequestHeaderFieldsTooLarge: "The request's headers are too large.",
	http.StatusNotImplemented:              "The request has a transfer coding other than chunked.",
	http.StatusHTTPVersionNotSupported:     "The request has another version of HTTP.",
}

// unreadable returns the answer to a request that could not be read, and logs it.
func (a *API) unreadable(status int, message string) []byte {
	id := newRequestID()
	if message == "" {
		message = http.StatusText(status)
	}
	body, err := encode(problem{Message: message, Code: malformed})
	if err != nil {
		a.opts.Logger.Error("encode a problem", "request", id, "error", err)
	}
	if a.opts.Observe != nil {
		a.opts.Observe("", "other", status, 0)
	}
	a.opts.Logger.Info("request", slog.String("request", id), slog.String("route", ""), slog.String("method", "other"),
		slog.Int("status", status), slog.Float64("took_ms", 0), slog.String("key", ""))
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nDate: %s\r\nx-request-id: %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), time.Now().UTC().Format(http.TimeFormat), id, jsonType[0], len(body), body)
}
