package sms

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"
)

const (
	maxCallback   = 64 << 10        // bytes of a body
	recordTimeout = 5 * time.Second // for the receipts of one callback
)

// Callbacks is the http.Handler behind the callback URLs: it takes in what services
// report. A service that gets no 2xx tries again, but most of them only after a 5xx.
type Callbacks struct {
	receivers map[string]Receiver
	record    func(ctx context.Context, provider string, r Receipt) error
	log       *slog.Logger
}

// NewCallbacks returns the Callbacks of those providers that are Receivers. It hands
// record every receipt, at least once, also of messages that nobody here sent.
func NewCallbacks(providers []Named, record func(ctx context.Context, provider string, r Receipt) error, log *slog.Logger) *Callbacks {
	c := &Callbacks{receivers: map[string]Receiver{}, record: record, log: log}
	for _, p := range providers {
		if r, ok := p.Provider.(Receiver); ok {
			c.receivers[p.Name] = r
		}
	}
	return c
}

// ServeHTTP takes in a callback to the provider that the path value "provider"
// names. What is not signed by its service is refused.
func (c *Callbacks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	provider := r.PathValue("provider")
	receiver, ok := c.receivers[provider]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallback))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	receipts, err := receiver.Receipts(r, body)
	if err == nil {
		err = c.recordAll(r.Context(), provider, receipts)
	}
	switch {
	case err == nil:
		w.WriteHeader(http.StatusOK) // as Vonage and MessageBird ask; to the others any 2xx will do
	case errors.Is(err, ErrSignature):
		c.log.Info("callback refused: its signature is wrong", "provider", provider)
		w.WriteHeader(http.StatusForbidden)
	case errors.Is(err, errReceipt):
		c.log.Warn("callback refused", "provider", provider, "error", err)
		w.WriteHeader(http.StatusBadRequest)
	default:
		c.log.Warn("callback not taken in", "provider", provider, "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
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
