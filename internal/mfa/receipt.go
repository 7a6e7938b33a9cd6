package mfa

import (
	"context"
	"fmt"
	"time"
)

// A Receipt is the report of a provider about a message that it accepted.
type Receipt struct {
	Provider string // its name, as in Accepted
	ID       string // of the message, as in Accepted
	Also     string // another reading of the id, if no message has the first; or ""
	State    DeliveryState
	Reason   string // the provider's own code for a failure, or ""
}

// keepEarly is how long a receipt waits for the answer of its provider. A receipt that is
// left then belongs to a message that another program sent through the same account.
const keepEarly = time.Hour

// Receive records the state of a message. A receipt without a new state changes nothing.
// A receipt of a message that is not known, or not known any more, is logged; it is not
// an error.
func (s *Service) Receive(ctx context.Context, r Receipt) error {
	if deliveryRank[r.State] == 0 {
		return fmt.Errorf("receipt of %s: no such state %q", r.Provider, r.State)
	}
	keys, err := s.messageKeys(ctx, r)
	if err != nil {
		return err
	}
	now := s.now()
	var found MessageRef
	for _, key := range keys {
		if found, err = s.findMessage(ctx, key, r, now); err != nil {
			return err
		}
		if found.Challenge != (ChallengeID{}) {
			break
		}
	}
	if found.Challenge == (ChallengeID{}) {
		s.opts.Logger.Info("receipt of an unknown message; it is kept for an hour, as it may have come before the provider's answer",
			"provider", r.Provider, "id", r.ID, "state", string(r.State))
		return nil
	}
	events := journal{Caller{}, now, found.Challenge.Bucket()}
	return s.store.Update(ctx, Read{Bucket: found.Challenge.Bucket(), Challenge: found.Challenge}, func(tx *Tx) error {
		c := tx.Challenge
		if c == nil || found.Number >= len(c.Messages) || !c.Messages[found.Number].advance(r.State, r.Reason, now) {
			return nil
		}
		events.by.ID = tx.Factor.Environment
		events.append(tx, Event{Type: messageEvent(r.State), Factor: c.Factor, Challenge: c.ID, Kind: tx.Factor.Type, Reason: r.Reason})
		tx.put(c.Update())
		return nil
	})
}

// messageKeys returns the possible keys of the message of a receipt: one if the message is
// known, otherwise one for each reading of its id.
func (s *Service) messageKeys(ctx context.Context, r Receipt) ([]MessageKey, error) {
	first := s.messageKey(r.Provider, r.ID)
	if r.Also == "" {
		return []MessageKey{first}, nil
	}
	keys := []MessageKey{first, s.messageKey(r.Provider, r.Also)}
	for _, key := range keys {
		rows, err := s.store.View(ctx, Read{Bucket: key.Bucket(), Message: key})
		if err != nil {
			return nil, err
		}
		if rows.Message != nil && rows.Message.Challenge != (ChallengeID{}) {
			return []MessageKey{key}, nil
		}
	}
	return keys, nil
}

// findMessage returns the message reference of a key. If it has no challenge, the receipt
// waits there.
func (s *Service) findMessage(ctx context.Context, key MessageKey, r Receipt, now time.Time) (found MessageRef, err error) {
	err = s.store.Update(ctx, Read{Bucket: key.Bucket(), Message: key}, func(tx *Tx) error {
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
	return found, err
}

// refer stores the reference by which receipts find the last message of c. It returns the
// state of a receipt that arrived before the answer of its provider.
func (s *Service) refer(ctx context.Context, d dispatch, c IssuedChallenge, accepted Accepted) (early receipt, err error) {
	if accepted.ID == "" {
		return early, nil
	}
	key := s.messageKey(accepted.Provider, accepted.ID)
	err = s.store.Update(ctx, Read{Bucket: key.Bucket(), Message: key}, func(tx *Tx) error {
		if ref := tx.Message; ref != nil {
			early = receipt{state: ref.State, reason: ref.Reason}
		}
		tx.put(PutMessage{&MessageRef{
			Bucket: key.Bucket(), Key: key, Challenge: c.ID, Number: len(c.Messages) - 1,
			ExpiresAt: d.now.Add(s.opts.ChallengeRetention),
		}})
		return nil
	})
	return early, err
}

// A receipt is a known state of a message, which applies at once or after a while.
type receipt struct {
	state  DeliveryState
	reason string
	after  time.Duration
}

// receipt returns the simulated state of a message to a test number.
func (n *testNumber) receipt() receipt {
	if n == nil {
		return receipt{}
	}
	return receipt{n.state, n.reason, n.after}
}
