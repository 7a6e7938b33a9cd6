// Package trace measures the parts of requests and sends them to an OpenTelemetry collector:
// spans, the W3C trace context, and OTLP over HTTP with JSON.
//
// A nil *Tracer and a nil *Span do nothing, so callers need no other switch. Without a
// Tracer, no span is in any context, and Start returns its context and nil.
//
// Start reading at Tracer. SpanContext is what crosses from one process to another.
package trace
