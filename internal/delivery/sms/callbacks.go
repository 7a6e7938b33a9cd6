package sms

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/countersign-mfa/countersign/internal/admission"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

const (
	maxCallback   = 64 << 10        // bytes of a body
	bodyTimeout   = 5 * time.Second // for a body to arrive
	recordTimeout = 5 * time.Second // for the receipts of one callback

	maxReading   = 256 // bodies that are read at once
	maxRecording = 64  // callbacks that are checked and recorded at once
)

// Callbacks is the http.Handler of the callback URLs: it records the receipts that
// services send. Without a 2xx answer a service tries again, most of them only after a
// 5xx.
//
// Callbacks need no API key. They therefore have separate limits and use no capacity of
// requests with an API key: further callbacks receive 503. Bodies that arrive slowly use
// no capacity for recording.
type Callbacks struct {
	receivers map[string]Receiver
	record    func(ctx context.Context, provider string, r Receipt) error
	log       *slog.Logger
	now       func() time.Time

	reading, recording chan struct{} // a token for each callback in that stage
	crowded            admission.Notice
}

// NewCallbacks returns the Callbacks of the providers that are Receivers. It calls record
// at least once for every receipt, including receipts for messages of other senders.
func NewCallbacks(providers []Named, record func(ctx context.Context, provider string, r Receipt) error, log *slog.Logger) *Callbacks {
	c := &Callbacks{
		receivers: map[string]Receiver{}, record: record, log: log, now: wallclock.Or(nil),
		reading: make(chan struct{}, maxReading), recording: make(chan struct{}, maxRecording),
	}
	for _, p := range providers {
		if r, ok := p.Provider.(Receiver); ok {
			c.receivers[p.Name] = r
		}
	}
	return c
}

// ServeHTTP serves a callback for the provider in the path value "provider". It refuses a
// callback that the provider's service did not sign.
func (c *Callbacks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	provider := r.PathValue("provider")
	receiver, ok := c.receivers[provider]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body, err := c.read(w, r)
	if err == nil {
		err = c.receive(r, receiver, provider, body)
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case errors.Is(err, errCrowded):
		if c.crowded.Due(c.now()) {
			c.log.Warn("callbacks refused: too many at once", "provider", provider)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	case tooLarge:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case errors.Is(err, errCutShort):
		w.WriteHeader(http.StatusBadRequest)
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.WriteHeader(http.StatusServiceUnavailable)
	case err == nil:
		w.WriteHeader(http.StatusOK) // required by Vonage and MessageBird; the others accept any 2xx
	case errors.Is(err, ErrSignature):
		c.log.Info("callback refused: its signature is wrong", "provider", provider)
		w.WriteHeader(http.StatusForbidden)
	case errors.Is(err, ErrMalformed):
		c.log.Warn("callback refused", "provider", provider, "error", err)
		w.WriteHeader(http.StatusBadRequest)
	default:
		c.log.Warn("callback not recorded", "provider", provider, "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

var (
	errCrowded  = errors.New("too many callbacks at once")
	errCutShort = errors.New("the body of a callback is truncated")
)

// read returns the body of a callback.
func (c *Callbacks) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	leave, err := enter(c.reading)
	if err != nil {
		return nil, err
	}
	defer leave()
	// If the writer supports no deadline, that of the server applies.
	_ = http.NewResponseController(w).SetReadDeadline(wallclock.Deadline(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallback))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); err == nil || tooLarge || errors.Is(err, os.ErrDeadlineExceeded) {
		return body, err
	}
	return nil, errCutShort
}

// receive checks a callback and records its receipts.
func (c *Callbacks) receive(r *http.Request, from Receiver, provider string, body []byte) error {
	leave, err := enter(c.recording)
	if err != nil {
		return err
	}
	defer leave()
	receipts, err := from.Receipts(r, body)
	if err != nil {
		return err
	}
	return c.recordAll(r.Context(), provider, receipts)
}

// enter takes a place, or returns errCrowded if none is free.
func enter(places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, errCrowded
	}
}

// recordAll records receipts. It continues if the service closes the connection, which
// some do after 2 seconds.
func (c *Callbacks) recordAll(ctx context.Context, provider string, receipts []Receipt) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	for _, r := range receipts {
		if err := c.record(ctx, provider, r); err != nil {
			return err
		}
	}
	return nil
}
