package trace

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"time"
)

// A Kind is the role of a span.
type Kind int

// The kinds, with their numbers in OTLP.
const (
	Internal Kind = 1
	Server   Kind = 2
	Client   Kind = 3
)

// A Span is one measured part of a trace. A nil Span does nothing. Only the goroutine that
// started a Span may change it, until it calls End.
type Span struct {
	tracer     *Tracer
	context    SpanContext
	parent     [8]byte // zero: none
	remote     bool    // the parent is in another process
	kind       Kind
	name       string
	start      time.Time
	took       time.Duration
	attributes []attribute
	failed     bool
	ended      bool
}

// An attribute is text or an integer.
type attribute struct {
	key    string
	text   string
	number int64
	isText bool
}

type contextKey struct{}

// Serve starts the span of a request with these headers. Its parent is the span of the client, if
// the headers name one. Serve returns a nil Span if t is nil.
func (t *Tracer) Serve(ctx context.Context, h http.Header, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	parent, ok := Extract(h)
	if !ok {
		return t.Root(ctx, name, Server)
	}
	return t.start(ctx, parent, true, name, Server)
}

// Root starts the first span of a trace, with no regard to the span in ctx. It returns a nil Span if
// t is nil.
func (t *Tracer) Root(ctx context.Context, name string, kind Kind) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	var c SpanContext
	if _, err := io.ReadFull(t.opts.Rand, c.Trace[:]); err != nil {
		return ctx, nil // a request without a span is better than no request
	}
	c.Sampled = t.samples(c.Trace)
	return t.start(ctx, c, false, name, kind)
}

// Start starts a child of the span in ctx. It returns ctx and nil if ctx has no span, or if the
// trace is not sampled.
func Start(ctx context.Context, name string, kind Kind) (context.Context, *Span) {
	parent, _ := ctx.Value(contextKey{}).(*Span)
	if parent == nil || !parent.context.Sampled {
		return ctx, nil
	}
	return parent.tracer.start(ctx, parent.context, false, name, kind)
}

func (t *Tracer) start(ctx context.Context, parent SpanContext, remote bool, name string, kind Kind) (context.Context, *Span) {
	s := &Span{tracer: t, context: parent, parent: parent.Span, remote: remote, kind: kind, name: name}
	if _, err := io.ReadFull(t.opts.Rand, s.context.Span[:]); err != nil {
		return ctx, nil
	}
	if s.context.Sampled {
		s.start, s.attributes = t.opts.Now(), make([]attribute, 0, 6)
	}
	return context.WithValue(ctx, contextKey{}, s), s
}

// Set sets an attribute. Values must not contain text of clients, secrets or personal data.
func (s *Span) Set(key, value string) {
	if s != nil && s.context.Sampled {
		s.attributes = append(s.attributes, attribute{key: key, text: value, isText: true})
	}
}

// SetInt sets an attribute that is an integer.
func (s *Span) SetInt(key string, value int64) {
	if s != nil && s.context.Sampled {
		s.attributes = append(s.attributes, attribute{key: key, number: value})
	}
}

// Fail marks the span as failed. kind is a short word of a small set, for the attribute error.type.
func (s *Span) Fail(kind string) {
	if s != nil {
		s.failed = true
		s.Set("error.type", kind)
	}
}

// End ends the span and queues it for export. It never waits. Further calls do nothing.
func (s *Span) End() {
	if s == nil || s.ended || !s.context.Sampled {
		return
	}
	s.ended = true
	s.took = s.tracer.opts.Now().Sub(s.start)
	s.tracer.queueSpan(s)
}

// TraceID returns the id of the trace in hexadecimal, or "" if s is nil.
func (s *Span) TraceID() string {
	if s == nil {
		return ""
	}
	return hex.EncodeToString(s.context.Trace[:])
}

// Inject adds the trace context of the span in ctx to the headers of a request. Without a span it
// adds nothing.
func Inject(ctx context.Context, h http.Header) {
	s, _ := ctx.Value(contextKey{}).(*Span)
	if s == nil {
		return
	}
	h.Set(parentHeader, s.context.Traceparent())
	if s.context.State != "" {
		h.Set(stateHeader, s.context.State)
	}
}

// Traceparent returns the header traceparent for requests that belong to the span in ctx, or "" if
// ctx has no span.
func Traceparent(ctx context.Context) string {
	s, _ := ctx.Value(contextKey{}).(*Span)
	if s == nil {
		return ""
	}
	return s.context.Traceparent()
}
