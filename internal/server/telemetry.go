package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/trace"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// openTracer makes the tracer that the configuration names. s.tracer stays nil without a collector.
func (s *Server) openTracer() error {
	if s.cfg.OTLPEndpoint == "" {
		return nil
	}
	header, err := otlpHeaders(s.cfg)
	if err != nil {
		return err
	}
	// Spans have the time of the machine, also if the clock of a sandbox is moved.
	s.tracer = trace.New(trace.Options{
		Endpoint: s.cfg.OTLPEndpoint, Header: header, Ratio: s.cfg.OTLPSampleRatio,
		Service: s.cfg.OTLPServiceName, Version: s.version, Logger: s.log,
	})
	if s.metrics != nil {
		s.metrics.Spans(func() (sent, dropped, failures int64) {
			st := s.tracer.State()
			return st.Sent, st.Dropped, st.Failures
		})
	}
	return nil
}

func otlpHeaders(cfg config.Config) (http.Header, error) {
	if cfg.OTLPHeadersFile == "" {
		return nil, nil
	}
	header, err := readHeaders(cfg.OTLPHeadersFile)
	if err != nil {
		return nil, fmt.Errorf("--otlp-headers-file: %w", err)
	}
	return header, nil
}

// startTracer sends spans until the returned function is called, which waits a few seconds for the rest.
func (s *Server) startTracer() (stop func()) {
	if s.tracer == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.tracer.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// traceStore makes spans of the calls of the store that requests wait for.
func (s *Server) traceStore() {
	if s.tracer == nil {
		return
	}
	system := "sqlite"
	if config.IsPostgres(s.cfg.Store) {
		system = "postgresql"
	}
	s.store.mfa = tracedStore{s.store.mfa, system}
	s.store.access = tracedAccess{s.store.access, system}
}

// startStoreSpan starts the span of a call of a store.
func startStoreSpan(ctx context.Context, system, operation string) (context.Context, *trace.Span) {
	ctx, span := trace.Start(ctx, "store "+operation, trace.Client)
	span.Set("db.system.name", system)
	span.Set("db.operation.name", operation)
	return ctx, span
}

// endStoreSpan ends the span of a call that returned err. An error of the decision is not a
// failure of the store.
func endStoreSpan(span *trace.Span, err error) {
	switch {
	case err == nil || errors.Is(err, access.ErrNotFound):
	case errors.Is(err, context.Canceled):
		span.Fail("canceled")
	case errors.Is(err, context.DeadlineExceeded):
		span.Fail("timeout")
	case errors.Is(err, mfa.ErrUnavailable):
		span.Fail("unavailable")
	default:
		span.Fail("_OTHER")
	}
	span.End()
}

// A tracedStore makes a span of each call that is part of a traced request.
type tracedStore struct {
	mfa.Store
	system string
}

// Update is mfa.Store.Update.
func (s tracedStore) Update(ctx context.Context, r mfa.Read, fn func(tx *mfa.Tx) error) error {
	ctx, span := startStoreSpan(ctx, s.system, "update")
	if span == nil {
		return s.Store.Update(ctx, r, fn)
	}
	var runs int64
	var refused error
	err := s.Store.Update(ctx, r, func(tx *mfa.Tx) error {
		runs++
		refused = fn(tx)
		return refused
	})
	span.SetInt("countersign.store.runs", runs)
	if refused != nil && errors.Is(err, refused) {
		span.End()
		return err
	}
	endStoreSpan(span, err)
	return err
}

// View is mfa.Store.View.
func (s tracedStore) View(ctx context.Context, r mfa.Read) (mfa.Rows, error) {
	ctx, span := startStoreSpan(ctx, s.system, "view")
	rows, err := s.Store.View(ctx, r)
	endStoreSpan(span, err)
	return rows, err
}

// Factors is mfa.Store.Factors.
func (s tracedStore) Factors(ctx context.Context, q mfa.FactorQuery) ([]mfa.Factor, error) {
	ctx, span := startStoreSpan(ctx, s.system, "list")
	factors, err := s.Store.Factors(ctx, q)
	endStoreSpan(span, err)
	return factors, err
}

// A tracedAccess makes a span when the store is asked for an API key.
type tracedAccess struct {
	access.Store
	system string
}

// KeyByHash is access.Store.KeyByHash.
func (s tracedAccess) KeyByHash(ctx context.Context, h access.Hash) (access.Key, error) {
	ctx, span := startStoreSpan(ctx, s.system, "key")
	key, err := s.Store.KeyByHash(ctx, h)
	endStoreSpan(span, err)
	return key, err
}

// traceTry makes a span of a try to send a message.
func traceTry(ctx context.Context, provider string) (context.Context, func(sms.Try)) {
	ctx, span := trace.Start(ctx, "sms "+provider, trace.Client)
	return ctx, func(t sms.Try) {
		span.Set("countersign.sms.provider", provider)
		span.SetInt("countersign.sms.try", int64(t.Number))
		if t.Kind != "" {
			span.Fail(string(t.Kind))
		}
		span.End()
	}
}

// A tracedSender makes a trace of each delivery of a webhook, and passes it on to the receiver.
type tracedSender struct {
	webhook.Sender
	tracer *trace.Tracer
}

// Send is webhook.Sender.Send.
func (s tracedSender) Send(ctx context.Context, r webhook.Request) webhook.Answer {
	ctx, span := s.tracer.Root(ctx, "webhook delivery", trace.Client)
	if parent := trace.Traceparent(ctx); parent != "" {
		r.Headers = append(slices.Clone(r.Headers), webhook.Header{Name: "traceparent", Value: parent})
	}
	answer := s.Sender.Send(ctx, r)
	span.Set("http.request.method", http.MethodPost)
	if u, err := url.Parse(r.URL); err == nil { // not the path: it may contain a secret of the receiver
		span.Set("url.scheme", u.Scheme)
		span.Set("server.address", u.Hostname())
	}
	if answer.Status != 0 {
		span.SetInt("http.response.status_code", int64(answer.Status))
	}
	switch {
	case answer.Fault != "":
		span.Fail(string(answer.Fault))
	case answer.Status < 200 || answer.Status > 299:
		span.Fail(strconv.Itoa(answer.Status))
	}
	span.End()
	return answer
}
