package trace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/trace"
)

// A collector is a transport that accepts spans. Its answers are the statuses in order, then 200.
type collector struct {
	mu       sync.Mutex
	statuses []int
	headers  http.Header // of the answers
	answer   string
	silent   bool // it never answers
	spans    []span
	requests []*http.Request
	at       []time.Time
}

// A span is one that the collector accepted.
type span struct {
	TraceID, SpanID, ParentSpanID, Name, TraceState string
	Flags                                           uint32
	Kind                                            int
	StartTimeUnixNano, EndTimeUnixNano              string
	Attributes                                      []struct {
		Key   string
		Value map[string]string
	}
	Status *struct{ Code int }
}

func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.requests, c.at = append(c.requests, r), append(c.at, time.Now())
	silent := c.silent
	c.mu.Unlock()
	if silent {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	status := http.StatusOK
	if len(c.statuses) > 0 {
		status, c.statuses = c.statuses[0], c.statuses[1:]
	}
	if status == 0 {
		return nil, errors.New("no connection")
	}
	if status == http.StatusOK {
		var message struct {
			ResourceSpans []struct{ ScopeSpans []struct{ Spans []span } }
		}
		if err := json.Unmarshal(body, &message); err != nil {
			return nil, err
		}
		c.spans = append(c.spans, message.ResourceSpans[0].ScopeSpans[0].Spans...)
	}
	return &http.Response{StatusCode: status, Header: c.headers, Body: io.NopCloser(strings.NewReader(c.answer)), Request: r}, nil
}

func (c *collector) got() (spans []span, requests int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spans, len(c.requests)
}

// run starts a Tracer in a bubble. stop ends it and waits.
func run(t *testing.T, c *collector, opts trace.Options) (tracer *trace.Tracer, stop func()) {
	t.Helper()
	opts.Endpoint, opts.Transport = "http://collector.example/otlp/", c
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	tracer = trace.New(opts)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); tracer.Run(ctx) }()
	return tracer, func() { cancel(); <-done }
}

// end ends n spans.
func end(t *trace.Tracer, n int) {
	for range n {
		_, s := t.Root(context.Background(), "work", trace.Internal)
		s.End()
	}
}

func TestSpansOfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{}
		tracer, stop := run(t, c, trace.Options{Version: "1.2.3", Header: http.Header{"Authorization": {"Bearer t"}}})
		ctx, server := tracer.Serve(t.Context(), header(parent, "rojo=1"), "POST /x")
		server.Set("http.route", "/x")
		server.SetInt("http.response.status_code", 503)
		time.Sleep(time.Second)
		inner, store := trace.Start(ctx, "store update", trace.Client)
		out := http.Header{}
		trace.Inject(inner, out)
		time.Sleep(time.Second)
		store.End()
		server.Fail("unavailable")
		server.End()
		server.End()
		if server.TraceID() != traceID {
			t.Errorf("the id of the trace is %s", server.TraceID())
		}
		stop()
		spans, requests := c.got()
		if len(spans) != 2 || requests != 1 {
			t.Fatalf("%d spans in %d requests; want 2 in 1", len(spans), requests)
		}
		child, top := spans[0], spans[1]
		if top.TraceID != traceID || top.ParentSpanID != spanID || top.TraceState != "rojo=1" || top.Flags != 0x301 || top.Kind != 2 || top.Status.Code != 2 {
			t.Errorf("the span of the server is %+v", top)
		}
		if child.TraceID != traceID || child.ParentSpanID != top.SpanID || child.Flags != 0x101 || child.Kind != 3 || child.Status != nil {
			t.Errorf("the span of the store is %+v", child)
		}
		start, end := nanoseconds(t, child.StartTimeUnixNano), nanoseconds(t, child.EndTimeUnixNano)
		if began := nanoseconds(t, top.StartTimeUnixNano); start-began != 1e9 || end-start != 1e9 || nanoseconds(t, top.EndTimeUnixNano) != end {
			t.Errorf("the times are %+v and %+v", top, child)
		}
		if got := top.Attributes; len(got) != 3 || got[0].Value["stringValue"] != "/x" || got[1].Value["intValue"] != "503" || got[2].Key != "error.type" {
			t.Errorf("the attributes are %v", got)
		}
		if want := "00-" + traceID + "-" + child.SpanID + "-01"; out.Get("traceparent") != want || out.Get("tracestate") != "rojo=1" {
			t.Errorf("passed on are %v; want %s", out, want)
		}
		r := c.requests[0]
		if r.URL.String() != "http://collector.example/otlp/v1/traces" || r.Header.Get("Authorization") != "Bearer t" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("User-Agent") != "Countersign/1.2.3" {
			t.Errorf("the request is %s with %v", r.URL, r.Header)
		}
		if got := tracer.State(); got != (trace.State{Sent: 2}) {
			t.Errorf("the state is %+v", got)
		}
	})
}

func nanoseconds(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheParentDecidesAboutSampling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{}
		tracer, stop := run(t, c, trace.Options{Ratio: 1})
		ctx, s := tracer.Serve(t.Context(), header("00-"+traceID+"-"+spanID+"-00"), "GET /")
		_, child := trace.Start(ctx, "store view", trace.Client)
		child.End()
		s.End()
		if s.TraceID() != traceID || child != nil {
			t.Errorf("the id of the trace is %q, and the child %v", s.TraceID(), child)
		}
		out := http.Header{}
		trace.Inject(ctx, out)
		if got := out.Get("traceparent"); !strings.HasPrefix(got, "00-"+traceID) || !strings.HasSuffix(got, "-00") || strings.Contains(got, spanID) {
			t.Errorf("passed on is %q", got)
		}
		stop()
		if spans, requests := c.got(); len(spans) != 0 || requests != 0 {
			t.Errorf("%d spans in %d requests of a trace that is not sampled", len(spans), requests)
		}
	})
}

func TestTheRatioOfSampling(t *testing.T) {
	const traces = 10_000
	for _, ratio := range []float64{0, 0.1, 0.5, 1} {
		tracer := trace.New(trace.Options{Endpoint: "http://collector.example", Ratio: ratio, Queue: 1})
		end(tracer, traces)
		// All but one of the sampled spans find the queue full.
		sampled := tracer.State().Dropped
		if want := int64(ratio * traces); max(sampled-want, want-sampled) > 300 || ratio == 0 && sampled != 0 || ratio == 1 && sampled != traces-1 {
			t.Errorf("with the ratio %v, %d of %d traces are sampled", ratio, sampled, traces)
		}
	}
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{}
		tracer, stop := run(t, c, trace.Options{Ratio: 1, Batch: 10})
		defer stop()
		end(tracer, 25)
		synctest.Wait()
		if spans, requests := c.got(); len(spans) != 20 || requests != 2 {
			t.Errorf("at once, %d spans came in %d requests; want 20 in 2", len(spans), requests)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if spans, requests := c.got(); len(spans) != 25 || requests != 3 {
			t.Errorf("after 5 s, %d spans came in %d requests; want 25 in 3", len(spans), requests)
		}
	})
}

func TestFailedRequestsAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{statuses: []int{429, 502, 503, 504, 0}}
		tracer, stop := run(t, c, trace.Options{Ratio: 1, Batch: 1})
		defer stop()
		end(tracer, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if spans, requests := c.got(); len(spans) != 1 || requests != 6 {
			t.Fatalf("%d spans came in %d requests; want 1 in 6", len(spans), requests)
		}
		for i, most := range []time.Duration{1, 2, 4, 8, 16} {
			pause := c.at[i+1].Sub(c.at[i])
			if pause < most*time.Second/2 || pause > most*time.Second {
				t.Errorf("pause %d is %v; want from %v to %v", i, pause, most*time.Second/2, most*time.Second)
			}
		}
		if got := tracer.State(); got != (trace.State{Sent: 1, Failures: 5}) {
			t.Errorf("the state is %+v", got)
		}
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	for _, tc := range []struct {
		text string
		want time.Duration
	}{{"17", 17 * time.Second}, {"date", 40 * time.Second}, {"86400", 5 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			text := tc.text
			if text == "date" {
				text = time.Now().Add(tc.want).UTC().Format(http.TimeFormat)
			}
			c := &collector{statuses: []int{503}, headers: http.Header{"Retry-After": {text}}}
			tracer, stop := run(t, c, trace.Options{Ratio: 1, Batch: 1})
			defer stop()
			end(tracer, 1)
			time.Sleep(time.Hour)
			synctest.Wait()
			if spans, _ := c.got(); len(spans) != 1 || c.at[1].Sub(c.at[0]) != tc.want {
				t.Errorf("Retry-After: %s: %d spans, at %v", text, len(spans), c.at)
			}
		})
	}
}

func TestRefusedSpansAreDropped(t *testing.T) {
	for _, tc := range []struct {
		name     string
		statuses []int
		answer   string
		requests int
		want     trace.State
	}{
		{"for good", []int{400}, "", 1, trace.State{Dropped: 3, Failures: 1}},
		{"by a redirect", []int{307}, "", 1, trace.State{Dropped: 3, Failures: 1}},
		{"some of them", nil, `{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}`, 1, trace.State{Sent: 1, Dropped: 2}},
		{"some of them, as a number", nil, `{"partialSuccess":{"rejectedSpans":2}}`, 1, trace.State{Sent: 1, Dropped: 2}},
		{"none", nil, `{"partialSuccess":{}}`, 1, trace.State{Sent: 3}},
		{"more than there are", nil, `{"partialSuccess":{"rejectedSpans":"9"}}`, 1, trace.State{Dropped: 3}},
		{"an answer that is not JSON", nil, "ok", 1, trace.State{Sent: 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &collector{statuses: tc.statuses, answer: tc.answer}
				tracer, stop := run(t, c, trace.Options{Ratio: 1, Batch: 3})
				defer stop()
				end(tracer, 3)
				time.Sleep(time.Minute)
				synctest.Wait()
				if _, requests := c.got(); requests != tc.requests || tracer.State() != tc.want {
					t.Errorf("%d requests, %+v; want %d, %+v", requests, tracer.State(), tc.requests, tc.want)
				}
			})
		})
	}
}

// TestASilentCollectorDelaysNothing ends more spans than the queue holds, in no time.
func TestASilentCollectorDelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := &collector{silent: true}
		tracer, stop := run(t, c, trace.Options{Ratio: 1, Queue: 20, Batch: 10, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		before := time.Now()
		for range 100 {
			end(tracer, 1)
			synctest.Wait()
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("the spans took %v", took)
		}
		// 10 are in the request and 20 in the queue.
		if got := tracer.State().Dropped; got != 70 {
			t.Errorf("%d spans are dropped; want 70", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := tracer.State(); got.Dropped != 100 || got.Sent != 0 {
			t.Errorf("after an hour, the state is %+v", got)
		}
		c.mu.Lock()
		c.silent = false
		c.mu.Unlock()
		end(tracer, 1)
		time.Sleep(time.Minute)
		stop()
		if got := tracer.State(); got.Sent != 1 {
			t.Errorf("when the collector answers again, the state is %+v", got)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), "accepts spans again") || strings.Contains(log.String(), "collector.example") {
			t.Errorf("the log is\n%s", &log)
		}
	})
}

func TestTheEndSendsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{}
		tracer, stop := run(t, c, trace.Options{Ratio: 1, Batch: 10})
		end(tracer, 7)
		stop()
		if spans, _ := c.got(); len(spans) != 7 {
			t.Errorf("%d spans came; want 7", len(spans))
		}
	})
}

func TestTheEndWaitsOnlySecondsForACollector(t *testing.T) {
	for _, tc := range []struct {
		name string
		c    *collector
	}{
		{"that is silent", &collector{silent: true}},
		{"that is busy for long", &collector{statuses: []int{503, 503, 503, 503, 503, 503}, headers: http.Header{"Retry-After": {"300"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tracer, stop := run(t, tc.c, trace.Options{Ratio: 1, Batch: 10})
				end(tracer, 35)
				synctest.Wait()
				before := time.Now()
				stop()
				if took := time.Since(before); took > 3*time.Second {
					t.Errorf("the end took %v", took)
				}
				if got := tracer.State(); got.Dropped != 35 {
					t.Errorf("the state is %+v; want 35 dropped spans", got)
				}
			})
		})
	}
}

func TestWithoutATracerThereIsNoWork(t *testing.T) {
	var tracer *trace.Tracer
	ctx, h := t.Context(), header(parent)
	if n := testing.AllocsPerRun(100, func() {
		inner, s := tracer.Serve(ctx, h, "GET /")
		inner, child := trace.Start(inner, "store view", trace.Client)
		child.Set("db.system.name", "sqlite")
		child.SetInt("n", 1)
		child.Fail("timeout")
		child.End()
		s.End()
		if trace.Traceparent(inner) != "" || s.TraceID() != "" {
			t.Error("there is a span")
		}
	}); n != 0 {
		t.Errorf("a request without a tracer allocates %v times", n)
	}
}
