package mfa

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/smstext"
)

// A Sender delivers text messages.
type Sender interface {
	// Send hands m over. A nil error means accepted, not read. An ErrRecipientRefused means
	// that another try would have the same result.
	Send(ctx context.Context, m Message) (Accepted, error)
}

// A Message is a text message with a one-time code.
type Message struct {
	Environment EnvironmentID
	Challenge   ChallengeID
	Number      int // in the challenge; 1 is the first message
	To          Phone
	Text        secret.String // the whole text, with the code
	Code        secret.String
	At          time.Time
	ExpiresAt   time.Time // when the code expires
	Avoid       string    // the provider of an earlier message that probably did not arrive, or ""
}

// An Accepted names the provider that accepted a message.
type Accepted struct {
	Provider string        // as receipts name it, or ""
	ID       string        // the id that the provider gave the message; "" if there are no receipts
	State    DeliveryState // if it is already known; "" means Queued
}

// A dispatch is a message on its way from a request to a phone.
type dispatch struct {
	env   Environment
	phone Phone
	to    destination
	first bool // the first message of its challenge
	once  *idempotency.Operation[IssuedChallenge]
	ref   SendRef
	keep  time.Duration // how long another request with ref is not counted
	now   time.Time

	// store makes the message part of its challenge, as its last.
	store func(context.Context, *idempotency.Operation[IssuedChallenge]) (IssuedChallenge, error)

	countedAt time.Time // when the message was counted; an earlier try of the request may have counted it
}

// judged reports whether the message counts for the prefix of its number: prefixes are
// judged by the first messages of factors that are not proven.
func (sh dispatch) judged() bool { return sh.first && !sh.ref.source().proven() }

// createAndSend makes c a challenge of a factor and sends its code.
func (s *Service) createAndSend(ctx context.Context, env Environment, id FactorID, c IssuedChallenge, p ChallengeParams, of *errUnreserved, once *idempotency.Operation[IssuedChallenge], now time.Time) (IssuedChallenge, error) {
	phone := of.phone
	to, err := s.destination(env, phone)
	if err != nil {
		return IssuedChallenge{}, err
	}
	if to.test != nil {
		c.sent = secret.NewString(testCode)
	}
	text := s.rulesOf(env).text(p, phone, c.sent.Reveal())
	c.text = secret.NewString(text)
	c.Messages = []Delivery{newDelivery(text, now)}
	sh := dispatch{
		env: env, phone: phone, to: to, first: true, once: once, ref: newSendRef(c.ID[:]), now: now,
		store: func(ctx context.Context, once *idempotency.Operation[IssuedChallenge]) (IssuedChallenge, error) {
			return s.create(ctx, env, id, c, once, now, true)
		},
	}
	if once != nil {
		sh.ref, sh.keep = newSendRef(id[:], once.Identity()), once.Keep
	}
	sh.ref = sh.ref.from(of.source)
	return s.dispatch(ctx, sh)
}

func newDelivery(text string, now time.Time) Delivery {
	return Delivery{State: Queued, Segments: smstext.Measure(text).Segments, At: now, UpdatedAt: now}
}

// dispatch counts a message against the limits, stores it and then sends it. If a step fails,
// the limits do not count the message, unless it may have been sent.
func (s *Service) dispatch(ctx context.Context, sh dispatch) (IssuedChallenge, error) {
	// From here on, a client that disconnects must not leave a message half sent.
	ctx = context.WithoutCancel(ctx)
	if err := s.reserve(ctx, &sh); err != nil {
		return IssuedChallenge{}, err
	}
	if sh.once != nil {
		sh.once = sh.once.Sending(s.now().Add(s.opts.SendTimeout).Truncate(time.Millisecond))
	}
	c, err := sh.store(ctx, sh.once)
	if c.Replayed != nil || errors.Is(err, ErrKeyReused) || errors.Is(err, errPending) {
		return c, err // another request with the key came first, and counted the message
	}
	if err != nil {
		return IssuedChallenge{}, errors.Join(err, s.giveBack(ctx, sh))
	}
	undo := func(err error) error {
		back := s.giveBack
		if errors.Is(err, errUncertain) || errors.Is(err, ErrRecipientRefused) {
			back = s.keepUnverifiable // it stays counted; another try is another message
		}
		// The count comes first: after the record is deleted, the same request may come again
		// and must then be counted.
		return errors.Join(err, back(ctx, sh), s.takeBack(ctx, sh, c, err))
	}
	finished := false
	defer func() {
		if !finished {
			undo(nil) // the sender panicked
		}
	}()
	accepted, err := s.send(ctx, sh, c)
	finished = true
	if err != nil {
		return IssuedChallenge{}, undo(err)
	}
	c.sent, c.text = secret.String{}, secret.String{}
	if err := s.settle(ctx, sh, c, accepted); err != nil {
		// The challenge is valid and its message was sent. But receipts do not find the
		// message, and a repeated request waits until PendingUntil.
		s.opts.Logger.Warn("settle a message that was sent", "challenge", c.ID.String(), "error", err)
	}
	if sh.once != nil && sh.once.Derived {
		// The next message with this key may be for another sign-in: it is counted.
		if err := s.keepFor(ctx, sh); err != nil {
			s.opts.Logger.Warn("count messages apart", "challenge", c.ID.String(), "error", err)
		}
	}
	return c, nil
}

// send hands the last message of c to its sender.
func (s *Service) send(ctx context.Context, sh dispatch, c IssuedChallenge) (Accepted, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.SendTimeout)
	defer cancel()
	if sh.to.test != nil && sh.to.test.lost {
		return Accepted{}, fmt.Errorf("%w: %w", ErrDelivery, ErrSimulated)
	}
	if sh.to.sender == nil {
		return Accepted{}, nil // a test number needs no sender
	}
	m := Message{
		Environment: sh.env.ID, Challenge: c.ID, Number: len(c.Messages), To: sh.phone,
		Text: c.text, Code: c.sent, At: sh.now, ExpiresAt: c.ExpiresAt,
	}
	if n := len(c.Messages) - 2; n >= 0 && c.Messages[n].State != Delivered {
		m.Avoid = c.Messages[n].Provider
	}
	accepted, err := sh.to.sender.Send(ctx, m)
	switch {
	case err == nil && sh.to.test != nil:
		return Accepted{}, nil // the test number decides the state of the message
	case err == nil:
		return accepted, nil
	}
	kind := ErrDelivery
	if errors.Is(err, ErrRecipientRefused) {
		kind = ErrRecipientRefused
	}
	if isUncertain(err) {
		kind = fmt.Errorf("%w: %w", kind, errUncertain)
	}
	return Accepted{}, fmt.Errorf("%w: %s", kind, redact(err, sh.phone, c.sent))
}

// errUncertain means that a message may have been sent, although its sender failed.
var errUncertain = errors.New("may have been sent")

// isUncertain reports whether a message may have been sent before the error of its sender:
// after a timeout, or after a connection that broke without an answer.
func isUncertain(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// redact returns the text of a sender's error without the number and the code. Errors of
// HTTP clients quote URLs, and the URLs of some gateways contain both.
func redact(err error, phone Phone, code secret.String) string {
	digits := strings.TrimPrefix(phone.E164(), "+")
	return strings.NewReplacer(digits, "[phone]", code.Reveal(), "[code]").Replace(err.Error())
}

// settle records the provider of the last message of c, and makes the recorded answer
// final.
func (s *Service) settle(ctx context.Context, sh dispatch, c IssuedChallenge, accepted Accepted) error {
	early, err := s.refer(ctx, sh, c, accepted)
	now, bucket, number := s.now(), c.ID.Bucket(), len(c.Messages)-1
	events, eventErr := s.journal(sh.env.ID, now, bucket)
	if eventErr != nil {
		return errors.Join(err, eventErr)
	}
	r := Read{Bucket: bucket, Challenge: c.ID}
	if sh.once != nil {
		r.Replay = sh.once.Key
	}
	return errors.Join(err, s.store.Update(ctx, r, func(tx *Tx) error {
		if tx.Challenge != nil && number < len(tx.Challenge.Messages) {
			d := &tx.Challenge.Messages[number]
			d.Provider, d.ID = accepted.Provider, s.messageName(accepted)
			events.append(tx, Event{Type: messageEvent(Queued), Factor: c.Factor, Challenge: c.ID, Reason: d.Provider})
			for _, known := range []receipt{{state: accepted.State}, early, sh.to.test.receipt()} {
				if d.advance(known.state, known.reason, now.Add(known.after)) && known.after == 0 {
					events.append(tx, Event{Type: messageEvent(d.State), Factor: c.Factor, Challenge: c.ID, Reason: d.Reason})
				}
			}
			tx.put(tx.Challenge.Update())
		}
		if sh.once != nil && sh.once.Owns(tx.Replay.record(), c.ID) {
			tx.Replay.Confirm()
			tx.put(PutReplay{tx.Replay})
		}
		return nil
	}))
}

// takeBack undoes the storing of a message that was not sent, or may not have been sent. It
// removes the record of the answer, so the same request can be tried again, and with a
// first message also the challenge. If another request got the answer before, answer and
// challenge stay, and only the message is marked as failed.
func (s *Service) takeBack(ctx context.Context, sh dispatch, c IssuedChallenge, why error) error {
	now, bucket, number := s.now(), c.ID.Bucket(), len(c.Messages)-1
	events, err := s.journal(sh.env.ID, now, bucket)
	if err != nil {
		return err
	}
	r := Read{Bucket: bucket, Challenge: c.ID}
	if sh.once != nil {
		r.Replay = sh.once.Key
	}
	return s.store.Update(ctx, r, func(tx *Tx) error {
		pending := sh.once != nil && sh.once.Owns(tx.Replay.record(), c.ID)
		if pending {
			tx.put(DeleteReplay{bucket, sh.once.Key})
		}
		if sh.first && (pending || sh.once == nil) {
			tx.put(DeleteChallenge{c.ID})
			events.append(tx, Event{Type: ChallengeVoided, Factor: c.Factor, Challenge: c.ID, Reason: deliveryReason(why)})
			return nil
		}
		// A message that may have been sent keeps its state and its number.
		if tx.Challenge != nil && number < len(tx.Challenge.Messages) && !errors.Is(why, errUncertain) {
			tx.Challenge.Messages[number].advance(Failed, deliveryReason(why), now)
			tx.put(tx.Challenge.Update())
		}
		events.append(tx, Event{Type: messageEvent(Failed), Factor: c.Factor, Challenge: c.ID, Reason: deliveryReason(why)})
		return nil
	})
}

// deliveryReason returns the reason of the event of a message that was not delivered.
func deliveryReason(why error) string {
	if errors.Is(why, ErrRecipientRefused) {
		return reasonRecipient
	}
	return reasonDelivery
}

// reserve counts a message against all limits in one transaction, or returns a
// *LimitError.
func (s *Service) reserve(ctx context.Context, sh *dispatch) error {
	if sh.to.test != nil {
		return nil
	}
	r := s.readLimits(*sh)
	events, err := s.journal(sh.env.ID, sh.now, r.Bucket)
	if err != nil {
		return err
	}
	var refused error
	var writes []Write
	err = s.store.Update(ctx, r, func(tx *Tx) error {
		refused = nil
		defer func() { writes = tx.Writes }()
		limit := tx.Phone
		if limit == nil {
			limit = &PhoneLimit{Bucket: r.Bucket, Key: r.Phone}
		}
		at, counted, err := limit.reserve(sh.ref, sh.keep, s.opts.Limits, sh.now)
		if err != nil {
			return err
		}
		sh.countedAt = at
		if counted && sh.env.Production {
			if refused = s.count(tx, r.Tallies, *sh, events); refused != nil {
				return nil // the pause or release of a prefix is stored
			}
		}
		tx.put(PutPhone{limit})
		return nil
	})
	for _, w := range writes {
		if e, ok := w.(AppendEvent); ok && err == nil {
			s.opts.Logger.Warn("a limit on messages changed", "event", string(e.Type), "of", e.Reason, "environment", sh.env.Name)
		}
	}
	return errors.Join(err, refused)
}

// giveBack undoes reserve for a message that was not sent.
func (s *Service) giveBack(ctx context.Context, sh dispatch) error {
	if sh.to.test != nil {
		return nil
	}
	return s.store.Update(ctx, s.readLimits(sh), func(tx *Tx) error {
		if tx.Phone == nil {
			return nil
		}
		if !tx.Phone.giveBack(sh.ref, sh.countedAt) {
			return nil
		}
		tx.put(PutPhone{tx.Phone})
		for _, t := range tx.Tallies {
			if t != nil && t.uncount(sh.countedAt, sh.judged()) {
				tx.put(PutTally{t})
			}
		}
		return nil
	})
}

// keepFor detaches a message from its ref but keeps counting it: the next message with the
// same ref is counted too.
func (s *Service) keepFor(ctx context.Context, sh dispatch) error {
	if sh.to.test != nil {
		return nil
	}
	r := s.readLimits(sh)
	r.Tallies = nil
	return s.store.Update(ctx, r, func(tx *Tx) error {
		if tx.Phone != nil && tx.Phone.keepFor(sh.ref, sh.countedAt) {
			tx.put(PutPhone{tx.Phone})
		}
		return nil
	})
}

// keepUnverifiable is keepFor for a message that may have been sent, or whose number was
// refused. No user can enter its code, so the message does not count against its prefix.
func (s *Service) keepUnverifiable(ctx context.Context, sh dispatch) error {
	if sh.to.test != nil {
		return nil
	}
	return s.store.Update(ctx, s.readLimits(sh), func(tx *Tx) error {
		if tx.Phone == nil {
			return nil
		}
		if !tx.Phone.keepFor(sh.ref, sh.countedAt) {
			return nil
		}
		tx.put(PutPhone{tx.Phone})
		for _, t := range tx.Tallies {
			if t != nil && t.isPrefix() && t.uncount(sh.countedAt, sh.judged()) {
				tx.put(PutTally{t})
			}
		}
		return nil
	})
}

// readLimits names all rows that count a message: the limit of its number, by a
// keyed hash, and the tallies of a production environment.
func (s *Service) readLimits(sh dispatch) Read {
	bucket := sh.env.ID.sendBucket()
	key := PhoneKey(s.keys.Load().Index(fmt.Appendf(nil, "phone/%d/%s", sh.env.ID, sh.phone.E164())))
	binary.BigEndian.PutUint16(key[:], uint16(bucket))
	r := Read{Bucket: bucket, Phone: key}
	if sh.env.Production {
		r.Tallies = s.tallies(sh.env, sh.phone)
	}
	return r
}
