package mfa

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
)

// Receive records the state of a message. A receipt without a new state changes nothing.
// A receipt of a message that is not known, or not known any more, is logged; it is not
// an error.
func (s *Service) Receive(ctx context.Context, r delivery.Receipt) error {
	if err := r.Check(); err != nil {
		return err
	}
	keys, err := s.messageKeys(ctx, r)
	if err != nil {
		return err
	}
	now := s.now()
	var found delivery.MessageRef
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
	events := journal{by: Caller{}, at: now, bucket: found.Challenge.Bucket()}
	return s.store.Update(ctx, Read{Bucket: found.Challenge.Bucket(), Challenge: found.Challenge}, func(tx *Tx) error {
		c := tx.Challenge
		if c == nil || found.Number >= len(c.Messages) {
			return nil
		}
		m := &c.Messages[found.Number]
		before := m.State
		if !m.Advance(r.State, r.Reason, now) {
			return nil
		}
		events.by.ID = tx.Factor.Environment
		events.append(tx, Event{Type: messageEvent(r.State), Factor: c.Factor, Challenge: c.ID, Kind: tx.Factor.Type, Reason: r.Reason, Message: m.Trace().Replacing(before)})
		tx.put(c.Update())
		return nil
	})
}

// messageKeys returns the possible keys of the message of a receipt: one if the message is
// known, otherwise one for each reading of its id.
func (s *Service) messageKeys(ctx context.Context, r delivery.Receipt) ([]delivery.MessageKey, error) {
	keys := r.Keys(s.keys.Load())
	if len(keys) == 1 {
		return keys, nil
	}
	for _, key := range keys {
		rows, err := s.store.View(ctx, Read{Bucket: key.Bucket(), Message: key})
		if err != nil {
			return nil, err
		}
		if rows.Message != nil && rows.Message.Challenge != (ChallengeID{}) {
			return []delivery.MessageKey{key}, nil
		}
	}
	return keys, nil
}

// findMessage returns the message reference of a key. If it has no challenge, the receipt
// waits there.
func (s *Service) findMessage(ctx context.Context, key delivery.MessageKey, r delivery.Receipt, now time.Time) (found delivery.MessageRef, err error) {
	err = s.store.Update(ctx, Read{Bucket: key.Bucket(), Message: key}, func(tx *Tx) error {
		ref := tx.Message
		if ref == nil {
			ref = delivery.NewMessageRef(key, now)
		}
		found = *ref
		if ref.Challenge == (ChallengeID{}) && ref.Await(r) {
			tx.put(PutMessage{ref})
		}
		return nil
	})
	return found, err
}

// refer stores the reference by which receipts find the last message of c. It returns the
// state of a receipt that arrived before the answer of its provider.
func (s *Service) refer(ctx context.Context, d dispatch, c IssuedChallenge, accepted delivery.Accepted) (early delivery.Report, err error) {
	if accepted.ID == "" {
		return early, nil
	}
	key := accepted.Key(s.keys.Load())
	err = s.store.Update(ctx, Read{Bucket: key.Bucket(), Message: key}, func(tx *Tx) error {
		early = tx.Message.Waiting()
		tx.put(PutMessage{&delivery.MessageRef{
			Bucket: key.Bucket(), Key: key, Challenge: c.ID, Number: len(c.Messages) - 1,
			ExpiresAt: d.now.Add(s.opts.ChallengeRetention),
		}})
		return nil
	})
	return early, err
}
