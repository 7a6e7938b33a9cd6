package sms

import (
	"context"
	"errors"
	"strings"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Sender is an mfa.Sender over a Router. Only production environments reach
// providers: what a sandbox sends goes to the Sandbox.
type Sender struct {
	Router  *Router
	Sandbox mfa.Sender // nil: a sandbox cannot send
}

var errSandbox = errors.New("a sandbox has no phones: only production environments send messages")

// Send hands m to one provider, or to several in turn until one takes it.
func (s *Sender) Send(ctx context.Context, m mfa.Message) error {
	if !m.Production {
		if s.Sandbox == nil {
			return errSandbox
		}
		return s.Sandbox.Send(ctx, m)
	}
	_, err := s.Router.Send(ctx, Message{
		To:        m.To.Secret(),
		Text:      m.Text,
		Reference: reference(m.Challenge),
		ValidFor:  m.ExpiresAt.Sub(m.At),
	})
	return err
}

// reference is the id of a challenge, short enough for all services.
func reference(id mfa.ChallengeID) string {
	text := id.String()
	return text[strings.LastIndexByte(text, '_')+1:]
}
