package trace_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/trace"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
	parent  = "00-" + traceID + "-" + spanID + "-01"
)

func header(parent string, states ...string) http.Header {
	h := http.Header{}
	h.Set("traceparent", parent)
	for _, s := range states {
		h.Add("tracestate", s)
	}
	return h
}

func TestTraceparent(t *testing.T) {
	for _, tc := range []struct {
		text string
		want string // "": ignored
	}{
		{parent, parent},
		{"00-" + traceID + "-" + spanID + "-00", "00-" + traceID + "-" + spanID + "-00"},
		{"00-" + traceID + "-" + spanID + "-03", parent},
		{"00-" + traceID + "-" + spanID + "-fe", "00-" + traceID + "-" + spanID + "-00"},
		{"cc-" + traceID + "-" + spanID + "-01", parent},
		{"cc-" + traceID + "-" + spanID + "-01-more", parent},
		{"cc-" + traceID + "-" + spanID + "-01more", ""},
		{"00-" + traceID + "-" + spanID + "-01-more", ""},
		{"ff-" + traceID + "-" + spanID + "-01", ""},
		{"00-" + strings.ToUpper(traceID) + "-" + spanID + "-01", ""},
		{"00-" + strings.Repeat("0", 32) + "-" + spanID + "-01", ""},
		{"00-" + traceID + "-" + strings.Repeat("0", 16) + "-01", ""},
		{"00-" + traceID[1:] + "-" + spanID + "-01", ""},
		{"00-" + traceID + "-" + spanID + "-1", ""},
		{"00-" + traceID + "-" + spanID + "-.1", ""},
		{"00_" + traceID + "-" + spanID + "-01", ""},
		{"", ""},
	} {
		c, ok := trace.Extract(header(tc.text))
		if ok != (tc.want != "") || ok && c.Traceparent() != tc.want {
			t.Errorf("%q is read as %q, %v; want %q", tc.text, c.Traceparent(), ok, tc.want)
		}
	}
	if c, ok := trace.Extract(http.Header{"Traceparent": {parent, parent}}); ok {
		t.Errorf("two headers are read as %v", c)
	}
}

func TestTracestate(t *testing.T) {
	members := make([]string, 33)
	for i := range members {
		members[i] = "k" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + "=v"
	}
	for _, tc := range []struct {
		states []string
		want   string
	}{
		{nil, ""},
		{[]string{"rojo=00f067aa0ba902b7"}, "rojo=00f067aa0ba902b7"},
		{[]string{"rojo=1", "congo=t61rcWkgMzE"}, "rojo=1,congo=t61rcWkgMzE"},
		{[]string{"rojo=1 ,\t congo=2,,"}, "rojo=1 ,\t congo=2,,"},
		{[]string{"1tenant@sys=1"}, "1tenant@sys=1"},
		{[]string{strings.Join(members[:32], ",")}, strings.Join(members[:32], ",")},
		{[]string{strings.Join(members, ",")}, ""},
		{[]string{"rojo=1,rojo=2"}, ""},
		{[]string{"Rojo=1"}, ""},
		{[]string{"1rojo=1"}, ""},
		{[]string{"rojo"}, ""},
		{[]string{"rojo="}, ""},
		{[]string{"rojo=a=b"}, ""},
		{[]string{"rojo=\x01"}, ""},
		{[]string{"a=" + strings.Repeat("x", 256)}, "a=" + strings.Repeat("x", 256)},
		{[]string{"a=" + strings.Repeat("x", 257)}, ""},
		{[]string{"a=" + strings.Repeat("x", 255), "b=" + strings.Repeat("x", 255)}, ""},
	} {
		c, ok := trace.Extract(header(parent, tc.states...))
		if !ok || c.State != tc.want {
			t.Errorf("%q is read as %q, %v; want %q", tc.states, c.State, ok, tc.want)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(parent, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
	f.Add("cc-"+traceID+"-"+spanID+"-01-more", "a@b=c")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, text, state string) {
		c, ok := trace.Extract(header(text, state))
		if !ok {
			if c != (trace.SpanContext{}) {
				t.Errorf("%q is refused with %v", text, c)
			}
			return
		}
		written := c.Traceparent()
		if len(text) < 55 || written[3:52] != text[3:52] {
			t.Errorf("%q is read as %s", text, written)
		}
		again, ok := trace.Extract(header(written, c.State))
		if !ok || again != c {
			t.Errorf("%q is read as %v, and then as %v", text, c, again)
		}
		if len(c.State) > 512 || strings.ContainsAny(c.State, "\r\n\x00") {
			t.Errorf("the tracestate %q is accepted", c.State)
		}
	})
}
