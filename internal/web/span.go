package web

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"

	"github.com/countersign-mfa/countersign/internal/trace"
)

// isProbe reports whether the requests of a route come from load balancers every few seconds.
func isProbe(pattern string) bool { return pattern == "GET /healthz" || pattern == "GET /readyz" }

// startSpan starts the span of a request and puts it into the context of the request.
func (m *Mux) startSpan(pattern string, r *Request) *trace.Span {
	ctx, span := m.opts.Tracer.Serve(r.Context(), r.Header, cmp.Or(pattern, spanMethod(r.Method)))
	if span != nil {
		r.Request = r.WithContext(ctx)
	}
	return span
}

// describeSpan sets the attributes of the semantic conventions of OpenTelemetry for HTTP. It leaves out
// url.path and url.query, which contain data of callers.
func describeSpan(span *trace.Span, pattern string, r *Request, status int) {
	_, route, ok := strings.Cut(pattern, " ")
	if !ok {
		route = pattern
	}
	span.Set("http.request.method", spanMethod(r.Method))
	if route != "" {
		span.Set("http.route", route)
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	span.Set("url.scheme", scheme)
	if status != 0 {
		span.SetInt("http.response.status_code", int64(status))
	}
	span.Set("countersign.request", r.ID) // as in the log
	if r.Environment != "" {
		span.Set("countersign.environment", r.Environment)
	}
	switch {
	case status >= http.StatusInternalServerError:
		span.Fail(cmp.Or(r.Code, strconv.Itoa(status)))
	case r.Code != "":
		span.Set("countersign.code", r.Code)
	}
}

// spanMethod returns the method, or _OTHER if it is not one that HTTP defines.
func spanMethod(method string) string {
	if method = knownMethod(method); method == otherMethod {
		return "_OTHER"
	}
	return method
}
