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
)

const (
	maxCallback   = 64 << 10        // bytes of a body
	bodyTimeout   = 5 * time.Second // for a body to arrive
	recordTimeout = 5 * time.Second // for the receipts of one callback

	maxReading   = 256 // bodies that are read at once
	maxRecording = 64  // callbacks that are checked and recorded at once
)

// Callbacks is the http.Handler behind the callback URLs: it records what services
// report. A service that gets no 2xx tries again, but most of them only after a 5xx.
//
// Callbacks need no API key. So they have limits of their own, and use no place of
// requests with an API key: further callbacks are answered 503. Bodies that arrive
// slowly use no place of callbacks that are being recorded.
type Callbacks struct {
	receivers map[string]Receiver
	record    func(ctx context.Context, provider string, r Receipt) error
	log       *slog.Logger

	reading, recording chan struct{} // each holds a token for each callback
	crowded            admission.Notice
}

// NewCallbacks returns the Callbacks of those providers that are Receivers. It hands
// record every receipt, at least once, including those of messages of other senders.
func NewCallbacks(providers []Named, record func(ctx context.Context, provider string, r Receipt) error, log *slog.Logger) *Callbacks {
	c := &Callbacks{
		receivers: map[string]Receiver{}, record: record, log: log,
		reading: make(chan struct{}, maxReading), recording: make(chan struct{}, maxRecording),
	}
	for _, p := range providers {
		if r, ok := p.Provider.(Receiver); ok {
			c.receivers[p.Name] = r
		}
	}
	return c
}

// ServeHTTP receives a callback to the provider that the path value "provider" names.
// It refuses a callback that the provider's service did not sign.
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
		if c.crowded.Due(time.Now()) {
			c.log.Warn("callbacks are refused: too many at once", "provider", provider)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	case tooLarge:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case errors.Is(err, errCutShort):
		w.WriteHeader(http.StatusBadRequest)
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.WriteHeader(http.StatusServiceUnavailable)
	case err == nil:
		w.WriteHeader(http.StatusOK) // as Vonage and MessageBird ask; to the others any 2xx will do
	case errors.Is(err, ErrSignature):
		c.log.Info("callback refused: its signature is wrong", "provider", provider)
		w.WriteHeader(http.StatusForbidden)
	case errors.Is(err, ErrMalformed):
		c.log.Warn("callback refused", "provider", provider, "error", err)
		w.WriteHeader(http.StatusBadRequest)
	default:
		c.log.Warn("callback not taken in", "provider", provider, "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

var (
	errCrowded  = errors.New("too many callbacks at once")
	errCutShort = errors.New("the body of a callback is cut short")
)

// read returns the body of a callback.
func (c *Callbacks) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	leave, err := enter(c.reading)
	if err != nil {
		return nil, err
	}
	defer leave()
	// If the writer supports no deadline, that of the server applies.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
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

// enter takes a place, or returns errCrowded if all are taken.
func enter(places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, errCrowded
	}
}

// recordAll goes on when the service hangs up, which some do after 2 seconds.
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
