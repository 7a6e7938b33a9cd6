package mfa

import (
	"context"
	"errors"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A recipient is the phone number of a factor, and the budget of the messages to it.
type recipient struct {
	phone  delivery.Phone
	source delivery.Source
}

// recipient returns the recipient of the codes of a factor, nil if Countersign does not
// send them.
func (s *Service) recipient(f *Factor, now time.Time) (*recipient, error) {
	m, ok := f.messenger()
	if !ok {
		return nil, nil
	}
	phone, err := m.recipient(s.keys.Load(), f)
	if err != nil {
		return nil, err
	}
	return &recipient{phone, f.Source(now)}, nil
}

// A dispatch is a message on its way from a request to a phone.
type dispatch struct {
	recipient
	by    Caller
	dest  delivery.Destination
	about [16]byte // the id of its factor, or of its challenge for a resend
	once  *idempotency.Operation[IssuedChallenge]
	now   time.Time

	entry     delivery.Entry
	keys      delivery.Keys
	countedAt time.Time // when the message was counted; an earlier try of the request may have counted it
}

// plan decides where a message goes and under which name it is counted. about is its
// factor or challenge, and unique a new id.
func (s *Service) plan(by Caller, to recipient, about, unique [16]byte, once *idempotency.Operation[IssuedChallenge], now time.Time) (dispatch, error) {
	d := dispatch{recipient: to, by: by, about: about, once: once, now: now}
	var err error
	if d.dest, err = s.policy.Destination(by.Tenant(), to.phone); err != nil {
		return d, err
	}
	d.keys = s.policy.Keys(s.keys.Load(), by.Tenant(), to.phone)
	if once == nil {
		d.entry.Ref = delivery.NewRef(unique[:]).From(to.source)
		return d, nil
	}
	d.entry.Ref, d.entry.Keep = d.refOf(once), once.Keep
	if once.Derived {
		// The same key may come again with another sign-in, whose message is counted. It finds
		// the answer of this one until the answer may be swept.
		d.entry.Keep -= sweepEvery
	}
	return d, nil
}

// refOf returns the name under which the message of a request with a key is counted.
func (d dispatch) refOf(once *idempotency.Operation[IssuedChallenge]) delivery.Ref {
	return delivery.NewRef(d.about[:], once.Identity()).From(d.source)
}

// limits names the rows that count the message.
func (d dispatch) limits() Read {
	return Read{Bucket: d.keys.Bucket, Phone: d.keys.Phone, Counters: d.keys.Counters}
}

// createAndSend makes c a challenge of a factor and sends its code.
func (s *Service) createAndSend(ctx context.Context, by Caller, id FactorID, c IssuedChallenge, p ChallengeParams, to recipient, once *idempotency.Operation[IssuedChallenge], now time.Time) (IssuedChallenge, error) {
	d, err := s.plan(by, to, id, c.ID, once, now)
	if err != nil {
		return IssuedChallenge{}, err
	}
	d.entry.First = true
	if d.dest.IsTest() {
		c.sent = secret.NewString(delivery.TestCode)
	}
	text := s.policy.Text(by.Tenant(), p.text(), to.phone, c.sent.Reveal())
	c.text = secret.NewString(text)
	c.Messages = delivery.Records{delivery.NewRecord(text, d.keys, now)}
	return s.dispatch(ctx, d, func(ctx context.Context, once *idempotency.Operation[IssuedChallenge]) (IssuedChallenge, error) {
		return s.createCounted(ctx, by, id, c, once, now)
	})
}

// dispatch reserves a message, stores it, sends it and settles it. store makes the message
// part of its challenge, as its last. If a step fails, the limits do not count the message,
// unless it may have been sent.
func (s *Service) dispatch(ctx context.Context, d dispatch, store func(context.Context, *idempotency.Operation[IssuedChallenge]) (IssuedChallenge, error)) (IssuedChallenge, error) {
	// From here on, a client that disconnects must not leave a message half sent.
	ctx = context.WithoutCancel(ctx)
	if err := s.reserve(ctx, &d); err != nil {
		return IssuedChallenge{}, err
	}
	if d.once != nil {
		d.once = d.once.Sending(s.now().Add(s.policy.Timeout()).Truncate(time.Millisecond))
	}
	c, err := store(ctx, d.once)
	if c.Replayed != nil || errors.Is(err, ErrKeyReused) || errors.Is(err, errPending) {
		return c, err // another request with the key came first, and counted the message
	}
	if err != nil {
		return IssuedChallenge{}, errors.Join(err, s.uncount(ctx, d, err))
	}
	finished := false
	defer func() {
		if !finished {
			s.undo(ctx, d, c, nil) // the sender panicked
		}
	}()
	accepted, err := s.send(ctx, d, c)
	finished = true
	if err != nil {
		return IssuedChallenge{}, errors.Join(err, s.undo(ctx, d, c, err))
	}
	c.sent, c.text = secret.String{}, secret.String{}
	if err := s.settle(ctx, d, c, accepted); err != nil {
		// The challenge is valid and its message was sent. But receipts do not find the
		// message, and a repeated request waits until PendingUntil.
		s.opts.Logger.Warn("settle a message that was sent", "challenge", c.ID.String(), "error", err)
	}
	return c, nil
}

// undo undoes the reserving and storing of a message that was not sent, or may not have
// been sent. The count comes first: after the record is deleted, the same request may come
// again and must then be counted.
func (s *Service) undo(ctx context.Context, d dispatch, c IssuedChallenge, why error) error {
	return errors.Join(s.uncount(ctx, d, why), s.markUnsent(ctx, d, c, why))
}

// send hands the last message of c to its sender.
func (s *Service) send(ctx context.Context, d dispatch, c IssuedChallenge) (delivery.Accepted, error) {
	return s.policy.Send(ctx, d.dest, delivery.Message{
		Environment: d.by.ID, Challenge: c.ID, Number: len(c.Messages),
		Channel: delivery.SMS, To: d.phone.Address(), Text: c.text, Code: c.sent,
		At: d.now, ExpiresAt: c.ExpiresAt, Avoid: c.Messages.Avoid(),
	})
}

// settle records the provider of the last message of c, and makes the recorded answer
// final.
func (s *Service) settle(ctx context.Context, d dispatch, c IssuedChallenge, accepted delivery.Accepted) error {
	early, err := s.refer(ctx, d, c, accepted)
	now, bucket, number := s.now(), c.ID.Bucket(), len(c.Messages)-1
	events := journal{by: d.by, at: now, bucket: bucket}
	r := Read{Bucket: bucket, Challenge: c.ID}
	if d.once != nil {
		r.Replay = d.once.Key
	}
	return errors.Join(err, s.store.Update(ctx, r, func(tx *Tx) error {
		if tx.Challenge != nil && number < len(tx.Challenge.Messages) {
			m := &tx.Challenge.Messages[number]
			m.Provider, m.ID = accepted.Provider, accepted.Name(s.keys.Load())
			events.append(tx, Event{Type: messageEvent(delivery.Queued), Factor: c.Factor, Challenge: c.ID, Kind: c.Type, Reason: m.Provider, Message: m.Trace()})
			for _, known := range []delivery.Report{{State: accepted.State}, early, d.dest.Simulated()} {
				before := m.State
				if m.Advance(known.State, known.Reason, now.Add(known.After)) && known.After == 0 {
					events.append(tx, Event{Type: messageEvent(m.State), Factor: c.Factor, Challenge: c.ID, Kind: c.Type, Reason: m.Reason, Message: m.Trace().Replacing(before)})
				}
			}
			tx.put(tx.Challenge.Update())
		}
		if d.once != nil && d.once.Owns(tx.Replay.record(), c.ID) {
			tx.Replay.Confirm()
			tx.put(PutReplay{tx.Replay})
		}
		return nil
	}))
}

// markUnsent undoes the storing of a message that was not sent, or may not have been sent. It
// removes the record of the answer, so the same request can be tried again, and with a
// first message also the challenge. If another request got the answer before, answer and
// challenge stay, and only the message is marked as failed.
func (s *Service) markUnsent(ctx context.Context, d dispatch, c IssuedChallenge, why error) error {
	now, bucket, number := s.now(), c.ID.Bucket(), len(c.Messages)-1
	events := journal{by: d.by, at: now, bucket: bucket}
	r := Read{Bucket: bucket, Challenge: c.ID}
	if d.once != nil {
		r.Replay = d.once.Key
	}
	trace := c.Messages[number].Trace()
	return s.store.Update(ctx, r, func(tx *Tx) error {
		pending := d.once != nil && d.once.Owns(tx.Replay.record(), c.ID)
		if pending {
			tx.put(DeleteReplay{bucket, d.once.Key})
		}
		if d.entry.First && (pending || d.once == nil) {
			tx.put(DeleteChallenge{c.ID})
			events.append(tx, Event{Type: ChallengeVoided, Factor: c.Factor, Challenge: c.ID, Kind: c.Type, Reason: deliveryReason(why), Message: trace})
			return nil
		}
		// A message that may have been sent keeps its state and its number.
		if tx.Challenge != nil && number < len(tx.Challenge.Messages) && !errors.Is(why, delivery.ErrUncertain) {
			tx.Challenge.Messages[number].Advance(delivery.Failed, deliveryReason(why), now)
			tx.put(tx.Challenge.Update())
		}
		events.append(tx, Event{Type: messageEvent(delivery.Failed), Factor: c.Factor, Challenge: c.ID, Kind: c.Type, Reason: deliveryReason(why), Message: trace})
		return nil
	})
}

// deliveryReason returns the reason of the event of a message that was not delivered.
func deliveryReason(why error) string {
	if errors.Is(why, delivery.ErrRecipientRefused) {
		return reasonRecipient
	}
	return reasonDelivery
}

// reserve counts a message against all limits in one transaction, or returns a
// *LimitError.
func (s *Service) reserve(ctx context.Context, d *dispatch) error {
	if d.dest.IsTest() {
		return nil
	}
	events := journal{by: d.by, at: d.now, bucket: d.keys.Bucket}
	var refused error
	var changes delivery.Changes
	err := s.store.Update(ctx, d.limits(), func(tx *Tx) error {
		rows := delivery.Rows{Phone: tx.Phone, Counters: tx.Counters}
		d.countedAt, changes, refused = s.policy.Reserve(s.keys.Load(), d.by.Tenant(), d.keys, rows, d.entry, d.now)
		if refused != nil && len(changes.Counters) == 0 {
			return refused
		}
		tx.change(changes, events) // the pause and the release of a prefix also with a refusal
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range changes.Notices {
		s.opts.Logger.Warn("a limit on messages changed", "event", string(noticeEvents[n.Kind]), "of", n.Reason, "environment", d.by.Name)
	}
	return refused
}

// uncount undoes reserve for a message that was not sent; why is nil or the error of its
// store or sender.
func (s *Service) uncount(ctx context.Context, d dispatch, why error) error {
	if d.dest.IsTest() {
		return nil
	}
	earlier := d.entry.Ref
	if d.once != nil {
		// After the record is deleted, the same derived key has the ref of the first sign-in
		// under it again.
		earlier = d.refOf(d.once.Past([16]byte{}))
	}
	return s.store.Update(ctx, d.limits(), func(tx *Tx) error {
		rows := delivery.Rows{Phone: tx.Phone, Counters: tx.Counters}
		tx.change(s.policy.Uncount(rows, d.entry, d.countedAt, why, earlier), journal{})
		return nil
	})
}
