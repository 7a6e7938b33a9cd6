package trace

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A Tracer makes spans and sends the spans of sampled traces to a collector. Make one with New and call
// Run. It is safe for concurrent use.
//
// Ended spans wait in a queue of fixed length. If the collector is slow or down, the queue
// fills, and further spans are dropped and counted. No request waits.
type Tracer struct {
	opts      Options
	threshold uint64 // of the lower 63 bits of a trace id
	queue     chan *Span
	client    *http.Client
	troubled  bool // the last export failed, and the log says so; only for Run

	sent, dropped, failures atomic.Int64
}

// Options change how a Tracer works. Endpoint is required; other zero fields take their
// defaults.
type Options struct {
	Endpoint string      // URL of the collector, to which /v1/traces is added
	Header   http.Header // sent with each request; may contain secrets
	Ratio    float64     // part of the traces without a parent that is sampled, from 0 to 1; zero samples none
	Service  string      // service.name; default countersign
	Version  string      // service.version
	Instance string      // service.instance.id; default random

	Queue     int               // spans that wait; default 2048
	Batch     int               // spans in a request; default 512
	Every     time.Duration     // the longest wait for a batch to fill; default 5 s
	Timeout   time.Duration     // of a request; default 10 s
	Transport http.RoundTripper // default like http.DefaultTransport
	Logger    *slog.Logger      // default slog.Default()
	Now       func() time.Time  // default time.Now
	Rand      io.Reader         // safe for concurrent use; default crypto/rand.Reader
}

const (
	firstPause    = time.Second // before a request is sent again; it doubles
	longestPause  = 30 * time.Second
	longestAsked  = 5 * time.Minute // that a Retry-After may delay
	retryFor      = time.Minute     // then a batch is dropped
	flushFor      = 3 * time.Second // to send the rest when the process ends
	maxAnswer     = 64 << 10        // bytes of an answer that are read
	tracesPath    = "/v1/traces"
	contentType   = "application/json"
	defaultName   = "countersign"
	instanceBytes = 8
)

// New returns a Tracer.
func New(o Options) *Tracer {
	o.Service = cmp.Or(o.Service, defaultName)
	o.Queue, o.Batch = cmp.Or(o.Queue, 2048), cmp.Or(o.Batch, 512)
	o.Every, o.Timeout = cmp.Or(o.Every, 5*time.Second), cmp.Or(o.Timeout, 10*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Instance == "" {
		o.Instance = strings.ToLower(rand.Text()[:2*instanceBytes])
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	t := &Tracer{opts: o, queue: make(chan *Span, o.Queue)}
	// A redirect is not followed: the headers are for this collector only.
	t.client = &http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.threshold = uint64(max(0, min(o.Ratio, 1)) * (1 << 63))
	return t
}

// samples decides about a trace without a parent. Every node decides the same for an id.
func (t *Tracer) samples(id [16]byte) bool {
	return binary.BigEndian.Uint64(id[8:])>>1 < t.threshold
}

func (t *Tracer) queueSpan(s *Span) {
	select {
	case t.queue <- s:
	default:
		t.dropped.Add(1)
	}
}

// A State counts spans since the start, for metrics.
type State struct {
	Sent     int64 // spans that the collector accepted
	Dropped  int64 // spans that were lost: the queue was full, or the collector did not accept them
	Failures int64 // requests without success
}

// State returns the current counts.
func (t *Tracer) State() State {
	return State{Sent: t.sent.Load(), Dropped: t.dropped.Load(), Failures: t.failures.Load()}
}

// Run sends spans until ctx ends. Then it sends the rest, for at most a few seconds.
func (t *Tracer) Run(ctx context.Context) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		end := time.AfterFunc(flushFor, cancel)
		context.AfterFunc(life, func() { end.Stop() })
	})()
	defer t.client.CloseIdleConnections()
	batch := make([]*Span, 0, t.opts.Batch)
	due := time.NewTimer(t.opts.Every)
	defer due.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-due.C:
		case s := <-t.queue:
			if batch = append(batch, s); len(batch) < t.opts.Batch {
				continue
			}
		}
		batch = t.send(ctx, life, batch)
		due.Reset(t.opts.Every)
	}
	for {
		select {
		case s := <-t.queue:
			if batch = append(batch, s); len(batch) == t.opts.Batch {
				batch = t.send(ctx, life, batch)
			}
		default:
			t.send(ctx, life, batch)
			return
		}
	}
}

// send sends a batch, and again if it fails, until it is accepted, is refused for good, or has taken
// too long. After the end of ctx it tries only once. It returns the empty batch.
func (t *Tracer) send(ctx, life context.Context, batch []*Span) []*Span {
	if len(batch) == 0 {
		return batch
	}
	n := int64(len(batch))
	body, err := t.opts.encodeSpans(batch)
	clear(batch)
	batch = batch[:0]
	var rejected int64
	if err == nil {
		rejected, err = t.retry(ctx, life, tracesPath, body)
	}
	if err != nil {
		t.dropped.Add(n)
		t.report(err)
		return batch
	}
	rejected = max(0, min(rejected, n))
	t.dropped.Add(rejected)
	t.sent.Add(n - rejected)
	t.report(nil)
	return batch
}

// report logs the first failure and the first success after it.
func (t *Tracer) report(err error) {
	switch {
	case err != nil && !t.troubled:
		t.opts.Logger.Warn("telemetry: the collector does not accept spans; they are dropped until it does", "error", err)
	case err == nil && t.troubled:
		t.opts.Logger.Info("telemetry: the collector accepts spans again", "dropped", t.dropped.Load())
	}
	t.troubled = err != nil
}

func (t *Tracer) retry(ctx, life context.Context, path string, body []byte) (rejected int64, err error) {
	began := t.opts.Now()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		rejected, err = t.post(life, path, body)
		if err == nil {
			return rejected, nil
		}
		t.failures.Add(1)
		temporary, ok := errors.AsType[*temporaryError](err)
		if !ok || ctx.Err() != nil || t.opts.Now().Sub(began) >= retryFor {
			return 0, err
		}
		wait := time.NewTimer(cmp.Or(min(temporary.after, longestAsked), t.jitter(pause)))
		select {
		case <-wait.C:
		case <-ctx.Done(): // one last time
			wait.Stop()
		}
	}
}

// jitter returns a duration from half of d to d, so nodes do not return all at once.
func (t *Tracer) jitter(d time.Duration) time.Duration {
	var random [8]byte
	if _, err := io.ReadFull(t.opts.Rand, random[:]); err != nil {
		return d
	}
	half := d / 2
	return half + time.Duration(binary.BigEndian.Uint64(random[:])%uint64(half+1))
}

// A temporaryError means that the same request may succeed later.
type temporaryError struct {
	cause error
	after time.Duration // that the collector asks for; or 0
}

func (e *temporaryError) Error() string { return e.cause.Error() }
func (e *temporaryError) Unwrap() error { return e.cause }

// post sends a request once. rejected is how many of its items the collector did not take.
func (t *Tracer) post(ctx context.Context, path string, body []byte) (rejected int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(t.opts.Endpoint, "/")+path, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("the endpoint is not a URL")
	}
	for name, values := range t.opts.Header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "Countersign/"+cmp.Or(t.opts.Version, "unknown"))
	resp, err := t.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, whose path may contain a secret
		}
		return 0, &temporaryError{cause: err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch status := resp.StatusCode; {
	case status == http.StatusTooManyRequests, status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return 0, &temporaryError{fmt.Errorf("status %d", status), t.retryAfter(resp.Header.Get("Retry-After"))}
	case status < 200 || status > 299:
		return 0, fmt.Errorf("status %d", status)
	case err != nil:
		return 0, nil // accepted; the rest of the answer does not matter
	}
	var reply struct {
		PartialSuccess struct {
			RejectedSpans json.Number `json:"rejectedSpans"` // a string in the JSON of protobuf
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(answer, &reply) == nil {
		rejected, _ = reply.PartialSuccess.RejectedSpans.Int64() // 0 if it is absent
	}
	return rejected, nil
}

// retryAfter reads the header: whole seconds or a date. It returns 0 if it is absent or invalid.
func (t *Tracer) retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(t.opts.Now()))
	}
	return 0
}
