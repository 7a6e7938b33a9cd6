package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/countersign-mfa/countersign/internal/trace"
)

// A Request is an HTTP request with the facts that a Mux and its handlers add.
type Request struct {
	*http.Request
	ID      string // a random UUID, for the log and the header x-request-id
	Caller  string // the id of the caller's API key, for the log; "" until a handler sets it
	Subject        // for the log; a handler sets each field as soon as it is known
	Content []byte // the body; nil until Gate.Serve or ReadBody has read it
}

// A Subject is what a request is about. Each field is a name or an id that Countersign has
// made or checked, never a text of the client.
type Subject struct {
	Environment string // the name
	Factor      string // the id
	Challenge   string // the id
	Code        string // of the error in the answer, if the handler itself sends it
}

// An exchange has what one request needs, in one piece of memory.
type exchange struct {
	request  Request
	recorder recorder
	id       [1]string // the value of the header x-request-id
}

// serve answers a request with h. It names the request, answers errors and panics of h,
// and logs.
func (m *Mux) serve(pattern string, w http.ResponseWriter, r *http.Request, h Handler) {
	start := m.opts.Now()
	x := &exchange{request: Request{Request: r, ID: newRequestID()}, recorder: recorder{ResponseWriter: w}}
	req, rec := &x.request, &x.recorder
	x.id[0] = req.ID
	// Lower case: one client library looks for exactly this key.
	rec.Header()["x-request-id"] = x.id[:]
	var span *trace.Span
	if m.opts.Tracer != nil && !isProbe(pattern) {
		span = m.startSpan(pattern, req)
		defer span.End() // also if the handler aborts the answer
	}
	simulated := false
	if err := recovered(h, rec, req); err != nil {
		p := m.opts.Describe(err)
		simulated, req.Code = p.Simulated, p.Code
		m.fail(rec, req, p, err)
	}
	if span != nil {
		describeSpan(span, pattern, req, rec.status)
		span.End()
	}
	level := slog.LevelInfo
	if req.Caller == "" && rec.status < http.StatusBadRequest {
		level = slog.LevelDebug // probes, and the page of the inbox that polls for messages
	}
	logged, observed := m.opts.Logger.Enabled(r.Context(), level), m.opts.Observe != nil && !simulated
	if !logged && !observed {
		return
	}
	method, took := knownMethod(r.Method), m.opts.Now().Sub(start)
	if observed {
		m.opts.Observe(pattern, method, rec.status, took)
	}
	if logged {
		m.log(r.Context(), level, line{req.ID, pattern, method, rec.status, took, req.Caller, req.Subject, m.opts.Remote.Of(r), span.TraceID()})
	}
}

// A line is the content of one line of the request log.
type line struct {
	request         string
	pattern, method string // the pattern, not the path: a path contains data of callers
	status          int
	took            time.Duration
	caller          string
	subject         Subject
	remote          string
	trace           string // the id of the trace; "" without one
}

// log writes a line. It leaves out the fields after the key that are empty.
func (m *Mux) log(ctx context.Context, level slog.Level, l line) {
	attrs := append(make([]slog.Attr, 0, 12),
		slog.String("request", l.request),
		slog.String("route", l.pattern),
		slog.String("method", l.method),
		slog.Int("status", l.status),
		slog.Float64("took_ms", float64(l.took.Microseconds())/1000),
		slog.String("key", l.caller),
	)
	for _, a := range [...]struct{ name, value string }{
		{"code", l.subject.Code},
		{"environment", l.subject.Environment},
		{"factor", l.subject.Factor},
		{"challenge", l.subject.Challenge},
		{"remote_addr", l.remote},
		{"trace", l.trace},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.name, a.value))
		}
	}
	m.opts.Logger.LogAttrs(ctx, level, "request", attrs...)
}

// otherMethod replaces all methods that HTTP does not define in logs and metrics.
const otherMethod = "other"

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions:
		return m
	}
	return otherMethod
}

// recovered runs h and turns a panic into an error.
func recovered(h Handler, w http.ResponseWriter, r *Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return h(w, r)
}

// newRequestID returns a random UUID (RFC 9562, version 4).
func newRequestID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	text := hex.EncodeToString(u[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// A recorder remembers the status that was sent.
type recorder struct {
	http.ResponseWriter
	status int // 0 until a header was sent
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap returns the underlying writer to http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
