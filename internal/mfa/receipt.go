package mfa

import (
	"context"
	"fmt"
	"time"
)

// A Receipt is what a provider says about a message that it accepted.
type Receipt struct {
	Provider string // its name, as in Accepted
	ID       string // of the message, as in Accepted
	State    DeliveryState
	Reason   string // the provider's own code for a failure, or ""
}

// keepEarly is how long a receipt waits for the answer of its provider. What is
// left then is of messages that somebody else sent through the same account.
const keepEarly = time.Hour

// Receive records how far a message has come. What says nothing new changes
// nothing, and a message that is not known any more is no error.
func (s *Service) Receive(ctx context.Context, r Receipt) error {
	if deliveryRank[r.State] == 0 {
		return fmt.Errorf("receipt of %s: no such state %q", r.Provider, r.State)
	}
	now := s.now()
	key := messageKey(r.Provider, r.ID)
	var found MessageRef
	err := s.store.Update(ctx, Read{Bucket: key.Bucket(), Message: key}, func(tx *Tx) error {
		ref := tx.Message
		if ref == nil {
			ref = &MessageRef{Bucket: key.Bucket(), Key: key, ExpiresAt: now.Add(keepEarly)}
		}
		found = *ref
		if ref.Challenge == (ChallengeID{}) && deliveryRank[r.State] > deliveryRank[ref.State] {
			ref.State, ref.Reason = r.State, r.Reason
			tx.put(PutMessage{ref})
		}
		return nil
	})
	if err != nil || found.Challenge == (ChallengeID{}) {
		return err
	}
	events, err := s.journal(0, now, found.Challenge.Bucket())
	if err != nil {
		return err
	}
	return s.store.Update(ctx, Read{Bucket: found.Challenge.Bucket(), Challenge: found.Challenge}, func(tx *Tx) error {
		c := tx.Challenge
		if c == nil || found.Number >= len(c.Messages) || !c.Messages[found.Number].advance(r.State, r.Reason, now) {
			return nil
		}
		events.env = tx.Factor.Environment
		events.append(tx, Event{Type: messageEvent(r.State), Factor: c.Factor, Challenge: c.ID, Reason: r.Reason})
		tx.put(UpdateChallenge{c})
		return nil
	})
}

// refer makes receipts find the last message of c, and returns what one that was
// faster than its provider's answer said.
func (s *Service) refer(ctx context.Context, sh shipment, c Issued, accepted Accepted) (early receipt, err error) {
	if accepted.ID == "" {
		return early, nil
	}
	key := messageKey(accepted.Provider, accepted.ID)
	err = s.store.Update(ctx, Read{Bucket: key.Bucket(), Message: key}, func(tx *Tx) error {
		if ref := tx.Message; ref != nil {
			early = receipt{state: ref.State, reason: ref.Reason}
		}
		tx.put(PutMessage{&MessageRef{
			Bucket: key.Bucket(), Key: key, Challenge: c.ID, Number: len(c.Messages) - 1,
			ExpiresAt: sh.now.Add(s.opts.ChallengeRetention),
		}})
		return nil
	})
	return early, err
}

// A receipt is what is known of a message, at once or after a while.
type receipt struct {
	state  DeliveryState
	reason string
	after  time.Duration
}

// receipt returns what becomes of a message to a test number.
func (s *script) receipt() receipt {
	if s == nil {
		return receipt{}
	}
	return receipt{s.state, s.reason, s.after}
}
