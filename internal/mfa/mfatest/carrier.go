package mfatest

import (
	"context"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/logcapture"
)

// A Carrier is a delivery.Sender that keeps the messages. It can fail before a message
// is on its way, or after. The zero value accepts every message.
//
// Send may be called concurrently. A test changes the fields only while no Send
// runs.
type Carrier struct {
	// Secrets is the test whose logs must not hold the numbers and codes of the
	// messages; see logcapture.Secret. It may be nil.
	Secrets testing.TB

	// During, if not nil, is called first, by concurrent Sends at the same time. Its
	// error is returned, and the message is not sent.
	During func(context.Context) error
	Lost   error // if not nil: returned, and the message is not sent
	Unsure error // returned, although the message is sent

	Accepted delivery.Accepted                        // returned with a message that is sent
	Accept   func(delivery.Message) delivery.Accepted // if not nil: returns Accepted; one call at a time

	mu       sync.Mutex
	messages []delivery.Message // sent, oldest first
}

// Send implements delivery.Sender.
func (c *Carrier) Send(ctx context.Context, m delivery.Message) (delivery.Accepted, error) {
	if c.Secrets != nil {
		logcapture.Secret(c.Secrets, m.To.Text(), m.Code.Reveal())
	}
	if during := c.during(); during != nil {
		if err := during(ctx); err != nil {
			return delivery.Accepted{}, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Lost != nil {
		return delivery.Accepted{}, c.Lost
	}
	c.messages = append(c.messages, m)
	if c.Accept != nil {
		return c.Accept(m), c.Unsure
	}
	return c.Accepted, c.Unsure
}

func (c *Carrier) during() func(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.During
}

// Fail sets During to a function of the number of the attempt since this call, from
// 1. A nil fault removes it. Fail may be called while Send runs.
func (c *Carrier) Fail(fault func(attempt int) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.During = nil; fault == nil {
		return
	}
	attempts := 0
	c.During = func(context.Context) error {
		c.mu.Lock()
		attempts++
		attempt := attempts
		c.mu.Unlock()
		return fault(attempt)
	}
}

// Sent returns the number of messages that were sent.
func (c *Carrier) Sent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.messages)
}

// Last returns the newest message.
func (c *Carrier) Last() delivery.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.messages[len(c.messages)-1]
}
