package sms

import (
	"context"
	"strconv"
	"strings"

	"github.com/countersign-mfa/countersign/internal/delivery"
)

// A Sender is a delivery.Sender over a Router.
type Sender struct{ Router *Router }

// Send hands m to one provider after another until one accepts it.
func (s Sender) Send(ctx context.Context, m delivery.Message) (delivery.Accepted, error) {
	accepted, err := s.Router.Send(ctx, Message{
		To:        m.To.Secret(),
		Text:      m.Text,
		Reference: reference(m),
		ValidFor:  m.ExpiresAt.Sub(m.At),
		Avoid:     m.Avoid,
	})
	return delivery.Accepted{Provider: accepted.Provider, ID: accepted.ID}, err
}

// reference returns an identifier made from the challenge, short enough for all services.
func reference(m delivery.Message) string {
	text := m.Challenge.String()
	text = text[strings.LastIndexByte(text, '_')+1:]
	if m.Number > 1 {
		text += "-" + strconv.Itoa(m.Number)
	}
	return text
}
